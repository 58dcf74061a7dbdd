r"""Focal audit: does the modulating factor (1 - p_t)^gamma see the model's probability, and nothing else?

Code that takes :math:`p_t = e^{-CE}` from a cross-entropy that already carries class weights or label smoothing
modulates by a number that is no probability. The factor is measured as loss(gamma) / loss(gamma = 0) on batches of one
sample, with everything else equal, so that no reduction or class weight is left in it.
"""

import copy
import inspect
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from aura_study.audit.calls.signature import TARGET_NAMES, is_one_of
from aura_study.audit.laboratory import AuditedCodeError, CannotAudit, audited_code, laboratory
from aura_study.audit.report import Findings, Verdict, finite_or_none

GAMMA = 2.0
WEIGHTS = (5.0, 0.2, 3.0)
SMOOTHING = 0.1
LOGITS = (1.0, -0.5, 0.3)
TOLERANCE = 1e-4
NAMES = {
    "gamma": ("gamma", "focusing", "focal_gamma"),
    "weight": ("weight", "weights", "class_weights", "class_weight", "alpha"),
    "smoothing": ("label_smoothing", "smoothing", "smooth", "eps"),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "class weights": {"weight": WEIGHTS},
    "label smoothing": {"smoothing": SMOOTHING},
    "both": {"weight": WEIGHTS, "smoothing": SMOOTHING},
}
ADAPT = (
    "Say how it is called: audit_focal(call=lambda logits, targets, gamma, weight, smoothing: ...) with logits (n, 3), "
    "integer targets (n,), weight a tensor of three class weights or None, smoothing a number; returns one loss."
)
FocalCall = Callable[[Tensor, Tensor, float, Tensor | None, float], Tensor]


@dataclass(frozen=True)
class FocalFinding:
    """One setting: for each class the factor that was measured, beside (1 - p_t)^gamma.

    ``weight_factor`` is what the class weight does to a single sample's loss beyond the modulating factor; a mean
    divided by the weights' own sum leaves 1.
    """

    setting: str
    verdict: Verdict
    measured: tuple[float, ...]
    expected: tuple[float, ...]
    weight_factor: tuple[float, ...] | None

    @property
    def tried(self) -> str:
        """Name of the setting."""
        return self.setting

    @property
    def distortion(self) -> float:
        """Largest factor by which the modulation is wrong."""
        ratios = [m / e if e and m > 0 else math.inf for m, e in zip(self.measured, self.expected, strict=True)]
        return max(max(ratio, 1 / ratio) if math.isfinite(ratio) else math.inf for ratio in ratios)


