"""What a run reads: digests of data and encoders, and that another encoder under the same name runs again."""

from pathlib import Path

import pytest
from small_encoders import bert, save

from aura_study.errors import StudyError
from aura_study.paths import DATA_VARIABLE, notebooks_folder
from aura_study.runs.inputs import data_state
from aura_study.runs.stamps import Stamp
from aura_study.study.plan import Work, plan
from aura_study.study.registry import parameter_classes
from aura_study.study.request import Request


@pytest.fixture
def encoder(tmp_path: Path) -> str:
    """Folder of a small BERT."""
    return str(save(tmp_path / "own"))


def works(encoder: str, out: Path, stamps: dict[str, Stamp]) -> list[Work]:
    """What a run of notebooks 04 and 01 with this encoder has to do."""
    overrides = {"04_aura_training": {"encoder": encoder}}
    asked = Request.of(parameter_classes(), ["04", "01"], "smoke", out=str(out), overrides=overrides)
    read = {name for parameters in asked.parameters.values() for name in parameters.encoders}
    return plan(asked, asked.parameters, stamps, notebooks_folder(), data_state("embedded", read))


def test_another_encoder_under_the_same_name_runs_again(encoder: str, tmp_path: Path) -> None:
    """So it is said; a notebook that reads none is left alone."""
    first = works(encoder, tmp_path / "run", {})
    stamps = {
        work.order.name: Stamp(fingerprint=work.order.fingerprint, parameters={}, outputs={}, seconds=1)
        for work in first
    }
    assert [work.why for work in works(encoder, tmp_path / "run", stamps)] == [None, None]
    bert(pooler=True, initializer_range=0.5).save_pretrained(encoder)
    again = {work.order.name: work.why for work in works(encoder, tmp_path / "run", stamps)}
    assert again == {"01_focal_loss": None, "04_aura_training": "encoder changed"}


def test_the_built_encoder_adds_nothing_to_a_fingerprint(tmp_path: Path) -> None:
    """Its code is part of every one."""
    assert all("encoder" not in work.order.fingerprint for work in works("tiny", tmp_path / "run", {}))
    assert data_state("embedded", ["tiny"]) == data_state("embedded")


def test_every_file_of_an_encoder_is_told_without_its_place(encoder: str) -> None:
    """What a manifest says of it: a digest a file, and no folder of the machine."""
    state = data_state("embedded", [encoder])
    assert {"encoders/own/config.json", "encoders/own/model.safetensors"} <= state.files.keys()
    assert all(name.startswith("encoders/own/") for name in state.files)
    assert state.digest == data_state("embedded").digest
    assert set(state.encoders) == {encoder}


def test_an_encoder_that_is_not_here_stops_a_run_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the error that says how to get it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "cache"))
    with pytest.raises(StudyError, match=r"encoder 'minilm' is not on this machine: .*`aura-study data fetch minilm`"):
        data_state("embedded", ["tiny", "minilm"])
    for name in ("~nobody/x", "no\0name", "x" * 5000, ".", " "):
        with pytest.raises(StudyError):
            data_state("embedded", [name])
