"""Small faults put into a source on purpose, one at a time: what `mutate.py` asks the tests to notice.

Strings, annotations, imports and decorators are left alone, and so is `strict=True` of a zip, a guard that no test can
meet where lengths agree. Calls lose one named argument, statements without a value are dropped, conditions and
operators turn round, numbers and switches change.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

PAIRS = (
    (ast.Lt, ast.LtE),
    (ast.Gt, ast.GtE),
    (ast.Eq, ast.NotEq),
    (ast.In, ast.NotIn),
    (ast.Is, ast.IsNot),
    (ast.And, ast.Or),
    (ast.Add, ast.Sub),
    (ast.Mult, ast.Div),
    (ast.BitAnd, ast.BitOr),
)
SWAPPED: dict[type[ast.AST], type[ast.AST]] = {one: other for pair in PAIRS for one, other in (pair, pair[::-1])}
SWAPPED |= {ast.Pow: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv}
SKIPPED = (ast.JoinedStr, ast.Import, ast.ImportFrom, ast.arg, ast.Global, ast.Nonlocal, ast.Assert)


@dataclass(frozen=True)
class Mutant:
    """One change of one file: bytes ``start`` to ``end``, which read ``before``, become ``after``."""

    path: str
    line: int
    inside: str
    """The function or class that holds it, as ``Class.method``; empty at the module's own level."""
    start: int
    end: int
    column: int
    before: str
    after: str

    @property
    def name(self) -> str:
        """What tells it from others: where it is and what it changes."""
        return f"{self.path}:{self.line}:{self.column} {self.before} -> {self.after}"

    def applied(self, source: str) -> str:
        """``source`` with the fault in it."""
        raw = source.encode()
        return (raw[: self.start] + self.after.encode() + raw[self.end :]).decode()


def mutants_of(source: str, path: str) -> list[Mutant]:
    """Every mutant of one file, in the order of the text; each compiles and differs from the source."""
    raw, starts = source.encode(), [0]
    for text in raw.splitlines(keepends=True):
        starts.append(starts[-1] + len(text))
    found = []
    for node, inside in _nodes(ast.parse(source), ""):
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        before = " ".join(raw[start:end].decode().split())
        for changed in _changes(node):
            text = changed if isinstance(changed, str) else f"({ast.unparse(changed)})"
            found.append(Mutant(path, node.lineno, inside, start, end, node.col_offset, before, text))
    return sorted(found, key=lambda one: (one.start, one.end, one.after))


def _nodes(node: ast.AST, inside: str) -> Iterator[tuple[ast.AST, str]]:
    """Every node that may change, with the name of what holds it."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        inside = f"{inside}.{node.name}" if inside else node.name
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "bases", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, SKIPPED) and not _says_nothing(child):
                if hasattr(child, "lineno"):
                    yield child, inside
                yield from _nodes(child, inside)


def _says_nothing(node: ast.AST) -> bool:
    """Docstrings, what is for types alone, the list of public names, a zip's `strict`."""
    text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    names = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    strict = isinstance(node, ast.keyword) and node.arg == "strict"
    return text or typing or names or strict


def _changes(node: ast.AST) -> Iterator[ast.AST | str]:
    """What stands in the node's place, a statement as text."""
    match node:
        case ast.Compare():
            first = SWAPPED[type(node.ops[0])]()
            yield ast.Compare(node.left, [first, *node.ops[1:]], node.comparators)
        case ast.BoolOp():
            yield ast.BoolOp(SWAPPED[type(node.op)](), node.values)
        case ast.BinOp() if type(node.op) in SWAPPED:
            yield ast.BinOp(node.left, SWAPPED[type(node.op)](), node.right)
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node.operand
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)
        case ast.Constant(value=int()):
            yield ast.Constant(node.value + 1)
        case ast.Constant(value=float()):
            yield ast.Constant(2 * node.value if node.value else 1.0)
        case ast.IfExp() if not isinstance(node.test, ast.Compare | ast.BoolOp | ast.UnaryOp):
            yield ast.IfExp(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
        case ast.Call():
            for dropped in node.keywords:
                if dropped.arg not in (None, "strict") and not _is_text(dropped.value):
                    kept = [keyword for keyword in node.keywords if keyword is not dropped]
                    yield ast.Call(node.func, node.args, kept)
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Raise():
            yield "pass"
        case ast.Break():
            yield "continue"
        case ast.Continue():
            yield "break"


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
