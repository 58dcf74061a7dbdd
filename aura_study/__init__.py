"""The phantom gradient in Kendall uncertainty-weighted multi-task learning: losses, theory, measurements, audit."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas

__version__ = "0.1.0"


def reference() -> "pandas.DataFrame":
    """The ledger of the reference run, one row per claim, to set your own numbers beside.

    Indexed by ``claim``; columns as in ``claims.json``: section, statement, prediction, predicted, measured, interval
    (low, high), ratio, unit, seeds (0: exact), logarithmic, kind, verdict, alone, p, p_holm, prediction_held, price,
    void, limit, limits, rule, notebook, figure; see `aura_study.claims.Row`.
    """
    import json

    import pandas

    from aura_study.paths import reference_run

    ledger = json.loads(reference_run().claims.read_text(encoding="utf-8"))
    return pandas.DataFrame(ledger["claims"]).set_index("claim")
