"""Numbers and times as people read them."""

NONE = "–"


def number(value: float | None) -> str:
    """A measured number, with four significant digits; a dash for none."""
    return NONE if value is None else f"{value:.4g}"


def duration(seconds: float | None) -> str:
    """Seconds: ``4.2 s``, ``48 s``, ``3 min 05 s``, ``1 h 12 min``."""
    if seconds is None:
        return "?"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
