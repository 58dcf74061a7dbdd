"""What the scan knows of a value: numbers, learned parameters, or data, and how the two met in it.

``exp(-s) * L + s`` is data that the parameter s weighs and to which s is also added. This meeting is the mark of
learned uncertainty weighting; a temperature weighs and is not added, a bias is added and does not weigh.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce
from operator import add, or_

LOSS = re.compile(
    r"loss|crit|err|nll|\bmse|mae\b|bce|entropy|objective|task|cost|residual|elbo|likelihood|\bl_?\w\b", re.I
)
"""A name that sounds like something that is minimised."""


@dataclass(frozen=True)
class Value:
    """A number (nothing set), a function of parameters alone (``learned``), or data.

    Attributes:
        learned: names of the parameters that it is a function of, if it is not data.
        ops: what was done to them: "exp", "log", "square", "softplus", "over" (divided by), "twice".
        data: it depends on something that is neither a number nor learned.
        weighs: parameters that multiply data in this sum.
        adds: parameters that are terms of their own in this sum.
        met: parameters that do both in one sum.
        parts: of a tuple, what is known of each element.
    """

    learned: frozenset[str] = frozenset()
    ops: frozenset[str] = frozenset()
    data: bool = False
    weighs: frozenset[str] = frozenset()
    adds: frozenset[str] = frozenset()
    met: frozenset[str] = frozenset()
    parts: tuple["Value", ...] = ()

    def __add__(self, other: "Value") -> "Value":
        """As terms of a sum: what is learned becomes a regulariser once there is data beside it."""
        both = self | other
        if not both.data:
            return both
        mine, its = self.adds | self.learned, other.adds | other.learned
        return replace(both, adds=mine | its, met=both.met | (self.weighs & its) | (other.weighs & mine))

    def __or__(self, other: "Value") -> "Value":
        """Either of the two, or both side by side."""
        return Value(
            frozenset() if self.data or other.data else self.learned | other.learned,
            self.ops | other.ops,
            self.data or other.data,
            self.weighs | other.weighs,
            self.adds | other.adds,
            self.met | other.met,
        )

    def __mul__(self, other: "Value") -> "Value":
        """As factors: what is learned weighs the data."""
        both = self | other
        return replace(both, weighs=both.weighs | self.learned | other.learned) if both.data else both

    def done(self, *ops: str) -> "Value":
        """The same, with what was done to it."""
        return replace(self, ops=self.ops | set(ops)) if self.learned else self


NUMBER = Value()
DATA = Value(data=True)


def either(values: Iterable[Value]) -> Value:
    """Any of them."""
    return reduce(or_, values, NUMBER)


def total(values: Iterable[Value]) -> Value:
    """Their sum."""
    return reduce(add, values, NUMBER)


def form(factor: Value) -> str:
    """Name of the parameterisation whose weight this factor is."""
    if "softplus" in factor.ops:
        return "softplus"
    if "exp" in factor.ops:
        return "log sigma" if factor.ops & {"square", "twice"} else "log variance"
    if "over" in factor.ops:
        return "sigma" if "square" in factor.ops else "variance"
    return "learned weight"
