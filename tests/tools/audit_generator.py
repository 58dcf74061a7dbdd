"""Loss weightings put together from parts, and what is true of each mark of absence by the formula itself.

A drawn weighting is a form (weight and regulariser of one parameter), a reduction, a way of being called, a state
beside its parameters and a way of leaving an absent task out. Nothing here looks at what the audit does.
"""

from dataclasses import dataclass

import torch
from torch import nn

TASKS = ("a", "b", "c")
FORMS = {
    "log variance": (0.0, lambda s: torch.exp(-s), lambda s: s),
    "log sigma": (0.0, lambda s: 0.5 * torch.exp(-2 * s), lambda s: s),
    "half": (0.1, lambda s: 0.5 * torch.exp(-s), lambda s: 0.5 * s),
    "one plus square": (1.0, lambda s: 0.5 / s**2, lambda s: torch.log(1 + s**2)),
    "square": (0.0, lambda s: torch.exp(-s), lambda s: s**2),
    "softplus": (0.5, lambda s: 1 / nn.functional.softplus(s), lambda s: 0.5 * nn.functional.softplus(s)),
    "tanh": (0.0, lambda s: torch.exp(-3 * torch.tanh(s / 3)), lambda s: 3 * torch.tanh(s / 3)),
    "constant": (0.0, lambda s: torch.ones_like(s), lambda s: torch.zeros_like(s)),
}
REDUCTIONS = ("sum", "mean", "named", "pair", "terms")
CALLS = ("list", "stacked", "mapping", "varargs", "strength", "temperature", "epoch", "method", "keyword")
MASKS = ("none", "term", "loss only", "where", "present names", "inverted")
SKIPS = ("nothing", "zero", "none", "nan", "missing", "negative", "empty")
STATES = ("nothing", "log", "counter", "first loss", "running mean", "draw")


@dataclass(frozen=True)
class Drawn:
    """What was drawn; call it to make the weighting."""

    form: str
    reduction: str
    call: str
    mask: str
    skip: str
    state: str

    def __call__(self):
        return _CLASSES[self.mask if self.mask != "none" else self.call](self)


def drawn(random):
    """Parts that can be put together, drawn by a `random.Random`."""
    mask = random.choice(MASKS)
    call = random.choice(CALLS) if mask == "none" else "list"
    skips = [skip for skip in SKIPS if _expresses(call, skip)] if mask == "none" else ["nothing"]
    form, reduction = random.choice(list(FORMS)), random.choice(REDUCTIONS)
    return Drawn(form, reduction, call, mask, random.choice(skips), random.choice(STATES))


def _expresses(call, skip):
    if call in ("stacked", "strength", "temperature"):
        return skip in ("nothing", "zero", "nan", "negative")
    return skip != "missing" or call in ("mapping", "method", "keyword")


class Base(nn.Module):
    def __init__(self, parts):
        super().__init__()
        self.parts = parts
        start, self.weight, self.pull = FORMS[parts.form]
        self.theta = nn.ParameterDict({name: nn.Parameter(torch.tensor(start)) for name in TASKS})
        self.tasks = list(TASKS)
        self.first, self.seen, self.log = {}, 0, []

    def _left_out(self, loss):
        """By this weighting's own rule."""
        skip = self.parts.skip
        if loss is None:
            return skip == "none"
        if skip == "empty":
            return loss.numel() == 0
        value = float(loss.detach())
        return {"zero": value == 0, "nan": value != value, "negative": value < 0}.get(skip, False)

    def _term(self, name, loss, by=1.0):
        theta = self.theta[name]
        if self.parts.state == "first loss":
            self.first.setdefault(name, float(loss.detach()))
            loss = loss / self.first[name]
        if self.parts.state == "running mean":
            value = float(loss.detach())
            self.first[name] = 0.8 * self.first.get(name, value) + 0.2 * value
            loss = loss / self.first[name]
        return self.weight(theta) * loss + by * self.pull(theta)

    def _total(self, losses, by=1.0):
        self.seen += 1
        terms = {name: self._term(name, loss, by) for name, loss in losses.items() if not self._left_out(loss)}
        return self._reduce(terms)

    def _reduce(self, terms):
        parts = self.parts
        factor = torch.softmax(torch.randn(3), 0)[0] * 3 if parts.state == "draw" else 1.0
        if parts.state == "log":
            self.log.append({name: float(term.detach()) for name, term in terms.items()})
        if parts.state == "counter" and self.seen < 400:  # warm-up: a plain sum with the weights' parameters untouched
            factor = 1.0
        total = factor * sum(terms.values())
        if parts.reduction == "mean":
            return total / 3
        if parts.reduction == "named":
            return {"a_part": terms.get("a", total).detach(), "weighted_total": total}
        if parts.reduction == "pair":
            return total, {name: float(theta.detach()) for name, theta in self.theta.items()}
        if parts.reduction == "terms":
            return [factor * term for term in terms.values()]
        return total


