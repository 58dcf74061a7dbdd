"""Folders of encoders that are broken in one way each: one clear error, before anything is asked, run or trained."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from small_encoders import bert, save

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"


def config(**changes: object) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        known = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps({**known, **changes}))

    return write


def text(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


def cut(folder: Path) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[: len(whole) // 2])


def index(part: str) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        (folder / WEIGHTS).rename(folder.parent / "outside.safetensors")
        torch.save(bert().state_dict(), folder / "x.bin")
        (folder / INDEX).write_text(json.dumps({"weight_map": {"embeddings": part}}))

    return write


def remote_code(folder: Path) -> None:
    """The configuration and the tokenizer ask for code in the folder, which leaves a file when it is run."""
    config(model_type="mine", auto_map={"AutoConfig": "mine.Mine", "AutoModel": "mine.Mine"})(folder)
    (folder / "mine.py").write_text(f"open({str(folder.parent / 'ran')!r}, 'w')\nclass Mine: ...\n")


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no configuration": (lambda folder: (folder / CONFIG).unlink(), r"lacks config\.json"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), r"lacks model\.safetensors"),
    "configuration is no JSON": (text(CONFIG, "{"), "is no configuration of a model"),
    "configuration is a list": (text(CONFIG, "[1]"), "is no configuration of a model"),
    "configuration without end": (text(CONFIG, '{"a":' * 9999 + "1" + "}" * 9999), "is no configuration of a model"),
    "configuration says nothing": (text(CONFIG, "{}"), "could not be loaded"),
    "unknown architecture": (config(model_type="nobody"), "could not be loaded"),
    "a billion layers": (config(num_hidden_layers=10**9), "num_hidden_layers = 1000000000; at most 1,000"),
    "layers are a word": (config(num_hidden_layers="two"), "num_hidden_layers = two"),
    "heads do not divide": (config(num_attention_heads=5), "could not be loaded"),
    "another width": (config(hidden_size=48), "could not be loaded|no whole"),
    "negative vocabulary": (config(vocab_size=-1), "could not be loaded|no whole"),
    "weights cut off": (cut, "could not be loaded"),
    "weights are empty": (text(WEIGHTS, ""), "could not be loaded"),
    "no weight matches": (lambda folder: save_file({"foo": torch.ones(1)}, folder / WEIGHTS), "no whole BertModel"),
    "index names a pickle": (index("x.bin"), r"names x\.bin: only \.safetensors files beside it"),
    "index leads outside": (index("../outside.safetensors"), "names ../outside.safetensors: only"),
    "code of its own": (remote_code, "could not be loaded"),
}

LOAD = """
import sys
from aura_study.training.model import build_encoder
for folder in sys.argv[1:]:
    try:
        build_encoder(folder, vocabulary=0, max_length=0, seed=0)
        print("accepted", folder)
    except (ValueError, OSError) as error:
        print(type(error).__name__, error, sep=": ")
"""


def test_there_are_eighteen_ways() -> None:
    assert len(BROKEN) == 18


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a process that loads each of them says, with a terminal's worth of `y` to whoever asks."""
    folders = tmp_path_factory.mktemp("broken")
    for number, (damage, _) in enumerate(BROKEN.values()):
        damage(save(folders / str(number) / "encoder"))
    command = [sys.executable, "-c", LOAD, *(str(folders / str(n) / "encoder") for n in range(len(BROKEN)))]
    done = subprocess.run(command, input="y\n" * 99, capture_output=True, text=True, timeout=300)
    assert done.stderr == ""
    assert not list(folders.glob("*/ran"))
    return dict(zip(BROKEN, done.stdout.splitlines(), strict=True))


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_folder_is_one_clear_error(kind: str, said: dict[str, str]) -> None:
    """It names the encoder's folder and what is wrong; nobody is asked anything, and no code of the folder is run."""
    assert re.search(BROKEN[kind][1], said[kind]), said[kind]
    assert "/encoder" in said[kind]
