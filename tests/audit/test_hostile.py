"""Code under audit that exits, aborts, loops, forks, kills, asks or forges: it decides nothing, and nothing is left."""

import json
import os
import time

import psutil
import pytest
import typer
from typer.testing import CliRunner

from aura_study.audit.cli import audit_command

MODULE = """
import atexit, ctypes, json, multiprocessing, os, pickle, select, signal, subprocess, sys, threading, time
import numpy, torch
from torch import nn

class Own(BaseException):
    pass

class Silent(Exception):
    def __str__(self):
        raise RuntimeError("no words")

def act():
    {act}

if {place!r} == "import":
    act()

class Weighting(nn.Module):
    def __init__(self, n=3):
        super().__init__()
        self.s = nn.Parameter(torch.zeros(n))
        if {place!r} == "init":
            act()

    def forward(self, losses):
        if {place!r} == "forward":
            act()
        return (torch.exp(-self.s) * losses + self.s).sum()

def call(module, losses, *present):
    if {place!r} == "call":
        act()
    return module(torch.stack(list(losses.values())))

def focal(logits, targets, gamma=2.0):
    act()
    return torch.tensor(1.0)
"""
ENDS = {
    "exit": "sys.exit(0)",
    "exit at once": "os._exit(0)",
    "abort": "os.abort()",
    "own exception": "raise Own",
    "interrupt": "raise KeyboardInterrupt",
    "no words": "raise Silent",
    "segfault": "ctypes.string_at(0)",
    "kill": "os.kill(os.getpid(), signal.SIGKILL)",
    "kill its parent": "os.kill(os.getppid(), signal.SIGKILL); time.sleep(5)",
    "ask": "input('who goes there?')",
    "recurse": "act()",
    "fork": "os.fork()",
    "fork and end": "os.fork() and os._exit(0)",
}
HANGS = {
    "loop": "while True: pass",
    "sleep": "time.sleep(1e9)",
    "wait for a thread": "threading.Event().wait()",
    "wait for a child": "subprocess.run(['sleep', '1000'])",
    "orphan": "subprocess.Popen(['setsid', 'sleep', '1000'], start_new_session=True); time.sleep(1000)",
    "orphan's orphan": "os.fork() or os.setsid() and os.fork() or time.sleep(1000)\n    time.sleep(1000)",
    "no signals": "[signal.signal(s, signal.SIG_IGN) for s in (1, 2, 15)]; time.sleep(1000)",
    "grow a list": "kept = [0] * 9; [kept.extend(kept) for _ in iter(int, 1)]",
}
OTHERS = {
    "large array": "numpy.ones(2**40)",
    "large tensor": "torch.ones(2**38)",
    "closed descriptors": "os.closerange(3, 4096)",
    "closed streams": "sys.stdout.close(); sys.stderr.close(); os.close(1); os.close(2); os._exit(0)",
    "exit with a report": "print(json.dumps(dict(exit_code=0, safe=True, verdict='safe'))); os._exit(0)",
    "garbage everywhere": "[_write(fd, b'\\xff' * 999 + b'\\n[\"done\", 0]\\n') for fd in range(1, 64)]; os._exit(0)\n"
    "def _write(fd, text):\n    try: os.write(fd, text)\n    except OSError: pass",
    "pickles everywhere": "[_write(fd, pickle.dumps(('done', (0, {}, '')))) for fd in range(1, 64)]; os._exit(0)\n"
    "def _write(fd, text):\n    try: os.write(fd, text)\n    except OSError: pass",
    "exit by a thread": "threading.Timer(0, os._exit, [0]).start(); time.sleep(5)",
    "exit later": "signal.signal(signal.SIGALRM, lambda *a: os._exit(0)); signal.setitimer(0, 0.01); time.sleep(5)",
}  # fmt: skip
HOSTILE = [(place, name) for name in ENDS for place in ("import", "init", "forward")]
HOSTILE += [("call", "exit"), ("call", "exit at once"), ("focal", "exit"), ("focal", "exit at once")]
HOSTILE += [("forward", name) for name in (*HANGS, *OTHERS)] + [("import", "loop"), ("init", "loop")]
ACTS = ENDS | HANGS | OTHERS


def run(*arguments):
    app = typer.Typer()
    app.command()(audit_command)
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def target(tmp_path):
    def write(place, act):
        path = tmp_path / "hostile.py"
        path.write_text(MODULE.format(place=place, act=act))
        return str(path)

    return write


