"""Provenance of a run: parameters, seeds, versions, commit, device and digests, without paths of the machine."""

import json
import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from aura_study.outputs import write_json
from aura_study.paths import RunFolders, project_root

DISTRIBUTION = "aura-study"


def versions() -> dict[str, str]:
    """Installed versions of Python, of this project and of everything that it requires."""
    required = [
        re.split(r"[^\w.-]", line, maxsplit=1)[0]
        for line in metadata.requires(DISTRIBUTION) or ()
        if "extra ==" not in line
    ]
    found = {"python": platform.python_version(), DISTRIBUTION: metadata.version(DISTRIBUTION)}
    for name in sorted(required, key=str.lower):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def commit() -> dict[str, Any]:
    """Commit of the checkout, and whether tracked files outside ``results`` and ``figures`` differ from it."""
    try:
        root = project_root()
        hash_ = _git(root, "rev-parse", "HEAD")
        status = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!results", ":!figures")
    except (OSError, subprocess.SubprocessError):
        return {"hash": None, "dirty": None}
    return {"hash": hash_, "dirty": bool(status)}


def device() -> dict[str, Any]:
    """The accelerator that torch sees, and the number of CPUs."""
    import torch

    accelerator = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return {
        "accelerator": accelerator,
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "system": platform.system(),
    }


def seeds_of(parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters that set a seed or a number of seeds."""
    return {name: value for name, value in parameters.items() if "seed" in name}


def write_manifest(folders: RunFolders, content: dict[str, Any]) -> Path:
    """Save ``manifest.json``."""
    return write_json(folders.manifest, content)


def read_manifest(folders: RunFolders) -> dict[str, Any]:
    """``manifest.json``, or an empty mapping where there is none that can be read."""
    try:
        content = json.loads(folders.manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip()
