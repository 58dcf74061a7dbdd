"""The scan of whole repositories: every form and mark found, hostile files survived, nothing run, nothing written."""

import json
import os
import random
import sys
from pathlib import Path
from textwrap import dedent

import jsonschema
import pytest

from aura_study import cli
from aura_study.audit.scan import Judgement, Scan, scan

HEAD = "import torch, math\nfrom torch import nn\nimport torch.nn.functional as F\n"


def written(folder: Path, code: str, name: str = "losses.py") -> Scan:
    """What the scan says of a folder with this file."""
    (folder / name).write_text(HEAD + dedent(code), encoding="utf-8")
    return scan(folder)


def weighting(term: str, start: str = "torch.zeros(n)") -> str:
    """A class whose total is the sum of ``term`` over parameters s and losses."""
    return f"""
class Weighting(nn.Module):
    def __init__(self, n=3):
        super().__init__()
        self.s = nn.Parameter({start})

    def forward(self, losses):
        total = 0
        for s, loss in zip(self.s, losses):
            total = total + {term}
        return total
"""


FORMS = {
    "torch.exp(-s) * loss + s": "log variance",
    "loss / torch.exp(s) + 0.5 * s": "log variance",
    "0.5 * torch.exp(-2 * s) * loss + s": "log sigma",
    "0.5 / s**2 * loss + torch.log(1 + s**2)": "sigma",
    "loss / (2 * s.pow(2)) + s.log()": "sigma",
    "loss / F.softplus(s) + 0.5 * F.softplus(s)": "softplus",
    "(-s).exp().mul(loss).add(s)": "log variance",
}


@pytest.mark.parametrize(("term", "form"), list(FORMS.items()))
def test_every_form_is_found_and_named(tmp_path: Path, term: str, form: str) -> None:
    """One place, at the line of the term, with the class's audit as the command to type."""
    (finding,) = written(tmp_path, weighting(term)).findings
    assert (finding.form, finding.name, finding.judgement) == (form, "Weighting", Judgement.OPEN)
    assert term.split()[0].strip("(") in (tmp_path / "losses.py").read_text().splitlines()[finding.line - 1]
    assert finding.advice == f"aura-study audit {tmp_path.as_posix()}/losses.py:Weighting"


def test_the_names_of_arguments_tell_a_loss_as_well(tmp_path: Path) -> None:
    """Where the term itself has no word for it, and no exponential or square."""
    code = """
class Weighting(nn.Module):
    def __init__(self):
        super().__init__()
        self.s = nn.Parameter(torch.ones(2))

    def forward(self, losses):
        a, b = losses
        return a / self.s[0] + torch.log(self.s[0]) + b / self.s[1] + torch.log(self.s[1])
"""
    assert [finding.form for finding in written(tmp_path, code).findings] == ["variance"]
    assert written(tmp_path, code.replace("losses", "numbers")).findings == ()


GUARDS = {"loss != 0": "guarded", "loss > 0": "guarded", "count > 0": "cannot tell", "loss > 3": "cannot tell"}


@pytest.mark.parametrize(("guard", "judgement"), list(GUARDS.items()))
def test_a_guard_counts_if_it_asks_what_was_handed_in_whether_it_is_0(
    tmp_path: Path, guard: str, judgement: str
) -> None:
    """Of a number from elsewhere nothing is known, whatever its name."""
    line = "total = total + torch.exp(-s) * loss + s"
    code = weighting("torch.exp(-s) * loss + s").replace(line, f"if {guard}:\n                {line}")
    (finding,) = written(tmp_path, code).findings
    assert finding.judgement == judgement


MAKERS = (
    "self.s = nn.ParameterList([nn.Parameter(torch.zeros(())) for _ in range(n)])",
    "self.s = torch.zeros(n, requires_grad=True)",
    "self.register_parameter('s', nn.Parameter(torch.zeros(n)))",
    "self.s = nn.Parameter(torch.zeros(n), requires_grad=False); self.s.requires_grad = True",
    "self.s = tf.Variable([0.0, 0.0])",
    "self.s = []; self.s.append(self.add_weight(name='s', shape=(1,)))",
)