class ByList(Base):
    def forward(self, losses: list):
        return self._total(dict(zip(TASKS, losses, strict=True)))


class ByStack(Base):
    def forward(self, losses: torch.Tensor):
        return self._total(dict(zip(TASKS, losses.unbind(), strict=True)))


class ByMapping(Base):
    def forward(self, losses: dict):
        present = losses if self.parts.skip == "missing" else {name: losses[name] for name in TASKS}
        return self._total(present)


class ByPlace(Base):
    def forward(self, loss_a, loss_b, loss_c):
        return self._total({"a": loss_a, "b": loss_b, "c": loss_c})


class WithStrength(Base):
    def forward(self, losses, strength):
        return self._total(dict(zip(TASKS, losses.unbind(), strict=True)), strength)


class WithTemperature(Base):
    def forward(self, losses, t):
        return self._total(dict(zip(TASKS, (losses / t).unbind(), strict=True)))


class WithEpoch(Base):
    def forward(self, losses: list, epoch):
        return self._total(dict(zip(TASKS, losses, strict=True)), 1.0 if epoch >= 5 else 0.0)


class ByMethod(Base):
    forward = nn.Module.forward

    def put_together(self, losses: dict):
        present = losses if self.parts.skip == "missing" else {name: losses[name] for name in TASKS}
        return self._total(present)


class ByKeyword(Base):
    def forward(self, *, losses):
        present = losses if self.parts.skip == "missing" else {name: losses[name] for name in TASKS}
        return self._total(present)


class MaskedTerm(Base):
    def forward(self, losses, mask):
        return self._reduce(
            {n: mask[i] * self._term(n, loss) for i, (n, loss) in enumerate(zip(TASKS, losses, strict=True))}
        )


class MaskedLoss(Base):
    def forward(self, losses, valid):
        return self._reduce(
            {n: self._term(n, loss * valid[i]) for i, (n, loss) in enumerate(zip(TASKS, losses, strict=True))}
        )


class WhereTerm(Base):
    def forward(self, losses: torch.Tensor, present: torch.Tensor):
        terms = torch.stack([self._term(n, loss) for n, loss in zip(TASKS, losses.unbind(), strict=True)])
        return self._reduce(dict(zip(TASKS, torch.where(present, terms, torch.zeros(())).unbind(), strict=True)))


class PresentNames(Base):
    def forward(self, losses: dict, active_tasks):
        return self._reduce({name: self._term(name, losses[name]) for name in active_tasks})


class Inverted(Base):
    def forward(self, losses, missing):
        return self._reduce(
            {
                n: torch.zeros(()) if bool(missing[i]) else self._term(n, loss)
                for i, (n, loss) in enumerate(zip(TASKS, losses, strict=True))
            }
        )


_CLASSES = {
    "list": ByList, "stacked": ByStack, "mapping": ByMapping, "varargs": ByPlace, "strength": WithStrength,
    "temperature": WithTemperature, "epoch": WithEpoch, "method": ByMethod, "keyword": ByKeyword, "term": MaskedTerm,
    "loss only": MaskedLoss, "where": WhereTerm, "present names": PresentNames, "inverted": Inverted,
}  # fmt: skip


def is_safe(parts, mark):
    """Whether an absence marked by ``mark`` moves nothing, by the formula; None where no formula says so."""
    cold = parts.state in ("first loss", "running mean")
    if parts.mask == "none":
        skips = {
            "zero": "zero",
            "none": "none",
            "nan": "nan",
            "omit": "missing",
            "sentinel": "negative",
            "empty": "empty",
        }
        if mark == "nan" and parts.skip == "empty":
            return False
        if skips.get(mark) == parts.skip:
            return True
        if mark in ("zero", "tiny"):
            return parts.form == "constant" and not cold
        return False
    if mark == "mask":
        out = parts.mask in ("present names", "inverted")
        if cold and not out:
            return False
        return parts.mask != "loss only" or parts.form == "constant"
    if mark == "nan":
        still = parts.mask == "where" and parts.form == "constant" and not cold
        return parts.mask in ("present names", "inverted") or still
    return None
