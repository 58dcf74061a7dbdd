"""AURA's public data files: ``data fetch``, ``data status``."""

import typer


def fetch() -> None:
    """Download what is missing; every file is verified by its digest."""
    from aura_study.data import sources
    from aura_study.paths import data_cache

    for path in sources.fetch_all():
        typer.echo(f"verified {path.relative_to(data_cache())}")


def status() -> None:
    """Say which data files are there and whole."""
    from aura_study.data import sources
    from aura_study.paths import data_cache

    typer.echo(f"data folder: {data_cache()}")
    for entry in sources.status():
        state = "verified" if entry.verified else "damaged" if entry.present else "missing"
        typer.echo(f"{state:>9}  {entry.bytes:>10,} bytes  {entry.name}")