@pytest.mark.parametrize("maker", MAKERS)
def test_a_parameter_is_known_however_it_is_made(tmp_path: Path, maker: str) -> None:
    """Of torch, of TensorFlow and of Keras."""
    code = weighting("torch.exp(-s) * loss + s").replace("self.s = nn.Parameter(torch.zeros(n))", maker)
    assert [finding.form for finding in written(tmp_path, code).findings] == ["log variance"]


NOTHING = {
    "temperature": "class C(nn.Module):\n    def __init__(self):\n        self.t = nn.Parameter(torch.ones(()))\n"
    "    def forward(self, a, b):\n        logits = self.t.exp() * a @ b.T\n"
    "        return {'loss': F.cross_entropy(logits, b), 'scale': self.t.exp()}",
    "variational": "def loss(mu, logvar, x, y):\n"
    "    return ((x - y) ** 2 * torch.exp(-logvar) + logvar).sum() - 0.5 * (1 + logvar - mu**2 - logvar.exp()).sum()",
    "affine layer": "class L(nn.Module):\n    def __init__(self, n):\n        self.w = nn.Parameter(torch.ones(n))\n"
    "        self.b = nn.Parameter(torch.zeros(n))\n    def forward(self, x):\n        return self.w * x + self.b",
    "layer of Bayes": "class B(nn.Module):\n    def __init__(self, a, b):\n"
    "        self.rho = nn.Parameter(torch.Tensor(a, b))\n    def kl_loss(self, mu):\n"
    "        s = F.softplus(self.rho)\n        return (mu / s**2 + torch.log(s)).sum()",
    "fixed": weighting("0.3 * loss + 0.1", "torch.zeros(n), requires_grad=False"),
    "unregularised": weighting("torch.exp(-s) * loss"),
    "clipping": "def grad_norm(parameters):\n    return sum(p.grad.norm() ** 2 for p in parameters) ** 0.5",
}


@pytest.mark.parametrize("code", list(NOTHING.values()), ids=list(NOTHING))
def test_what_only_resembles_it_is_left_alone(tmp_path: Path, code: str) -> None:
    """A temperature, a network's own variance, a layer: nothing is listed, and the exit code is 0."""
    found = written(tmp_path, code)
    assert found.findings == ()
    assert found.exit_code == 0


ZERO = "def depth_loss(p, y):\n    if y is None:\n        return torch.zeros(())\n    return (p - y).abs().mean()\n"
MEAN = "def depth_loss(p, y, mask):\n    return ((p - y).abs() * mask).sum() / mask.sum().clamp(min=1)\n"
TRAINS = "def step(p, y, mask):\n    return Weighting()([depth_loss(p, y), depth_loss(p, mask)])\n"
KEYED = weighting("torch.exp(-s) * loss + s").replace("for s, loss in zip(self.s, losses):", "{0}")
LOOPS = {
    "is None": "for s, loss in zip(self.s, losses):\n            if loss is None:\n                continue",
    "present keys": "for name, loss in losses.items():\n            s = self.s[name]",
}


@pytest.mark.parametrize(("made", "kind"), [(ZERO, "zero"), (MEAN, "masked mean")])
def test_a_zero_on_its_way_to_a_weighting_makes_a_phantom_likely(tmp_path: Path, made: str, kind: str) -> None:
    """The mark is named with its line, and a repository of two files is read as one."""
    (tmp_path / "train.py").write_text(made + TRAINS, encoding="utf-8")
    found = written(tmp_path, weighting("torch.exp(-s) * loss + s"))
    (finding,) = found.findings
    assert (finding.judgement, found.exit_code) == (Judgement.LIKELY, 1)
    assert finding.absence[0].startswith(f"{kind} (train.py:")


def test_a_zero_for_a_missing_loss_is_a_mark_whatever_the_loss_is_called(tmp_path: Path) -> None:
    """In a comprehension over the losses the name of one says nothing."""
    filled = "losses = [0.0 if l is None else l for l in losses]\n        total = 0"
    (finding,) = written(tmp_path, weighting("torch.exp(-s) * loss + s").replace("total = 0", filled)).findings
    assert finding.judgement == Judgement.LIKELY
    assert finding.absence[0].startswith("zero (")


