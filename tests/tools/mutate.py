"""Do the tests notice? Puts small faults into five rooms, one at a time, and runs the tests of that room on each.

    python tests/tools/mutate.py --out FOLDER [--each 90] [--seed 0] [--again [--slow]] [--rooms losses theory]

A sample of `--each` mutants a room, of the audit 40 at most, is drawn with `--seed`. All happens in a copy of the tree
in FOLDER. A first run of the room's tests, as it stands, notes which tests enter which function, how long each takes,
and which fail here anyway; each mutant is then shown to the tests that enter its function (all of the room if none
does), fastest first, and to those that start processes, for they see the fault too, until one fails, for `--limit`
seconds. What the tests import is imported once; each mutant has a fork of that. Stopped and started again it goes on,
in the first run from file to file; `--again` repeats those that were neither caught nor explained, with `--slow` on the
slow tests as well. `survivors.md`, beside this file, says of those that stay why: a survivor that it does not name
makes the command fail, and so do more than one in ten.
"""

import argparse
import importlib
import inspect
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import psutil
import pytest
from mutants import Mutant, mutants_of

PROJECT = Path(__file__).resolve().parents[2]
EXPLAINED = Path(__file__).with_name("survivors.md")
ROOMS = ("losses", "theory", "training", "claims", "audit")
LEAST = 0.9
MOST = {"audit": 40}
"""Mutants of a room whose tests take much longer than the others'."""
A_FILE = 1200
"""Seconds of computing after which a file of tests is left out."""
IDLE = 120
"""Seconds in which a process and those below it compute nothing: they hang."""
WHOLE = ".whole"  # the suffix of a module whose mutant is in its place
QUIET = ["-p", "no:cacheprovider", "-p", "no:xdist", "-q", "--tb=line"]
QUIET += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # the parent has imported what would be rewritten
FAST, SLOW = (["-m", marks] for marks in ("not slow and not browser", "not browser"))


class Watcher:
    """Notes, while the tests run, which of them enter which function of the room, their times and their failures."""

    def __init__(self, room: Path) -> None:
        self.room, self.item = str(room), ""
        self.entered: dict[str, set[str]] = defaultdict(set)
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []
        self.parents: list[str] = []
        """Tests that start processes, which may enter any function."""
        self.places: dict[int, tuple[CodeType, str]] = {}

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if id(code) not in self.places:
            inside = code.co_filename.startswith(self.room) and code.co_flags & inspect.CO_OPTIMIZED  # a function
            held = ".".join(part for part in code.co_qualname.split(".") if not part.startswith("<"))
            self.places[id(code)] = code, f"{code.co_filename}:{held}" if inside else ""
        if place := self.places[id(code)][1]:
            self.entered[place].add(self.item)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.item, before, faults = item.nodeid, os.times(), _faults_of_children()
        sys.settrace(self)  # type: ignore[arg-type]
        threading.settrace(self)  # type: ignore[arg-type]
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]
            here, below = (sum(os.times()[part]) - sum(before[part]) for part in (slice(0, 2), slice(2, 4)))
            self.seconds[item.nodeid] = round(here + below, 2)  # computed, here and in children
            self.parents += [item.nodeid] if _faults_of_children() > faults else []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)


