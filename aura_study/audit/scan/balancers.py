"""Places of a balancer, known by a class's or function's name, by what is imported, or by what is computed."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from aura_study.audit.scan.names import Function, called, statements
from aura_study.audit.scan.sources import Source
from aura_study.audit.scan.values import LOSS

METHODS = {
    "GradNorm": r"gradnorm",
    "PCGrad": r"pcgrad|gradientsurgery|projectconflicting|conflictinggrad",
    "MGDA": r"mgda|minnorm(solver|element|2d)|paretomtl",
    "CAGrad": r"cagrad",
    "Nash-MTL": r"nashmtl",
    "FAMO": r"^famo",
    "IMTL": r"^imtl",
    "GradVac": r"gradvac|gradientvaccine",
    "GradDrop": r"graddrop|gradientsigndropout",
    "RotoGrad": r"rotograd",
    "Aligned-MTL": r"alignedmtl",
    "DWA": r"dynamicweightaverag|dynamicweightedaverag|^dwa|dwa$",
    "random loss weighting": r"randomlossweight|^rlw$",
    "SoftAdapt": r"softadapt",
    "ReLoBRaLo": r"relobralo",
    "CoV-Weighting": r"covweighting|coefficientofvariation",
    "dynamic task prioritisation": r"dynamictaskpriorit",
    "loss-balanced task weighting": r"lossbalancedtask|^lbtw",
    "UPGrad": r"upgrad$",
    "SDMGrad": r"sdmgrad",
}
"""What is published, by a pattern of a class's or function's name in lower case, without underscores."""
LIBRARIES = re.compile(
    r"^(torchjd\.(aggregation|scalarization)|torchjd$|LibMTL(\.weighting)?|gradnorm_pytorch|rotograd|softadapt|mtl_uncertainty_loss)"
)
FIRST = re.compile(r"(init|first|prev|last|old|base).*(loss|cost)|(loss|cost).*(init|first|prev|last|old|_?0$)", re.I)
"""A loss of the past."""
COMPUTES = re.compile(r"grad|loss|weight", re.I)


@dataclass(frozen=True)
class Balancing:
    """One place: where, which method, and the class or function, if it has a name."""

    source: Source
    line: int
    method: str
    name: str
    scope: ast.ClassDef | Function | ast.Module


def balancings(source: Source) -> Iterator[Balancing]:
    """Definitions by name, calls of libraries, and computations that are a balancer's whatever they are called."""
    yield from _imported(source)
    yield from _defined(source, source.tree, "")
    own = ast.Module([node for node in source.tree.body if not isinstance(node, Function | ast.ClassDef)], [])
    if method := _computed(own):
        yield Balancing(source, method[1], method[0], "", source.tree)


def _defined(source: Source, inside: ast.AST, outer: str) -> Iterator[Balancing]:
    for node in statements(getattr(inside, "body", [])):
        if not isinstance(node, Function | ast.ClassDef) or node.name.lower().startswith("test"):
            continue
        plain = node.name.replace("_", "").lower()
        named = next((name for name, pattern in METHODS.items() if re.search(pattern, plain)), None)
        method = (named, node.lineno) if named and _balances(node) else None
        if method is None and isinstance(node, Function):
            method = _computed(node)
        if method is not None:
            yield Balancing(source, method[1], method[0], outer or node.name, node)
        elif isinstance(node, ast.ClassDef):
            yield from list(_defined(source, node, node.name))[:1]


def _balances(node: Function | ast.ClassDef) -> bool:
    """A definition by a balancer's name computes something of gradients or losses; a norm for the log does not."""
    text = ast.unparse(node)
    if re.search(r"grad_?norm", node.name, re.I):
        return bool(LOSS.search(text) and "weight" in text and re.search(r"\bgrad\(|gradient|\.grad\b|alpha", text))
    return bool(COMPUTES.search(text)) and len(list(ast.walk(node))) > 20


def _imported(source: Source) -> Iterator[Balancing]:
    names: dict[str, str] = {}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom) and LIBRARIES.search(node.module or ""):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(source.tree) if names else ():
        if isinstance(node, ast.Call) and called(node) in names and isinstance(node.func, ast.Name):
            yield Balancing(source, node.lineno, names[called(node)], "", source.tree)


def _computed(scope: ast.AST) -> tuple[str, int] | None:
    """GradNorm's target, a ratio of the last losses under a softmax, a projection of one gradient off another."""
    text = ast.unparse(scope)
    for node in ast.walk(scope):
        match node:
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                before, after = ast.unparse(left), ast.unparse(right)
                last = re.search(r"- ?1\b", before) and re.search(r"- ?2\b", after)
                same = re.sub(r"- ?1\b", "-", before) == re.sub(r"- ?2\b", "-", after)
                if last and same and LOSS.search(before) and re.search(r"exp\(|softmax", text):
                    return "DWA", node.lineno
                plain = isinstance(left, ast.Name | ast.Attribute | ast.Subscript)
                if plain and LOSS.search(before) and FIRST.search(after) and re.search(r"weights?\w* = ", text):
                    return "loss ratio", node.lineno
            case ast.BinOp(
                left=ast.BinOp(left=over, op=ast.Div(), right=under), op=ast.Pow(), right=ast.Name() | ast.Attribute()
            ):
                if LOSS.search(ast.unparse(over)) and LOSS.search(ast.unparse(under)):
                    return "loss ratio", node.lineno
            case ast.BinOp(op=ast.Pow(), right=ast.Name() | ast.Attribute() as power):
                gradients = re.search(r"autograd\.grad\(|\.gradient\(|gradients\(", text) and re.search(r"norm\(", text)
                if re.search(r"alpha?\b", ast.unparse(power)) and gradients and "weight" in text.lower():
                    return "GradNorm", node.lineno
            case ast.If(test=ast.Compare(ops=[ast.Lt()], comparators=[ast.Constant(value=0)]) as test, body=body):
                then = ast.unparse(ast.Module(body, []))
                projects = re.search(r"dot|inner|cos|prod|g_?ij|sim|conflict", ast.unparse(test)) and "grad" in text
                if projects and re.search(r"-=|- ", then) and re.search(r"norm|\*\* ?2|dot|sum", then):
                    return "PCGrad", node.lineno
    return None