def test_marks_are_named_in_the_same_order_in_every_run(tmp_path: Path) -> None:
    """By the names of the functions, and by no set's order."""
    makers = "".join(ZERO.replace("depth_loss", f"{name}_loss") for name in "abcdef")
    trains = f"def step(p, y):\n    return Weighting()([{', '.join(f'{name}_loss(p, y)' for name in 'fbdace')}])\n"
    (finding,) = written(tmp_path, weighting("torch.exp(-s) * loss + s") + makers + trains).findings
    lines = [int(mark.rpartition(":")[2].strip(")")) for mark in finding.absence]
    assert lines == sorted(lines)
    assert len(lines) == 6


def test_a_zero_elsewhere_in_the_repository_is_nobodys_business(tmp_path: Path) -> None:
    """A function that nobody who weighs calls makes nothing likely."""
    (tmp_path / "other.py").write_text(ZERO, encoding="utf-8")
    (finding,) = written(tmp_path, weighting("torch.exp(-s) * loss + s")).findings
    assert finding.judgement is Judgement.OPEN


@pytest.mark.parametrize(("loop", "guard"), [(LOOPS["is None"], "none"), (LOOPS["present keys"], "omit")])
def test_a_weighting_that_leaves_tasks_out_is_guarded(tmp_path: Path, loop: str, guard: str) -> None:
    """Unless a zero reaches it none the less."""
    code = KEYED.replace("{0}", loop)
    (finding,) = written(tmp_path, code).findings
    assert (finding.judgement, finding.guards) == (Judgement.GUARDED, (guard,))
    (finding,) = written(tmp_path, code + ZERO + TRAINS).findings
    assert finding.judgement is Judgement.LIKELY


MASKED = weighting("(torch.exp(-s) * loss + s) * mask")


def test_a_mask_guards_where_every_call_has_one(tmp_path: Path) -> None:
    """A mask that may be left out guards nothing, and one on the loss alone is the phantom itself."""
    (finding,) = written(tmp_path, MASKED.replace("losses):", "losses, mask):", 1)).findings
    assert finding.judgement is Judgement.GUARDED
    (finding,) = written(tmp_path, MASKED.replace("losses):", "losses, mask=None):", 1)).findings
    assert finding.judgement is Judgement.OPEN
    (finding,) = written(tmp_path, weighting("torch.exp(-s) * (mask * loss) + s")).findings
    assert finding.judgement is Judgement.LIKELY


FOLLOWED = """
def term(s, value):
    return torch.exp(-s) * value + s

class Model(nn.Module):
    def __init__(self):
        self.uncertainties = nn.ParameterDict({k: nn.Parameter(torch.zeros(())) for k in "ab"})

def train(model, batch):
    losses = {}
    losses["a"] = term(model.uncertainties["a"], batch.mean())
    return sum(losses.values())
"""
APART = """
class Trainer:
    def __init__(self):
        self.model.depth_weight = nn.Parameter(torch.tensor(0.0))

    def step(self, batch):
        loss = {}
        factor = 1 / torch.exp(self.model.depth_weight)
        loss["depth"] = factor * self.depth_loss(batch)
        loss["depth_uncertainty"] = 0.5 * self.model.depth_weight
        return sum(loss.values())
"""


HANDED = """
class Layer:
    def __init__(self, losses):
        self.losses, self.s = losses, []
        for _ in losses:
            self.s.append(slim.variable("s", shape=[], dtype=tf.float32))

    def total(self):
        return tf.add(tf.multiply(tf.div(1.0, self.s[0]), self.losses[0]), tf.log(self.s[0]))
"""

KEPT_FUNCTION = """
def gaussian(output, target, sigma):
    return 0.5 * (target - output) ** 2 / sigma ** 2 + torch.log(sigma)

class Net(nn.Module):
    def __init__(self):
        self.log_noise = nn.Parameter(torch.zeros(1))

class Wrapper:
    def __init__(self, net):
        self.net, self.loss_func = net, None
        self.loss_func = gaussian

    def fit(self, x, y):
        return self.loss_func(self.net(x), y, torch.exp(self.net.log_noise))
"""


