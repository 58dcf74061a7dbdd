"""`scan` and what it says: as text, JSON, SARIF 2.1.0, annotations for GitHub, and as an exit code."""

import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aura_study.audit.scan.judge import COMMAND, Finding, Judgement, Uses, findings
from aura_study.audit.scan.names import Names
from aura_study.audit.scan.sources import Reading, read

RULES = {
    "learned weighting": ("learned-weighting", "Losses are weighed by learned uncertainty"),
    "balancer": ("balancer", "Losses or gradients of several tasks are balanced"),
}
"""Id and description of a SARIF rule for each kind of place."""
KINDS = {Judgement.LIKELY: "fail", Judgement.OPEN: "review", Judgement.GUARDED: "pass"}
"""Of a SARIF result; what is no failure has no level."""
SHOWN = 3
"""Marks of absence that the text names for each place."""
DEEPEST = 8_000
"""Python frames of the walk; the syntax trees of real code need a few hundred."""


@dataclass(frozen=True)
class Scan:
    """Every place that was found, and what was read."""

    path: str
    findings: tuple[Finding, ...]
    reading: Reading

    @property
    def exit_code(self) -> int:
        """0: nothing likely; 1: a phantom likely; 2: nothing likely in what could be read, but not all could."""
        if any(finding.judgement is Judgement.LIKELY for finding in self.findings):
            return 1
        return 2 if self.reading.unread else 0

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "path": self.path,
            "exit_code": self.exit_code,
            "files": self.reading.files,
            "unread": [{"file": file, "reason": reason} for file, reason in self.reading.unread],
            "skipped": self.reading.skipped,
            "findings": [asdict(finding) for finding in self.findings],
        }

    def __str__(self) -> str:
        counts = Counter(finding.judgement for finding in self.findings)
        said = ", ".join(f"{counts[judgement]} {judgement}" for judgement in Judgement if counts[judgement])
        lines = [f"{self.path}: {self.reading.files} files read, none run; {said or 'nothing found'}"]
        for finding in self.findings:
            lines += ["", *_shown(finding)]
        if self.reading.skipped:
            lines += ["", *_wrapped("not looked into: ", ", ".join(self.reading.skipped))]
        if self.reading.unread:
            lines += ["", "could not be read:"]
            lines += [line for file, reason in self.reading.unread for line in _wrapped("  ", f"{file} {reason}")]
        return "\n".join(lines)

    def sarif(self) -> dict[str, Any]:
        """SARIF 2.1.0, for code scanning."""
        rules = [{"id": rule, "shortDescription": {"text": text}} for rule, text in RULES.values()]
        unread = [{"level": "warning", "message": {"text": f"{file} {reason}"}} for file, reason in self.reading.unread]
        return {
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [
                {
                    "tool": {"driver": {"name": "aura-study scan", "version": _version(), "rules": rules}},
                    "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": unread}],
                    "results": list(map(_result, self.findings)),
                }
            ],
        }

    def annotations(self) -> str:
        """Workflow commands of GitHub, one line a place."""
        lines = []
        for finding in self.findings:
            level = "warning" if finding.judgement is Judgement.LIKELY else "notice"
            title = _escaped(f"{finding.judgement}: {finding.form}", ":,")
            place = f"file={_escaped(finding.file, ':,')},line={finding.line}"
            lines.append(f"::{level} {place},title={title}::{_escaped(_message(finding))}")
        lines += [
            f"::warning file={_escaped(file.partition(' (cell')[0], ':,')}::{_escaped(f'not read: {reason}')}"
            for file, reason in self.reading.unread
        ]
        return "\n".join(lines)


def scan(path: Path | str, exclude: Sequence[str] = ()) -> Scan:
    """Read every Python file and notebook under a path, and list the places.

    Args:
        path: a folder or a file.
        exclude: patterns of paths, relative to it, that are left out.

    Raises:
        OSError: nothing is there.
    """
    root = Path(path) if Path(path).is_dir() else Path(path).parent
    where = "" if root == Path(".") else f"{root.as_posix()}/"
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, DEEPEST))
    try:
        reading = read(Path(path), exclude)
        names = Names.of(reading.sources)
        uses = Uses(reading.sources, names)
        found: dict[tuple[str, int], Finding] = {}
        for source in reading.sources:
            try:
                for finding in findings(source, names, uses):
                    advice = finding.advice.replace(COMMAND, f"{COMMAND}{where}", 1)
                    found.setdefault((finding.file, finding.line), replace(finding, advice=advice))
            except RecursionError:
                reading.unread.append((source.path, "is nested too deeply"))
    finally:
        sys.setrecursionlimit(limit)
    ordered = sorted(found.values(), key=lambda one: (list(Judgement).index(one.judgement), one.file, one.line))
    return Scan(str(path), tuple(ordered), reading)


def _result(finding: Finding) -> dict[str, Any]:
    """Of SARIF."""
    place = {"artifactLocation": {"uri": quote(finding.file)}, "region": {"startLine": finding.line}}
    return {
        "ruleId": RULES[finding.kind][0],
        "kind": KINDS[finding.judgement],
        "level": "warning" if finding.judgement is Judgement.LIKELY else "none",
        "message": {"text": _message(finding)},
        "locations": [{"physicalLocation": place}],
    }


def _shown(finding: Finding) -> list[str]:
    more = len(finding.absence) - SHOWN
    absence = ", ".join(finding.absence[:SHOWN]) + (f" and {more} more" if more > 0 else "")
    return [
        *_wrapped("", f"{finding.place}  {finding.judgement.upper()}"),
        *_wrapped("  ", f"{finding.kind}: {finding.form}" + (f" in {finding.name}" if finding.name else "")),
        *(_wrapped("  ", f"absence: {absence}") if absence else []),
        *_wrapped("  ", finding.reason),
        *([f"  {finding.advice}"] if finding.advice.startswith(COMMAND) else _wrapped("  ", finding.advice)),
    ]


def _wrapped(indent: str, text: str) -> list[str]:
    later = " " * max(len(indent), 4)
    return textwrap.wrap(text, 80, initial_indent=indent, subsequent_indent=later, break_on_hyphens=False)


def _message(finding: Finding) -> str:
    named = f" in {finding.name}" if finding.name else ""
    return f"{finding.judgement}: {finding.kind} ({finding.form}){named}; {finding.reason}. {finding.advice}"


def _escaped(text: str, more: str = "") -> str:
    for sign in "%\r\n" + more:
        text = text.replace(sign, f"%{ord(sign):02X}")
    return text


def _version() -> str:
    try:
        return version("aura-study")
    except PackageNotFoundError:
        return "0"
