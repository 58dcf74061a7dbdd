"""NaN under a mask (claim B2): which ways of leaving an absent task out keep its NaN from the gradients."""

from collections.abc import Callable, Sequence

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from aura_study.claims import Measurement
from aura_study.losses import FrozenKendallLoss, KendallLoss, LogSigma, MaskedKendallLoss

PRESENT = torch.tensor([True, False])
NAMES = ("present", "absent")
FORM = LogSigma()
Way = Callable[[Sequence[Tensor]], tuple[Tensor, list[Tensor]]]
"""From the losses of the present and the absent task to the total and sigma's parameters."""


def _vector(total: Callable[[Tensor, Tensor], Tensor]) -> Way:
    def way(losses: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        theta = torch.zeros(2, requires_grad=True)
        return total(theta, torch.stack(list(losses))), [theta]

    return way


def _left_out(losses: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    theta = torch.zeros(2, requires_grad=True)
    return FORM.term(theta[0], losses[0]), [theta]


def _module(loss: type[KendallLoss], *, by_key: bool) -> Way:
    def way(losses: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        weigh = loss(NAMES, FORM)
        total = weigh({NAMES[0]: losses[0]}) if by_key else weigh(torch.stack(list(losses)), PRESENT)
        return total, list(weigh.parameters())

    return way


def _zeros(values: Tensor) -> Tensor:
    return torch.zeros_like(values)


WAYS: dict[str, tuple[Way, bool]] = {
    "mask * term": (_vector(lambda s, x: (PRESENT * FORM.term(s, x)).sum()), False),
    "where(mask, term, 0)": (_vector(lambda s, x: torch.where(PRESENT, FORM.term(s, x), _zeros(x)).sum()), False),
    "nan_to_num(term)": (_vector(lambda s, x: torch.nan_to_num(FORM.term(s, x)).sum()), False),
    "term[mask]": (_vector(lambda s, x: FORM.term(s, x)[PRESENT].sum()), False),
    "where(mask, loss, 0), then the term": (
        _vector(lambda s, x: (PRESENT * FORM.term(s, torch.where(PRESENT, x, _zeros(x)))).sum()),
        True,
    ),
    "loss[mask], then the term": (_vector(lambda s, x: FORM.term(s[PRESENT], x[PRESENT]).sum()), True),
    "never stacked: left out": (_left_out, True),
    "MaskedKendallLoss, with a mask": (_module(MaskedKendallLoss, by_key=False), True),
    "MaskedKendallLoss, key left out": (_module(MaskedKendallLoss, by_key=True), True),
    "FrozenKendallLoss, key left out": (_module(FrozenKendallLoss, by_key=True), True),
}
"""Ways to leave an absent task out, and whether theory expects sigma's gradient to stay finite."""


def _empty_mean(logits: Tensor) -> Tensor:
    chosen = logits[torch.zeros(len(logits), dtype=torch.bool)]
    return binary_cross_entropy_with_logits(chosen, torch.ones_like(chosen))


def _zero_count(logits: Tensor) -> Tensor:
    weights = torch.zeros_like(logits)
    losses = binary_cross_entropy_with_logits(logits, torch.ones_like(logits), reduction="none")
    return (losses * weights).sum() / weights.sum()


SOURCES: dict[str, Callable[[Tensor], Tensor]] = {
    "mean over an empty selection": _empty_mean,
    "sum over a count of 0": _zero_count,
}


def nan_table() -> pd.DataFrame:
    """Every way, on every source of NaN: which gradients survive.

    Columns: ``total``, ``sigma`` and ``encoder`` say whether the total and those gradients are finite, ``present``
    whether the present task's gradient on its sigma is bit for bit what it is alone, ``expected`` what theory says of
    ``sigma``.
    """
    rows = [
        (source, name, *_survivors(way, absent_loss), expected)
        for source, absent_loss in SOURCES.items()
        for name, (way, expected) in WAYS.items()
    ]
    return pd.DataFrame(rows, columns=["source", "way", "total", "sigma", "encoder", "present", "expected"])


def _survivors(way: Way, absent_loss: Callable[[Tensor], Tensor]) -> tuple[bool, bool, bool, bool]:
    encoder = torch.tensor([0.3, -0.2], requires_grad=True)
    present_loss = binary_cross_entropy_with_logits(encoder * 1.5, torch.tensor([1.0, 0.0]))
    alone, [theta] = _left_out([present_loss])
    (reference,) = torch.autograd.grad(alone, theta, retain_graph=True)
    total, parameters = way([present_loss, absent_loss(encoder * 0.7)])
    on_encoder, *gradients = torch.autograd.grad(total, [encoder, *parameters], allow_unused=True)
    on_sigma = torch.cat([gradient.reshape(-1) for gradient in gradients if gradient is not None])
    return (
        bool(total.isfinite()),
        bool(on_sigma.isfinite().all()),
        bool(on_encoder.isfinite().all()),
        bool(on_sigma[0] == reference[0]),
    )


def b2_measurement(table: pd.DataFrame) -> Measurement:
    """Cells in which sigma's gradient is not what theory says."""
    wrong = float((table["sigma"] != table["expected"]).sum())
    cleaned = table[table["way"].str.startswith("where(mask, loss, 0)")]
    limits = {
        "share of NaN sources for which cleaning keeps the encoder's gradient finite": float(cleaned["encoder"].mean())
    }
    return Measurement.over([wrong], f"cells of {len(table)} that differ from the prediction", limits=limits)
