"""Names of a repository that the scan follows from one file to another: parameters, functions, classes."""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from aura_study.audit.scan.sources import Source

Function = ast.FunctionDef | ast.AsyncFunctionDef
MAKERS = frozenset(("Parameter", "add_weight", "add_parameter", "get_variable", "create_parameter", "param"))
HOLDERS = frozenset(
    ("ParameterList", "ParameterDict", "to", "cuda", "double", "float", "requires_grad_", "list", "dict")
)
FILLED = ("zeros", "ones", "empty", "randn", "rand", "full")
COMMON = frozenset(("weight", "bias", "data", "grad", "gamma", "beta", "alpha", "scale", "temperature"))
"""What layers call their parameters: found in another object than the one that made it, it is not followed."""


@dataclass
class Names:
    """Where things are defined, over all files."""

    functions: dict[str, list[tuple[Source, Function]]] = field(default_factory=dict)
    classes: dict[str, list[tuple[Source, ast.ClassDef]]] = field(default_factory=dict)
    attributes: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, sources: Iterable[Source]) -> "Names":
        """Of every file."""
        names = cls()
        for source in sources:
            for node in ast.walk(source.tree):
                if isinstance(node, Function):
                    names.functions.setdefault(node.name, []).append((source, node))
                elif isinstance(node, ast.ClassDef):
                    names.classes.setdefault(node.name, []).append((source, node))
                elif isinstance(node, ast.Assign) and learned(node.value):
                    names.attributes |= {t.attr for t in node.targets if isinstance(t, ast.Attribute)} - COMMON
        return names

    def function(self, name: str, here: Source) -> list[tuple[Source, Function]]:
        """The function of this name in the same file, or the first in another; none if there is none."""
        return sorted(self.functions.get(name, []), key=lambda defined: defined[0] is not here)[:1]

    def class_named(self, name: str, here: Source) -> list[tuple[Source, ast.ClassDef]]:
        """The same for classes."""
        return sorted(self.classes.get(name, []), key=lambda defined: defined[0] is not here)[:1]


def called(node: ast.expr) -> str:
    """Last name of what is called: ``Parameter`` of ``torch.nn.Parameter(...)``."""
    function = node.func if isinstance(node, ast.Call) else node
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def learned(node: ast.expr) -> bool:
    """Is this expression a parameter that an optimiser may move, or a container of such, each small?"""
    match node:
        case ast.List(elts=inside) | ast.Tuple(elts=inside) | ast.Set(elts=inside) | ast.Dict(values=inside):
            return any(map(learned, inside))
        case ast.ListComp(elt=made) | ast.GeneratorExp(elt=made) | ast.DictComp(value=made):
            return learned(made)
        case ast.IfExp(body=body, orelse=orelse):
            return learned(body) or learned(orelse)
        case ast.Call():
            return _makes_parameter(node)
    return False


def _makes_parameter(node: ast.Call) -> bool:
    name, flags = called(node), {keyword.arg: keyword.value for keyword in node.keywords}
    if name in HOLDERS:
        inside = [*node.args, *([node.func.value] if isinstance(node.func, ast.Attribute) else [])]
        return any(map(learned, inside)) or name == "requires_grad_"
    if any(_is(flags.get(flag), False) for flag in ("requires_grad", "trainable")):
        return False
    made = ast.unparse(node.func)
    variable = re.match(r"tf\..*Variable$|slim\.variable$", made) or _is(flags.get("requires_grad"), True)
    return bool(name in MAKERS or variable) and not _is_matrix(node)


def _is(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def _is_matrix(node: ast.Call) -> bool:
    """Is it made of two dimensions or more, as layers' weights are and weights of losses are not?"""
    for call in (inner for inner in ast.walk(node) if isinstance(inner, ast.Call)):
        sizes = call.args[:1] if called(call) == "full" else call.args
        if called(call) in FILLED and sizes and isinstance(sizes[0], ast.Tuple | ast.List):
            sizes = sizes[0].elts
        if called(call) in (*FILLED, "Tensor", "FloatTensor") and sum(not _is_one(size) for size in sizes) > 1:
            return True
    return False


def _is_one(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == 1


def statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a body and of the blocks in it, without those of functions and classes defined there."""
    for node in body:
        yield node
        if isinstance(node, Function | ast.ClassDef):
            continue
        for block in ("body", "orelse", "finalbody"):
            yield from statements(getattr(node, block, []))
        for handler in getattr(node, "handlers", []):
            yield from statements(handler.body)
