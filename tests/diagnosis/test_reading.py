"""A stranger's file: every usual shape gives one table, and whatever is no log ends in one sentence and exit code 2."""

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from aura_study.cli import app
from aura_study.diagnosis import CannotRead, understand
from aura_study.diagnosis.reading import read_table

RECORDS = 12
LOSSES = {
    task: np.round(np.geomspace(level, level / 2, RECORDS), 4) for task, level in (("depth", 0.8), ("normals", 0.2))
}
SIGMAS = {task: np.round(np.geomspace(1, 0.7, RECORDS), 4) for task in LOSSES}
STEPS = np.arange(50, 50 * RECORDS + 1, 50)


def wide(style: str = "{quantity}_{task}") -> pd.DataFrame:
    """The log as a table whose columns are named in one style."""
    columns = {"step": STEPS, "lr": 1e-3}
    for quantity, values in (("loss", LOSSES), ("sigma", SIGMAS)):
        columns |= {style.format(quantity=quantity, task=task): column for task, column in values.items()}
    return pd.DataFrame(columns)


def as_text(shape: str) -> str:
    """The same log as text in one of the shapes that logs come in."""
    table = wide()
    rows = table.to_dict("records")
    nested = [{"step": row["step"], "lr": row["lr"], "loss": {t: row[f"loss_{t}"] for t in LOSSES}, "sigma": {
        t: row[f"sigma_{t}"] for t in LOSSES}} for row in rows]  # fmt: skip
    long = pd.concat(
        pd.DataFrame({"step": STEPS, "task": task, "loss": LOSSES[task], "sigma": SIGMAS[task], "lr": 1e-3})
        for task in LOSSES
    )
    tags = table.melt("step", var_name="tag", value_name="value")
    half = pd.concat([table.drop(columns=["sigma_depth"]), table[["step", "sigma_depth"]]])
    return {
        "csv": table.to_csv(index=False),
        "semicolons": table.to_csv(index=False, sep=";"),
        "tabs": "# a comment\n" + table.to_csv(index=False, sep="\t"),
        "records": json.dumps(rows),
        "nested records": json.dumps({"run": "x", "log_history": nested}),
        "lines": "\n".join(map(json.dumps, nested)),
        "columns": json.dumps({name: list(map(float, column)) for name, column in table.items()}),
        "nested columns": json.dumps(
            {
                "step": STEPS.tolist(),
                "lr": [1e-3] * RECORDS,
                "losses": {task: column.tolist() for task, column in LOSSES.items()},
                "sigmas": {task: column.tolist() for task, column in SIGMAS.items()},
            }
        ),
        "long": long.to_csv(index=False),
        "tags": tags.to_csv(index=False),
        "rows in halves": half.to_csv(index=False),
    }[shape]


SHAPES = (
    "csv",
    "semicolons",
    "tabs",
    "records",
    "nested records",
    "lines",
    "columns",
    "nested columns",
    "long",
    "tags",
)


@pytest.mark.parametrize("shape", [*SHAPES, "rows in halves"])
def test_every_shape_is_the_same_log(tmp_path, shape):
    """Values, steps, rates and tasks are those of the plain CSV."""
    (tmp_path / "log").write_text(as_text(shape))
    log = understand(read_table(tmp_path / "log"))
    assert sorted(log.tasks) == ["depth", "normals"]
    for place, task in enumerate(log.tasks):
        assert log.values[place] == pytest.approx(SIGMAS[task])
        assert log.losses[place] == pytest.approx(LOSSES[task])
    assert log.scale == "sigma"
    assert log.steps == pytest.approx(STEPS)
    assert log.rates == pytest.approx(np.full(RECORDS, 1e-3))


@pytest.mark.parametrize(
    "style",
    [
        "{task}_{quantity}",
        "train/{quantity}_{task}",
        "{quantity}/{task}",
        "train_{task}_{quantity}_epoch",
        "Run 3 - {quantity}.{task}",
    ],
)
def test_styles_of_names(style):
    """Names of Lightning, TensorBoard and Weights & Biases."""
    log = understand(wide(style))
    assert log.tasks == ("depth", "normals")
    assert log.losses[1] == pytest.approx(LOSSES["normals"])


