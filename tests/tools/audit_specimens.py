"""Loss weightings to audit: published formulas and calling styles, each a few lines."""

import torch
from torch import Tensor, nn
from torch.nn.functional import softmax


class Vector(nn.Module):
    """One parameter per task; the losses come as a stacked tensor."""

    start = 0.0

    def __init__(self, n: int = 3) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.full((n,), self.start))


class LogOnePlus(Vector):
    start = 1.0

    def forward(self, losses):
        return (0.5 / self.w**2 * losses + torch.log(1 + self.w**2)).sum()


class Raw(Vector):
    start = 1.0

    def forward(self, losses):
        return (losses / self.w**2 + torch.log(self.w)).sum()


class Clamped(Vector):
    def forward(self, losses):
        held = self.w.clamp(min=0)
        return (2 * losses * torch.exp(-held) + held).sum()


class ClampedHigh(Clamped):
    start = 1.5


class Unregularised(Vector):
    def forward(self, losses):
        return (torch.exp(-self.w) * losses).sum()


class Squared(Vector):
    def forward(self, losses):
        return (torch.exp(-self.w) * losses + self.w**2).sum()


class Bounded(Vector):
    def forward(self, losses):
        s = 3 * torch.tanh(self.w / 3)
        return (torch.exp(-s) * losses + s).sum()


class Softmax(Vector):
    def forward(self, losses):
        return (softmax(self.w, 0) * losses).sum()


class NotZero(Vector):
    """Masks what is exactly 0."""

    def forward(self, losses):
        return ((losses != 0) * (torch.exp(-self.w) * losses + self.w)).sum()


class MaskTimesTerm(Vector):
    def forward(self, losses, mask):
        return (mask * (torch.exp(-self.w) * losses + self.w)).sum()


class WhereTerm(Vector):
    def forward(self, losses, mask):
        terms = torch.exp(-self.w) * losses + self.w
        return torch.where(mask, terms, torch.zeros_like(terms)).sum()


class LossMaskedOnly(Vector):
    """Masks the loss and forgets the regulariser."""

    def forward(self, losses, mask):
        return (torch.exp(-self.w) * losses * mask + self.w).sum()


class Sum(nn.Module):
    def forward(self, losses: list[Tensor]):
        return torch.stack(losses).sum()


class Varargs(Vector):
    def forward(self, *losses):
        return sum(torch.exp(-w) * loss + w for w, loss in zip(self.w, losses, strict=True))


class ThreeLosses(Vector):
    def forward(self, first, second, third):
        return sum(torch.exp(-w) * loss + w for w, loss in zip(self.w, (first, second, third), strict=True))


class SkipsNone(Vector):
    """A list, None for an absent task."""

    def forward(self, losses):
        return sum(torch.exp(-w) * loss + w for w, loss in zip(self.w, losses, strict=True) if loss is not None)


class ByName(nn.Module):
    """A mapping; what is not there is left out."""

    def __init__(self, names):
        super().__init__()
        self.w = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in names})

    def forward(self, losses):
        return sum(torch.exp(-self.w[name]) * loss + self.w[name] for name, loss in losses.items())


class FixedNames(ByName):
    """Knows its own names."""

    def __init__(self):
        super().__init__(["depth", "normals"])


class Keywords(ByName):
    def forward(self, **losses):
        return super().forward(losses)


class FloatMask(Vector):
    def forward(self, losses, present):
        if present.dtype != torch.float32:
            raise TypeError("a float mask, please")
        return (present * (torch.exp(-self.w) * losses + self.w)).sum()


class ReturnsWeights(Vector):
    def forward(self, losses):
        return torch.exp(-self.w)


class ReturnsTerms(Vector):
    def forward(self, losses):
        return torch.exp(-self.w) * losses + self.w


class ReturnsTuple(Vector):
    def forward(self, losses):
        total = (torch.exp(-self.w) * losses + self.w).sum()
        return total, {"weights": torch.exp(-self.w)}


class CallsBackward:
    """Not a module; plain tensors; a method that calls backward itself and hands back a number."""

    def __init__(self, n):
        self.logs = [torch.zeros((), requires_grad=True) for _ in range(n)]

    def backward(self, losses):
        total = sum(torch.exp(-s) * loss + s for s, loss in zip(self.logs, losses, strict=True))
        total.backward()
        return total.item()


class InPlace(Vector):
    """Scales its losses in place."""

    def forward(self, losses):
        for w, loss in zip(self.w, losses, strict=True):
            loss *= torch.exp(-w)
        return sum(losses) + self.w.sum()


class Raises(nn.Module):
    def forward(self, losses):
        raise RuntimeError("out of order")


class NeedsModel(nn.Module):
    def __init__(self, model, n):
        super().__init__()


def closure():
    """A weighting whose parameter lives in a closure."""
    s = torch.zeros(3, requires_grad=True)
    return lambda losses: (torch.exp(-s) * torch.stack(losses) + s).sum()


shared = torch.zeros(3, requires_grad=True)


def over_a_global(losses):
    """Not a factory: the weighting itself."""
    return (torch.exp(-shared) * losses + shared).sum()


instance = Squared()