def _faults_of_children() -> int:
    """Page faults of the children that have ended: even one too short for its time to be counted has some."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt


class Chosen:
    """Runs the tests that it is told, in that order."""

    def __init__(self, names: list[str]) -> None:
        self.order = {name: place for place, name in enumerate(names)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((item for item in items if item.nodeid in self.order), key=lambda one: self.order[one.nodeid])


def forked(tree: Path, log: Path, work: Callable[[], int], seconds: float) -> int | None:
    """Exit status of ``work`` in a child that stands in ``tree``; none if it had to be ended for its time.

    ``seconds`` are of computing, so that a busy machine catches nothing; one that computes nothing hangs.
    """
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 5))
            with log.open("w") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            os.chdir(tree)
            sys.path.insert(0, str(tree))
            os.environ["PYTHONPATH"] = os.pathsep.join((str(tree), str(tree / "tests" / "tools")))
            code = work()
            sys.stdout.flush()
            os._exit(code)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(70)
    status, computed, moved = None, -1.0, time.monotonic()
    while status is None and time.monotonic() < moved + IDLE:
        if (now := _computed(child)) != computed:
            computed, moved = now, time.monotonic()
        ended, code = os.waitpid(child, os.WNOHANG)
        status = code if ended else None
        time.sleep(0.05)
    end_all(child)
    if status is None:
        os.waitpid(child, 0)
    late = status is None or (os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL))
    return None if late or status is None else os.waitstatus_to_exitcode(status)


def _computed(child: int) -> float:
    """Seconds of computing of a process and of those below it that are there."""
    with suppress(psutil.Error):
        first = psutil.Process(child)
        return sum(sum(process.cpu_times()[:2]) for process in (first, *first.children(recursive=True)))
    return -1.0


def end_all(leader: int) -> None:
    """End whatever of the session that ``leader`` began is still there."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def as_it_stands(tree: Path, room: str, marked: list[str], out: Path) -> dict[str, Any]:
    """What the room's tests do without any fault: measured once, file by file, then read."""
    whole: dict[str, Any] = {"entered": defaultdict(list), "seconds": {}, "failed": [], "parents": []}
    for path in sorted((tree / "tests" / room).glob("test_*.py")):
        part = _file_as_it_stands(tree, room, path, marked, out / (room if marked == FAST else f"{room}, slow"))
        for place, tests in part["entered"].items():
            whole["entered"][place] += tests
        whole["seconds"] |= part["seconds"]
        whole["failed"] += part["failed"]
        whole["parents"] += part["parents"]
        for name in part["used"]:  # so that no fork has to
            with suppress(ImportError):
                importlib.import_module(name)
    return whole


def _file_as_it_stands(tree: Path, room: str, path: Path, marked: list[str], out: Path) -> dict[str, Any]:
    kept = out / f"{path.stem}.json"
    out.mkdir(exist_ok=True)

    def work() -> int:
        watcher = Watcher(tree / "aura_study" / room)
        code = pytest.main([*QUIET, *marked, path.relative_to(tree).as_posix()], plugins=[watcher])
        entered = {place.removeprefix(f"{tree}/"): sorted(tests) for place, tests in watcher.entered.items()}
        told = {"entered": entered, "seconds": watcher.seconds, "failed": watcher.failed}
        kept.write_text(json.dumps(told | {"parents": watcher.parents, "used": others(tree)}, indent=1))
        return int(code)

    if not kept.is_file() and forked(tree, kept.with_suffix(".log"), work, A_FILE) is None:
        print(f"{path.name} is left out: it takes more than {A_FILE} s", file=sys.stderr)
        kept.write_text(json.dumps({"entered": {}, "seconds": {}, "failed": [], "parents": [], "used": []}))
    return dict(json.loads(kept.read_text()))


def others(tree: Path) -> list[str]:
    """The modules that are loaded now and lie outside the tree, in the order in which they came."""
    files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    return [name for name, file in files.items() if file and str(tree) not in file]


def tests_for(mutant: Mutant, known: dict[str, Any], limit: float) -> list[str]:
    """The tests to show a mutant to: those that enter it, fastest first, then those that do so out of sight, if any.

    As many as took ``limit`` seconds together, and the first.
    """
    seconds, here = known["seconds"], set(known["entered"].get(f"{mutant.path}:{mutant.inside}", known["seconds"]))
    every = (here | set(known["parents"])) - set(known["failed"])
    ordered = sorted(every, key=lambda name: (name not in here, seconds[name], name))
    within = bisect(list(accumulate(seconds[name] for name in ordered)), limit)
    return ordered[: max(1, within)]


def judged(mutant: Mutant, tree: Path, known: dict[str, Any], limit: float, marked: list[str], out: Path) -> str:
    """caught, survived, or late: by the tests that may notice."""
    names, source = tests_for(mutant, known, limit), tree / mutant.path
    files = sorted({name.split("::")[0] for name in names})
    whole = source.rename(source.with_suffix(WHOLE))

    def work() -> int:
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        return int(pytest.main([*QUIET, *marked, "-x", "--hypothesis-seed=0", *files], plugins=[Chosen(names)]))

    try:
        source.write_text(mutant.applied(whole.read_text()))
        code = forked(tree, out / "last.log", work, 20 + 5 * sum(known["seconds"][name] for name in names))
    finally:
        whole.replace(source)
    return "late" if code is None else "survived" if code in (0, 5) else "caught"