@pytest.mark.parametrize(
    ("name", "scale"),
    [("log_var_x", "log_variance"), ("logVarX", "log_variance"), ("log_sigma_x", "log_sigma"), ("sigma/x", "sigma"),
     ("x_weight", "weight"), ("loss_weights/x", "weight"), ("precision_x", "precision"), ("sigma_sq_x", "variance")],
)  # fmt: skip
def test_scales_by_name(name, scale):
    """What a column holds is read off its name."""
    log = understand(pd.DataFrame({"epoch": [1, 2, 3], "loss_x": 1.0, name: [0.5, 0.51, 0.52]}))
    assert (log.scale, log.tasks) == (scale, ("x",))


def test_held_out_losses_extremes_and_weighted_losses_are_left_alone():
    """Only what the training descended counts."""
    table = wide().assign(val_loss_depth=9.0, weighted_loss_depth=9.0, **{"x - loss/depth__MAX": 9.0})
    assert understand(table).losses[0] == pytest.approx(LOSSES["depth"])


def test_named_columns_replace_guesses():
    """With names that say nothing."""
    table = wide().set_axis(["i", "eta", "a", "b", "c", "d"], axis=1)
    named = {"step": "i", "lr": "eta", "loss:x": "a", "loss:y": "b", "sigma:x": "c", "sigma:y": "d"}
    log = understand(table, named)
    assert log.tasks == ("x", "y")
    assert log.losses[1] == pytest.approx(LOSSES["normals"])
    assert not log.guesses


BAD = {
    "missing": None,
    "empty": b"",
    "binary": bytes(range(256)) * 10,
    "one column": b"loss\n1\n2\n",
    "no names": b"1,2,3\n4,5,6\n",
    "names alone": b"step,loss_a,sigma_a\n",
    "text in numbers": b"step,loss_a,sigma_a\n1,0.5,0.9\n2,oops,0.8\n3,0.5,0.7\n",
    "no weights": b"step,loss_a,loss_b\n1,0.5,0.9\n2,0.4,0.8\n",
    "nothing but NaN": b"step,loss_a,sigma_a\n1,0.5,nan\n2,0.5,nan\n3,0.5,\n",
    "a long line": b"step,loss_a,sigma_a\n" + b"1" * 10_000_000 + b"\n",
    "broken JSON": b'{"loss": [1, 2',
    "JSON without a log": b'{"a": 1}',
    "two records": b"step,loss_a,sigma_a\n1,0.5,0.9\n2,0.5,0.8\n",
    "a negative sigma": b"step,loss_a,sigma_a\n1,0.5,0.9\n2,0.5,-0.8\n3,0.5,0.7\n",
    "twice the same name": b"step,loss_a,loss_a\n1,2,3\n",
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_get_one_clear_error(tmp_path, name):
    """Exit code 2, one line, no traceback; and as JSON, JSON."""
    path = tmp_path / "log.csv"
    if (content := BAD[name]) is not None:
        path.write_bytes(content)
    told = CliRunner().invoke(app, ["diagnose", str(path)])
    assert told.exit_code == 2, told.output
    assert told.stderr.startswith("error: ")
    assert told.stderr.count("\n") == 1
    assert len(told.stderr) < 600
    as_json = CliRunner().invoke(app, ["diagnose", str(path), "--json"])
    assert as_json.exit_code == 2
    assert json.loads(as_json.stdout)["reason"] in told.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--column", "los:a=loss_depth"], "did you mean loss"),
        (["--column", "loss:depth=lss_depth"], "did you mean loss_depth"),
        (["--column", "loss=loss_depth"], "loss:TASK"),
        (["--scale", "sgima"], "did you mean sigma"),
        (["--form", "logsigma"], "did you mean log_sigma"),
        (["--optimizer", "rmsprop"], "adam, sgd"),
        (["--presence", "dpth=0.5"], "did you mean depth"),
        (["--presence", "depth=1.5"], "share of batches"),
        (["--presence", "depth"], "NAME=VALUE"),
        (["--rows", "depth=10"], "go together"),
        (["--lr", "-1"], "above 0"),
        (["--steps-per-epoch", "0"], "above 0"),
    ],
)
def test_wrong_options_are_named(tmp_path, options, says):
    """With the nearest valid name, where it is a name."""
    path = tmp_path / "log.csv"
    wide().to_csv(path, index=False)
    told = CliRunner().invoke(app, ["diagnose", str(path), *options])
    assert told.exit_code == 2
    assert says in told.stderr


def test_a_folder_is_no_log(tmp_path):
    with pytest.raises(CannotRead, match="is a folder"):
        read_table(tmp_path)