@pytest.mark.parametrize(
    ("code", "form"),
    [(FOLLOWED, "log variance"), (APART, "log variance"), (HANDED, "variance"), (KEPT_FUNCTION, "log sigma")],
    ids=["through a function", "apart", "losses that the constructor was handed", "a function under another name"],
)
def test_a_parameter_is_followed(tmp_path: Path, code: str, form: str) -> None:
    """Through calls, attributes of other objects and containers."""
    assert [finding.form for finding in written(tmp_path, code).findings] == [form]


BALANCERS = {
    "PCGrad": "class PCGrad:\n    def step(self, grads):\n        for g in grads:\n            for h in grads:\n"
    "                if (g * h).sum() < 0:\n                    g -= (g * h).sum() * h / h.norm() ** 2\n"
    "        return grads",
    "DWA": "def weights(loss_history, T):\n"
    "    ratio = loss_history[t - 1] / loss_history[t - 2]\n    return torch.softmax(ratio / T, 0)",
    "GradNorm": "def balance(model, weights, losses, initial, alpha):\n"
    "    grads = [torch.autograd.grad(w * l, model.shared)[0] for w, l in zip(weights, losses)]\n"
    "    norms = torch.stack([torch.norm(grad) for grad in grads])\n"
    "    rate = losses / losses.mean()\n    return (norms - norms.mean() * rate**alpha).abs().sum()",
    "torchjd.aggregation.MGDA": "from torchjd.aggregation import MGDA\naggregator = MGDA()",
}


@pytest.mark.parametrize(("method", "code"), list(BALANCERS.items()), ids=list(BALANCERS))
def test_balancers_are_known_by_name_library_or_computation(tmp_path: Path, method: str, code: str) -> None:
    """Each once."""
    assert [(one.kind, one.form) for one in written(tmp_path, code).findings] == [("balancer", method)]


def test_a_notebook_is_read_cell_by_cell(tmp_path: Path) -> None:
    """Magics are passed over, a broken cell is said and the others read, and the line is the file's."""
    cells = [
        "%matplotlib inline\n!pip install x\nimport torch",
        "print 'two'",
        HEAD + weighting("torch.exp(-s) * loss + s"),
    ]
    written_cells = [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"cells": written_cells, "nbformat": 4}, indent=1), encoding="utf-8")
    found = scan(path)
    (finding,) = found.findings
    assert "(cell 3)" in finding.place
    assert "torch.exp(-s)" in path.read_text().splitlines()[finding.line - 1]
    assert [file for file, _ in found.reading.unread] == ["a.ipynb (cell 2)"]


HOSTILE = {
    "latin": b"x = '\xe9\xff'\n",
    "python 2": b"print 'x'\nexec 'y'\n",
    "broken": b"def f(:\n",
    "null": b"x = 1\0\n",
    "deep": b"x = " + b"[" * 3000 + b"]" * 3000,
    "deep minus": b"x = " + b"-" * 50_000 + b"1",
    "deep chain": b"x = a" + b".b" * 50_000,
    "huge": b"x = '" + b"a" * 10_000_000 + b"'",
    "unknown encoding": b"# -*- coding: nonsense -*-\n",
    "no notebook": b"[1, 2",
    "list for a notebook": b"[]",
}


@pytest.mark.parametrize("content", list(HOSTILE.values()), ids=list(HOSTILE))
def test_hostile_files_do_no_harm(tmp_path: Path, content: bytes) -> None:
    """They end neither the scan nor the process; what cannot be read is said, and what lies beside it is found."""
    for name in ("bad.py", "bad.ipynb"):
        (tmp_path / name).write_bytes(content)
    found = written(tmp_path, weighting("torch.exp(-s) * loss + s"))
    assert [finding.file for finding in found.findings] == ["losses.py"]
    assert found.exit_code == 2
    assert all(max(map(len, line.splitlines() or [""])) <= 200 for line in str(found).splitlines())


def test_links_and_vendored_folders_are_not_followed(tmp_path: Path) -> None:
    """A circle of links ends; environments, .git and node_modules are said and left alone."""
    for folder in ("node_modules/x", ".git", "mine", "venv2"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "w.py").write_text(HEAD + weighting("torch.exp(-s) * loss + s"), encoding="utf-8")
    (tmp_path / "venv2" / "pyvenv.cfg").touch()
    os.symlink(tmp_path, tmp_path / "mine" / "circle")
    found = scan(tmp_path)
    assert [finding.file for finding in found.findings] == ["mine/w.py"]
    assert found.reading.skipped == [".git", "node_modules", "venv2", "mine/circle"]
    assert scan(tmp_path, exclude=["mine/*"]).findings == ()