def sample(tree: Path, rooms: list[str], each: int, seed: int) -> Iterator[tuple[str, Mutant]]:
    """As many mutants a room, drawn with the seed, the rooms by turns."""
    drawn = []
    for room in rooms:
        paths = sorted((tree / "aura_study" / room).rglob("*.py"))
        every = [one for path in paths for one in mutants_of(path.read_text(), path.relative_to(tree).as_posix())]
        chosen = random.Random(f"{seed} {room}").sample(every, min(each, MOST.get(room, each), len(every)))
        drawn.append([(room, mutant) for mutant in chosen])
    for place in range(each):
        yield from (room[place] for room in drawn if place < len(room))


def explained() -> dict[str, str]:
    """Why a survivor stays one, by its name: the rows of the table."""
    rows = [row.split(" | ") for row in EXPLAINED.read_text().splitlines() if row.startswith("| `aura_study/")]
    return {row[0].removeprefix("| ").strip("`").replace("\\|", "|"): row[1].removesuffix(" |") for row in rows}


def told(found: dict[str, tuple[str, str]]) -> bool:
    """Print how many were caught in each room, and the survivors with their reasons; whether that is good enough."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for room, how in found.values():
        counts[room][how] += 1
    print("| room | mutants | caught | ended late | survived | noticed |\n|---|---|---|---|---|---|")
    for room in (*counts, "all"):
        count = counts[room] if room in counts else sum(counts.values(), Counter())
        noticed = 1 - count["survived"] / max(1, count.total())
        print(
            f"| {room} | {count.total()} | {count['caught']} | {count['late']} | {count['survived']} | {noticed:.1%} |"
        )
    reasons = explained()
    open_ = [name for name, (_, how) in found.items() if how == "survived" and name not in reasons]
    print(f"\n{len(open_)} survivors are not explained in {EXPLAINED.name}:", *sorted(open_), sep="\n")
    share = sum(how != "survived" for _, how in found.values()) / max(1, len(found))
    return share >= LEAST and not open_


def copied(out: Path) -> Path:
    """The tree to break, as git lists it; made once, so that what goes on later breaks the same."""
    tree = out / "tree"
    if not tree.exists():
        listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=PROJECT, capture_output=True)
        for name in filter(None, listed.stdout.decode().splitlines()):
            if (PROJECT / name).is_file():
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(PROJECT / name, tree / name)
    for whole in tree.rglob(f"*{WHOLE}"):  # a run was killed while its mutant was in place
        whole.replace(whole.with_suffix(".py"))
    return tree


def main() -> int:
    """Draw, run what has no result yet, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--each", type=int, default=90)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=120, help="seconds of tests, as measured, for each mutant")
    parser.add_argument("--rooms", nargs="+", choices=ROOMS, default=list(ROOMS))
    parser.add_argument("--again", action="store_true", help="repeat those that were neither caught nor explained")
    parser.add_argument("--slow", action="store_true", help="show them the slow tests as well")
    parser.add_argument("--tell", action="store_true", help="run nothing more")
    asked = parser.parse_args()
    out = asked.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    tree, log = copied(out), out / "found.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    found = {row["name"]: (row["room"], row["how"]) for row in rows}
    marked = SLOW if asked.slow else FAST
    known = {room: as_it_stands(tree, room, marked, out) for room in asked.rooms} if not asked.tell else {}
    reasons = explained()
    drawn = list(sample(tree, asked.rooms, asked.each, asked.seed))
    for room, mutant in drawn if not asked.tell else []:
        settled = not asked.again or mutant.name in reasons
        if mutant.name in found and (settled or found[mutant.name][1] == "caught"):
            continue
        begun = time.monotonic()
        how = judged(mutant, tree, known[room], asked.limit, marked, out)
        found[mutant.name] = (room, how)
        row = {"name": mutant.name, "room": room, "how": how, "seconds": round(time.monotonic() - begun, 1)}
        with log.open("a") as file:
            file.write(json.dumps(row) + "\n")
    names = {mutant.name for _, mutant in drawn}
    return 0 if told({name: result for name, result in found.items() if name in names}) else 1


if __name__ == "__main__":
    sys.exit(main())
