"""Notebooks that measure nothing themselves but gather what the others of the run found."""

from collections.abc import Mapping

from aura_study.runs.fingerprint import digest_json
from aura_study.runs.parameters import Parameters

READ = ("evidence/", "tables/")


class SummaryParameters(Parameters):
    """Base of the parameters of a notebook that reads the others' claims and tables: it runs after them all."""


def is_summary(parameters: Parameters | type[Parameters]) -> bool:
    """Whether these are the parameters of a notebook that gathers what others found."""
    return issubclass(parameters if isinstance(parameters, type) else type(parameters), SummaryParameters)


def findings_digest(outputs: Mapping[str, Mapping[str, str]]) -> str:
    """Digest of what a summary reads, from the digests of every other notebook's outputs."""
    return digest_json(
        {
            name: {key: value for key, value in written.items() if key.startswith(READ)}
            for name, written in sorted(outputs.items())
        }
    )