def test_an_empty_folder_and_nothing_at_all(tmp_path: Path) -> None:
    """An empty folder is fine; what is not there is an error."""
    assert (scan(tmp_path).exit_code, scan(tmp_path).reading.files) == (0, 0)
    with pytest.raises(OSError, match="no such file"):
        scan(tmp_path / "nothing")


def test_nothing_is_run_and_nothing_written(tmp_path: Path) -> None:
    """A file whose import would leave a trace leaves none."""
    trap = f"open({str(tmp_path / 'trace')!r}, 'w')\nraise SystemExit\n"
    written(tmp_path, trap + weighting("torch.exp(-s) * loss + s"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["losses.py"]


def test_code_cut_anywhere_never_ends_the_scan(tmp_path: Path) -> None:
    """Two hundred mutilated copies of a weighting: found, not found or not read, but never an exception."""
    draw = random.Random(0)
    code = HEAD + weighting("torch.exp(-s) * loss + s") + ZERO + TRAINS
    for number in range(200):
        first, last = sorted(draw.choices(range(len(code)), k=2))
        (tmp_path / f"{number}.py").write_text(code[:first] + code[last:], encoding="utf-8")
    assert scan(tmp_path).reading.files == 200


def test_sarif_and_annotations(tmp_path: Path) -> None:
    """One result and one line a place; what is likely warns, and signs of the format are escaped."""
    made = written(tmp_path, weighting("torch.exp(-s) * loss + s") + ZERO + TRAINS, "a, b%.py")
    document = json.loads(json.dumps(made.sarif()))
    jsonschema.validate(document, SARIF)
    (result,) = document["runs"][0]["results"]
    assert (result["level"], result["kind"]) == ("warning", "fail")
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "a%2C%20b%25.py"
    (line,) = made.annotations().splitlines()
    assert line.startswith(f"::warning file=a%2C b%25.py,line={made.findings[0].line},title=phantom likely%3A ")


PLACE = {
    "type": "object",
    "required": ["physicalLocation"],
    "properties": {
        "physicalLocation": {
            "type": "object",
            "required": ["artifactLocation", "region"],
            "properties": {"region": {"properties": {"startLine": {"type": "integer", "minimum": 1}}}},
        }
    },
}
SARIF = {
    "type": "object",
    "required": ["version", "runs"],
    "properties": {
        "version": {"const": "2.1.0"},
        "runs": {
            "items": {
                "required": ["tool", "results"],
                "properties": {
                    "tool": {"required": ["driver"]},
                    "results": {
                        "items": {
                            "required": ["message", "ruleId", "locations"],
                            "properties": {
                                "level": {"enum": ["none", "note", "warning", "error"]},
                                "kind": {"enum": ["fail", "pass", "review", "open", "informational", "notApplicable"]},
                                "locations": {"items": PLACE},
                            },
                        }
                    },
                },
            }
        },
    },
}
"""Of the standard's schema, the parts that the scan writes; the whole was checked by hand."""


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its forms, and its exit codes: 1 likely, 0 nothing, 2 nothing there."""
    written(tmp_path, weighting("torch.exp(-s) * loss + s") + ZERO + TRAINS)

    def command(*words: str) -> tuple[object, str]:
        monkeypatch.setattr(sys, "argv", ["aura-study", "scan", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, capsys.readouterr().out

    code, told = command(str(tmp_path))
    assert code == 1
    assert max(map(len, told.splitlines())) <= 80 + len(str(tmp_path))
    assert json.loads(command(str(tmp_path), "--json")[1])["findings"][0]["judgement"] == "phantom likely"
    assert json.loads(command(str(tmp_path), "--format", "sarif")[1])["version"] == "2.1.0"
    assert command(str(tmp_path), "--format", "github")[1].startswith("::warning ")
    assert command(str(tmp_path / "nothing"))[0] == 2
    assert command(str(tmp_path), "--exclude", "*.py")[0] == 0
