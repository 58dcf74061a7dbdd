"""Random faults over random commands on the toy study, for as long as told: in the end all files are as undisturbed.

    python tests/tools/soak.py --minutes 60 [--seed 0]

Each round starts a command in a process of its own (run, verify, report, claims), does something to it at a
random moment (kill the runner, its notebook, its kernel, or all; stop and continue it; end it with a signal; alter,
cut, empty or remove a file of the run; leave a file half-written), and at times lets one through. The run is then made
once more, by the same command: every file is byte for byte that of an undisturbed run, and nothing is left over.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import toy_study
from killed_runs import PATIENCE, STEPS, lasting, started

from aura_study.runs.records import UNFINISHED

FAULTS = ("kill", "kill all", "kill a child", "stop", "SIGTERM", "SIGHUP", "SIGINT", "alter", "cut", "empty", "remove")
FAULTS += ("half-written", "nothing")
COMMANDS = ("run", "run", "run", "verify", "report", "claims")
LONGEST = 8.0


def soak(folder: Path, undisturbed: Path, seconds: float, seed: int) -> list[str]:
    """Rounds of commands and faults in ``folder``, until the time is over; what was done in each.

    Raises:
        AssertionError: a file of the last, undisturbed run is not that of ``undisturbed``, or something is left over.
    """
    draw, done, out = random.Random(seed), [], folder / "run"
    end = time.monotonic() + seconds
    toy_study.write_notebooks(folder / "notebooks")
    while not done or time.monotonic() < end:
        command, fault = draw.choice(COMMANDS), draw.choice(FAULTS)
        done.append(f"{command}: {fault}")
        with _begun(command, out) as process:
            _wait(process, draw.uniform(0, LONGEST))
            _do(fault, process, out, draw)
            process.communicate(timeout=PATIENCE)
        if len(done) % 10 == 0:
            _made_whole(out, undisturbed, f"seed {seed}, {done}")
    _made_whole(out, undisturbed, f"seed {seed}, {done}")
    return done


def _begun(command: str, out: Path) -> AbstractContextManager["subprocess.Popen[str]"]:
    if command == "run" or not (out / "claims.json").is_file():
        return started(out)
    words = {"verify": [str(out)], "report": ["--run", str(out)], "claims": ["--run", str(out)]}[command]
    return subprocess.Popen(
        [sys.executable, "-m", "aura_study", command, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


def _wait(process: "subprocess.Popen[str]", seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


def _do(fault: str, process: "subprocess.Popen[str]", out: Path, draw: random.Random) -> None:
    family = _family(process)
    if fault.startswith("SIG"):
        _tell(family[:1], signal.Signals[fault])
    elif fault == "kill":
        _tell(family[:1], signal.SIGKILL)
    elif fault == "kill all":
        _tell(family, signal.SIGSTOP)
        _tell(family, signal.SIGKILL)
    elif fault == "kill a child":
        _tell(family[1:] and [draw.choice(family[1:])], signal.SIGKILL)
    elif fault == "stop":
        _tell(family, signal.SIGSTOP)
        time.sleep(draw.uniform(0, 2))
        _tell(family, signal.SIGCONT)
    elif fault == "half-written":
        folder = out / draw.choice(("", "tables", "stamps", "evidence", "notebooks", "figures"))
        if folder.is_dir():
            (folder / f"{UNFINISHED}1-half.json").write_bytes(b"half")
    elif fault != "nothing":
        files = [path for path in out.rglob("*") if path.is_file() and not _half_made(path.relative_to(out))]
        if files := sorted(path for path in files if path.name != ".lock"):
            _spoil(fault, draw.choice(files), draw)


def _family(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    try:
        first = psutil.Process(process.pid)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _tell(family: list[psutil.Process], number: signal.Signals) -> None:
    for member in family:
        try:
            member.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def _half_made(path: Path) -> bool:
    """Whether a command is still writing it: what is done to such a file is done to the command, not to the run."""
    return any(part.startswith(UNFINISHED) for part in path.parts)


def _spoil(fault: str, path: Path, draw: random.Random) -> None:
    content = path.read_bytes()
    place = draw.randrange(len(content) or 1)
    if fault == "remove":
        path.unlink(missing_ok=True)
    elif fault == "cut":
        path.write_bytes(content[:place])
    elif fault == "empty":
        path.write_bytes(b"")
    else:
        path.write_bytes(content[:place] + bytes([(content[place] + 1) % 256 if content else 0]) + content[place + 1 :])


def _made_whole(out: Path, undisturbed: Path, told: str) -> None:
    """The run, made by the same command, is the undisturbed one, and nothing lies beside it."""
    toy_study.run(out, STEPS, notebooks=out.parent / "notebooks")
    found, wanted = lasting(out), lasting(undisturbed)
    different = [name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)]
    assert not different, (different, told)
    assert {path.name for path in out.parent.iterdir()} == {"notebooks", "run"}, told


def main() -> None:
    """Soak for as long as told, and say how many rounds it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        quiet, folder = Path(name) / "quiet", Path(name) / "soaked"
        toy_study.run(quiet / "run", STEPS, notebooks=toy_study.write_notebooks(quiet / "notebooks"))
        shutil.copytree(quiet / "notebooks", folder / "notebooks")
        done = soak(folder, quiet / "run", 60 * asked.minutes, asked.seed)
    print(f"{len(done)} rounds, all files as undisturbed: " + ", ".join(sorted(set(done))))


if __name__ == "__main__":
    main()
