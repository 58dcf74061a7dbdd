"""Data files and encoders: ``data fetch``, ``data status``."""

from typing import Annotated

import typer

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NAME]...", help="aura (AURA's files), an encoder such as minilm, or a hub id."),
]


def fetch(names: Names = None) -> None:
    """Download what is missing; AURA's files if nothing is named."""
    from aura_study.data import encoders, sources
    from aura_study.data.registry import BUILT, DATASETS
    from aura_study.paths import data_cache

    for name in dict.fromkeys(names or ["aura"]):
        if name == "aura":
            for path in sources.fetch_all():
                typer.echo(f"verified {path.relative_to(data_cache())}")
        elif name in (*DATASETS, BUILT):
            typer.echo(f"{name} is made here, there is nothing to fetch")
        else:
            typer.echo(f"{name} is whole in {encoders.fetch_encoder(name)}")


def status() -> None:
    """Say which data files and encoders are there and whole."""
    from aura_study.data import encoders, sources
    from aura_study.paths import data_cache

    typer.echo(f"data folder: {data_cache()}")
    for entry in sources.status():
        state = "verified" if entry.verified else "damaged" if entry.present else "missing"
        typer.echo(f"{state:>9}  {entry.bytes:>10,} bytes  {entry.name}")
    for line in encoders.status():
        typer.echo(line)