@pytest.mark.slow
@pytest.mark.parametrize(("place", "name"), HOSTILE, ids=[f"{name} in {place}" for place, name in HOSTILE])
def test_it_is_answered_with_2_and_the_reason_and_nothing_is_left(target, tmp_path, place, name):
    """Within its limit, whatever the code does; no process, no temporary file, no bytecode."""
    before, begun = {process.pid for process in psutil.Process().children(recursive=True)}, time.monotonic()
    file = target(place, ACTS[name])
    options = {"call": ["--call", f"{file}:call"], "focal": ["--focal"]}.get(place, [])
    limit = 2 if name in HANGS else 60
    what = "focal" if place == "focal" else "Weighting"
    result = run(f"{file}:{what}", "--steps", "5", "--limit", str(limit), "--memory", "1", "--json", *options)
    answer = json.loads(result.stdout)
    assert (result.exit_code, answer["exit_code"], answer["safe"]) == (2, 2, None)
    assert answer["reason"]
    assert answer["adapt"]
    assert "Traceback" not in result.output
    assert time.monotonic() - begun < limit + 60  # on a busy machine, too
    assert {process.pid for process in psutil.Process().children(recursive=True)} == before
    assert [path.name for path in tmp_path.iterdir()] == ["hostile.py"]


LATER = "calls.append(0)\n    while len(calls) > 100: pass\n\ncalls = []"
PHASES = {
    ("import", "while True: pass"): "importing",
    ("init", "while True: pass"): "making Weighting(3)",
    ("forward", "while True: pass"): "trying module(",
    ("forward", LATER): "warming up with every task present",
    ("focal", "while True: pass"): "focal loss, plain",
}


@pytest.mark.parametrize(("place", "act"), list(PHASES), ids=list(PHASES.values()))
def test_the_reason_names_the_phase_that_was_running(target, place, act):
    """However soon after the one before it the loop began."""
    name, options = ("focal", ["--focal"]) if place == "focal" else ("Weighting", [])
    result = run(f"{target(place, act)}:{name}", "--limit", "6", *options)
    assert result.exit_code == 2
    assert f"; last: {PHASES[place, act]}" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "act",
    [
        'print(\'{"verdict": "safe", "exit_code": 0}\')',
        'os.write(1, b\'{"verdict": "safe", "exit_code": 0}\')',
        "atexit.register(os._exit, 0)",
        "sys.exit = lambda code: None",
        "threading.Thread(target=time.sleep, args=(1000,)).start()",
        "open(os.path.join(__import__('tempfile').gettempdir(), 'left'), 'w').write('behind')",
    ],
)
def test_what_does_no_harm_changes_nothing(target, act):
    """The verdict is the weighting's, on standard output alone, and its temporary files are gone."""
    quick = ("--steps", "5", "--lr", "0.1", "--limit", "900", "--absence", "zero")
    result = run(f"{target('init', act)}:Weighting", "--json", *quick)
    assert (result.exit_code, json.loads(result.stdout)["verdict"]) == (1, "phantom")


@pytest.mark.parametrize(
    "options",
    [
        ("--steps", "1000000000"),
        ("--steps", "1e9"),
        ("--tasks", "1000000000"),
        ("--tasks", "9" * 5000),
        ("--tasks", "²"),
        ("--limit", "0"),
        ("--limit", "nan"),
        ("--memory", "-1"),
        ("--args", "[" * 10000),
    ],
)
def test_absurd_options_are_refused_at_once(target, options):
    """Before any long work, with the value or the valid ones."""
    begun = time.monotonic()
    result = run(f"{target('never', 'pass')}:Weighting", *options)
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)
    assert time.monotonic() - begun < 30


def test_a_function_that_ends_programs_is_no_weighting():
    """`os._exit` itself as the target."""
    assert run("os:_exit", "--args", "[0]").exit_code == 2


def test_in_python_an_exit_of_the_code_is_no_exit_of_the_program():
    """`audit` raises its own error for what ends programs."""
    from aura_study.audit import CannotAudit, audit

    class Leaves:
        def __getattr__(self, name):
            raise SystemExit(0)

    with pytest.raises(CannotAudit, match="SystemExit"):
        audit(Leaves())
    assert os.getpid() == psutil.Process().pid
