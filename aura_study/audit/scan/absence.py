"""How the code around a weighting marks an absent task: what its loss is where there is nothing to learn from."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from aura_study.audit.scan.names import called
from aura_study.audit.scan.sources import Source
from aura_study.audit.scan.values import LOSS

PRESENCE = r"mask|valid|present|avail|count|num|labell?ed|has_|weight|n_|\bn\b"
SMALL = r"1e-\d+|eps|1(\.0*)?\b"


@dataclass(frozen=True)
class Mark:
    """One way in which a loss of an absent task is made: "zero", "masked mean", "skip" or "NaN", and where."""

    kind: str
    line: int


def marks(source: Source, scope: ast.AST | None = None) -> list[Mark]:
    """Every mark in a file, or in one function of it, by line."""
    return sorted(
        {*_marks(scope or source.tree, branch=False, summed=frozenset())}, key=lambda mark: (mark.line, mark.kind)
    )


def _marks(node: ast.AST, *, branch: bool, summed: frozenset[str]) -> Iterator[Mark]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Module):
        adding = (inner.target for inner in ast.walk(node) if isinstance(inner, ast.AugAssign))
        summed, branch = frozenset(map(ast.unparse, adding)), False
    yield from (Mark(kind, getattr(node, "lineno", 1)) for kind in _kinds(node, branch, summed))
    for field, children in ast.iter_fields(node):
        inside = branch or isinstance(node, ast.ExceptHandler) or (isinstance(node, ast.If) and field != "test")
        for child in children if isinstance(children, list) else [children]:
            if isinstance(child, ast.AST):
                yield from _marks(child, branch=inside, summed=summed)


def _kinds(node: ast.AST, branch: bool, summed: frozenset[str]) -> Iterator[str]:
    """Marks that this node is, whatever is inside it; ``summed`` are the names that something is added to."""
    match node:
        case ast.Assign(targets=[target, *_], value=value) | ast.AnnAssign(target=target, value=ast.expr() as value):
            name = ast.unparse(target)
            if branch and LOSS.search(name) and name not in summed and _is_zero(value):
                yield "zero"
        case ast.Return(value=ast.Call() | ast.BinOp() as value) if branch and _is_zero(value):
            yield "zero"
        case ast.IfExp(body=body, orelse=orelse) if LOSS.search(ast.unparse(node)):
            if _is_zero(body) != _is_zero(orelse):
                yield "zero"
        case (
            ast.ListComp(elt=ast.IfExp(body=body, orelse=orelse), generators=[over, *_])
            | ast.GeneratorExp(elt=ast.IfExp(body=body, orelse=orelse), generators=[over, *_])
            | ast.DictComp(value=ast.IfExp(body=body, orelse=orelse), generators=[over, *_])
        ) if LOSS.search(ast.unparse(over.iter)):  # whatever one of them is called
            if _is_zero(body) != _is_zero(orelse):
                yield "zero"
        case ast.Call(args=[_, default]) if (
            called(node) == "get" and _is_zero(default) and LOSS.search(ast.unparse(node))
        ):
            yield "zero"
        case ast.BinOp(op=ast.Div(), left=left, right=right):
            if _masked_mean(ast.unparse(left), ast.unparse(right)):
                yield "masked mean"
        case ast.Call() if called(node) in ("nanmean", "nansum"):
            yield "NaN"
        case ast.If(test=test, body=body):
            text = ast.unparse(test)
            if re.search(r"isnan|isfinite", text):
                yield "NaN"
            asks = re.search(rf"({PRESENCE}).*(sum\(|> 0|== 0|numel)|any\(|numel\(", text)
            if asks and LOSS.search(ast.unparse(ast.Module(body, []))):
                yield "skip"


def _is_zero(node: ast.expr) -> bool:
    """A zero: a number, a tensor of it, or something times it."""
    match node:
        case ast.Constant(value=value):
            return isinstance(value, int | float) and not isinstance(value, bool) and value == 0
        case ast.Call(func=ast.Attribute(value=inner), args=args):
            name = called(node)
            if name in ("to", "cuda", "requires_grad_", "type_as", "float", "mean", "sum"):
                return isinstance(inner, ast.Call) and _is_zero(inner)
            if name in ("tensor", "new_tensor", "constant", "FloatTensor", "Tensor", "as_tensor", "full"):
                return bool(args) and _is_zero(args[-1])
            return name in ("zeros", "new_zeros", "zeros_like")
        case ast.List(elts=[only]):
            return _is_zero(only)
        case ast.BinOp(op=ast.Mult(), left=left, right=right):
            return _is_zero(left) or _is_zero(right)
    return False


def _masked_mean(over: str, under: str) -> bool:
    masked = re.search(r"mask|valid|present|avail|weight|label", over) or LOSS.search(over)
    counted = re.search(PRESENCE + r"|sum\(", under)
    held = re.search(rf"(max|clamp|clip|maximum)_?\(.*({SMALL})|\+ ?({SMALL})", under)
    return bool(masked and counted and held)