@dataclass(frozen=True)
class FocalReport(Findings[FocalFinding]):
    """What the focal audit found; ``not_accepted`` holds settings that the loss does not take."""

    target: str
    findings: tuple[FocalFinding, ...]
    not_accepted: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; numbers that are not finite become None."""
        rows = []
        for finding in self.findings:
            row = {**asdict(finding), "distortion": finding.distortion}
            rows.append({name: finite_or_none(value) for name, value in row.items()})
        return {
            "target": self.target,
            "verdict": self.verdict,
            "safe": self.safe,
            "exit_code": self.exit_code,
            "gamma": GAMMA,
            "findings": rows,
            "not_accepted": dict(self.not_accepted),
        }

    def __str__(self) -> str:
        headline = "SAFE" if self.safe else "NOT SAFE: class weights or label smoothing leak into p_t"
        lines = [f"{self.target}: {headline}", ""]
        for finding in self.findings:
            lines.append(f"  {finding.setting:<16} {finding.verdict.upper():<6} modulating factor per class")
            for title, values in (("measured", finding.measured), ("(1-p_t)^2", finding.expected)):
                lines.append(f"  {'':<16} {title:<10} " + "  ".join(f"{value:<8.4g}" for value in values))
        lines += [f"  {name:<16} not accepted  {textwrap.shorten(why, 80)}" for name, why in self.not_accepted.items()]
        if not self.safe:
            lines += ["", "Fix: take p_t from log_softmax of the logits alone; weigh and smooth the loss afterwards."]
        return "\n".join(lines)


def audit_focal(target: Any = None, call: FocalCall | None = None) -> FocalReport:
    """Measure the modulating factor of a multi-class focal loss under class weights and label smoothing.

    Args:
        target: a function ``loss(logits, targets, gamma=..., weight=..., label_smoothing=...)`` or a class taking those
            settings whose instances take ``(logits, targets)``; argument names are found by usual spellings.
        call: instead of ``target``, ``call(logits, targets, gamma, weight, smoothing)``.

    Raises:
        CannotAudit: a loss whose gamma cannot be set, or that fails on plain settings.

    Example: the usual p_t = exp(-CE), of a cross-entropy that carries weights and smoothing.

    >>> from torch.nn.functional import cross_entropy
    >>> def focal(logits, targets, gamma=2.0, weight=None, label_smoothing=0.0):
    ...     ce = cross_entropy(logits, targets, weight, reduction="none", label_smoothing=label_smoothing)
    ...     return ((1 - (-ce).exp()) ** gamma * ce).mean()
    >>> {finding.setting: str(finding.verdict) for finding in audit_focal(focal).findings}
    {'plain': 'safe', 'class weights': 'leaks', 'label smoothing': 'leaks', 'both': 'leaks'}
    """
    if (target is None) == (call is None):
        raise ValueError("give either a target or a call")
    name = getattr(target or call, "__name__", type(target).__name__)
    measure = call or _detect(target)
    findings, refused = [], {}
    with laboratory():
        for setting, options in SETTINGS.items():
            try:
                with audited_code():
                    findings.append(_measure(measure, setting, **options))
            except AuditedCodeError as error:
                if setting == "plain":
                    raise CannotAudit(f"{name} failed on plain settings: {error}", ADAPT) from error
                refused[setting] = str(error)
    return FocalReport(name, tuple(findings), refused)


def _measure(
    call: FocalCall, setting: str, weight: Sequence[float] | None = None, smoothing: float = 0.0
) -> FocalFinding:
    logits = torch.tensor([LOGITS])
    probabilities = logits.softmax(-1)[0].tolist()
    weights = None if weight is None else torch.tensor(weight)
    measured, factors = [], []
    for target in range(len(LOGITS)):
        sample = torch.tensor([target])
        modulated, bare = (float(call(logits, sample, gamma, weights, smoothing).detach()) for gamma in (GAMMA, 0.0))
        plain = float(call(logits, sample, 0.0, None, smoothing).detach()) if weight is not None else bare
        measured.append(modulated / bare if bare else math.nan)
        factors.append(bare / plain if plain else math.nan)
    expected = tuple((1 - p) ** GAMMA for p in probabilities)
    true = all(math.isclose(m, e, rel_tol=TOLERANCE) for m, e in zip(measured, expected, strict=True))
    return FocalFinding(
        setting,
        Verdict.SAFE if true else Verdict.LEAKS,
        tuple(measured),
        expected,
        tuple(factors) if weight is not None else None,
    )


def _detect(target: Any) -> FocalCall:
    """A call with the usual spellings of the settings; a setting without a name raises when it is asked for."""
    try:
        names = inspect.signature(target).parameters
    except (TypeError, ValueError) as error:
        raise CannotAudit(f"the signature of {target!r} cannot be read", ADAPT) from error
    found = {setting: next((name for name in usual if name in names), None) for setting, usual in NAMES.items()}
    if found["gamma"] is None and not isinstance(target, type) and hasattr(target, "gamma"):
        return _of_an_instance(target)
    if found["gamma"] is None:
        raise CannotAudit(f"no argument sets gamma; arguments: {list(names)}", ADAPT)
    filled = _filled(names, [*found.values()]) if isinstance(target, type) else {}

    def call(logits: Tensor, targets: Tensor, gamma: float, weight: Tensor | None, smoothing: float) -> Tensor:
        keywords = dict(filled)
        neutral = {"weight": torch.ones(len(LOGITS)) if _required(names, found["weight"]) else None, "smoothing": 0.0}
        for setting, value in (("gamma", gamma), ("weight", weight), ("smoothing", smoothing)):
            name = found[setting]
            unset = value is None or (setting == "smoothing" and value == 0)
            if name is None:
                if not unset:
                    raise TypeError(f"no argument sets {setting}; arguments: {list(names)}")
                continue
            keywords[name] = neutral[setting] if unset else value  # not the default of the code under audit
        if isinstance(target, type):
            return _given(target(**keywords), logits, targets, {})
        return _given(target, logits, targets, keywords)

    return call


def _filled(names: Mapping[str, inspect.Parameter], settings: Sequence[str | None]) -> dict[str, Any]:
    """Required arguments that are no setting of the three: the number of classes, a reduction, a device, else None."""
    known = {"class": len(LOGITS), "num": len(LOGITS), "reduction": "mean", "device": "cpu"}
    required = [
        name for name, p in names.items()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and name not in settings
    ]  # fmt: skip
    return {name: next((value for word, value in known.items() if word in name), None) for name in required}


def _given(loss: Any, logits: Tensor, targets: Tensor, keywords: Mapping[str, Any]) -> Tensor:
    """What ``loss`` gives; its targets come first where the names of its arguments say so."""
    names = list(inspect.signature(getattr(loss, "forward", loss)).parameters)[:2]
    turned = len(names) == 2 and is_one_of(names[0], TARGET_NAMES) and not is_one_of(names[1], TARGET_NAMES)
    made = loss(targets, logits, **keywords) if turned else loss(logits, targets, **keywords)
    result: Tensor = made.mean() if made.ndim else made
    return result


def _of_an_instance(target: Any) -> FocalCall:
    """Settings are put into the attributes of a copy."""

    def call(logits: Tensor, targets: Tensor, gamma: float, weight: Tensor | None, smoothing: float) -> Tensor:
        made = copy.deepcopy(target)
        for setting, value in (("gamma", gamma), ("weight", weight), ("smoothing", smoothing)):
            name = next((name for name in NAMES[setting] if hasattr(made, name)), None)
            asked = value is not None and (setting != "smoothing" or smoothing != 0)
            if name is None and asked:
                raise TypeError(f"no attribute sets {setting}")
            if name is not None:
                held = getattr(made, name)
                setattr(made, name, torch.ones(len(LOGITS)) if value is None and held is not None else value)
        return _given(made, logits, targets, {})

    return call


def _required(names: Mapping[str, inspect.Parameter], name: str | None) -> bool:
    """Whether the argument has no default, or a number as one: None is no neutral setting of it then."""
    return name is not None and names[name].default is not None
