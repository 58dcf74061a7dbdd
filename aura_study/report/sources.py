"""Where a figure comes from: the cell that draws it and the tables that hold its numbers, read off the notebook."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

RUN = "run"
"""Name of the `NotebookRun` in every notebook."""
EVERYWHERE = {RUN, "p"}
"""Names in nearly every cell, by which nothing is told apart."""
KEPT = "keep"
"""What stands for trajectories among tables: the method that lists them."""


@dataclass(frozen=True)
class Source:
    """Cell of a figure, tables with its numbers, and whether it was drawn from trajectories."""

    cell: str
    tables: tuple[str, ...]
    trajectories: bool


def sources(notebook: Any) -> dict[str, Source]:
    """By figure: its cell, and what was saved of the variables that it is drawn from.

    A table belongs to a figure if what the figure is given was saved as that table, or made from what was; where there
    is neither such a table nor a trajectory, if the table was made from what the figure is given.
    """
    held: dict[str, set[str]] = {}
    statements = [(cell.id, statement) for cell in notebook.cells for statement in _statements(cell)]
    imported = {name for _, statement in statements for name in _imported(statement)}
    made_from = [(_names(statement) - imported, set(_saved(statement, "table"))) for _, statement in statements]
    found: dict[str, Source] = {}
    for (cell, statement), (names, tables) in zip(statements, made_from, strict=True):
        inside = tables.union(*(held.get(name, set()) for name in names))
        inside |= {KEPT for _ in _calls(statement, KEPT)}
        for name in _assigned(statement):
            held[name] = inside
        for name in names if isinstance(statement, ast.Expr) and tables else ():
            held[name] = held.get(name, set()) | (tables if _is_saved_as_it_stands(statement, name) else set())
        for figure in _saved(statement, "figure"):
            near = inside or {table for others, made in made_from if others & names for table in made}
            found[figure] = Source(cell, tuple(sorted(near - {KEPT})), KEPT in near)
    return found


def _statements(cell: Any) -> list[ast.stmt]:
    try:
        return ast.parse(cell.source).body if cell.cell_type == "code" else []
    except SyntaxError:  # a magic
        return []


def _names(statement: ast.stmt) -> set[str]:
    """Variables that a statement reads."""
    names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
    return names - EVERYWHERE - set(_assigned(statement))


def _imported(statement: ast.stmt) -> set[str]:
    if not isinstance(statement, ast.Import | ast.ImportFrom):
        return set()
    return {(alias.asname or alias.name).split(".")[0] for alias in statement.names}


def _assigned(statement: ast.stmt) -> list[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]


def _calls(statement: ast.stmt, method: str) -> Iterator[ast.Call]:
    """Calls of the run's ``method``."""
    for node in ast.walk(statement):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=called)) if (name, called) == (RUN, method):
                yield node


def _saved(statement: ast.stmt, method: str) -> Iterator[str]:
    """Names under which a statement saves tables or figures."""
    for call in _calls(statement, method):
        if call.args and isinstance(call.args[0], ast.Constant):
            yield str(call.args[0].value)


def _is_saved_as_it_stands(statement: ast.stmt, name: str) -> bool:
    calls = _calls(statement, "table")
    return any(isinstance(call.args[-1], ast.Name) and call.args[-1].id == name for call in calls if call.args)
