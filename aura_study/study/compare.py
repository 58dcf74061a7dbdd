"""Two runs side by side: what was set, what was decided, which figures there are."""

from collections.abc import Iterator, Mapping

from rich.table import Table
from rich.text import Text

from aura_study.paths import RunFolders
from aura_study.runs import ledger
from aura_study.runs.manifest import Manifest, read_manifest
from aura_study.runs.words import NONE, number


def compare_runs(first: RunFolders, second: RunFolders) -> Iterator[Table]:
    """Tables of parameters that differ, of all claims, and of figures that differ.

    Raises:
        StudyError: a run without a ledger.
    """
    ledgers = [ledger.read_claims(folders) for folders in (first, second)]
    manifests = [read_manifest(folders) for folders in (first, second)]
    names = [folders.name if first.name != second.name else str(folders.results) for folders in (first, second)]
    yield _differing("Settings and parameters that differ", names, *map(_settings, manifests))
    yield _claims(names, *(content.rows for content in ledgers))
    yield _differing("Figures that differ, by digest", names, *map(_figures, manifests))


def _settings(content: Manifest | None) -> dict[str, str]:
    if content is None:
        return {}
    rows = {"profile": content.request.profile, "data": content.request.data}
    rows["commit"] = (content.commit.hash or "unknown")[:10]
    for notebook, entry in content.notebooks.items():
        rows.update({f"{notebook}: {name}": str(value) for name, value in entry.parameters.items()})
    return rows


def _figures(content: Manifest | None) -> dict[str, str]:
    outputs = [entry.outputs for entry in content.notebooks.values()] if content else []
    return {key: value[:12] for found in outputs for key, value in found.items() if key.endswith(".svg")}


def _differing(title: str, names: list[str], first: Mapping[str, str], second: Mapping[str, str]) -> Table:
    table = Table(title=title, min_width=60)
    for heading in ("", *names):
        table.add_column(heading, overflow="fold")
    for key in dict.fromkeys([*first, *second]):
        left, right = first.get(key, NONE), second.get(key, NONE)
        if left != right:
            table.add_row(*map(Text, (key, left, right)))
    if not table.row_count:
        table.add_row("nothing", "", "")
    return table


def _claims(names: list[str], first: Mapping[str, ledger.Row], second: Mapping[str, ledger.Row]) -> Table:
    table = Table(title="Ledger", show_lines=True, min_width=60)
    for heading in ("claim", *names, ""):
        table.add_column(heading, overflow="fold")
    for key in dict.fromkeys([*first, *second]):
        left, right = first.get(key), second.get(key)
        same = bool(left and right and left.verdict == right.verdict)
        table.add_row(
            key, _cell(left), _cell(right), Text("same verdict" if same else "differs", "" if same else "bold")
        )
    return table


def _cell(row: ledger.Row | None) -> Text:
    if row is None:
        return Text("not decided", style="dim")
    text = Text(row.verdict, style=ledger.VERDICT_STYLES[row.verdict])
    return text.append(f"\n{number(row.measured)} {ledger.interval(row)}", style="not bold default")
