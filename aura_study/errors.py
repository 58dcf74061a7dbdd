"""The one kind of error that a user of the study is meant to read."""

import difflib
from collections.abc import Iterable


class StudyError(Exception):
    """Something the user can act on; its text is complete, so nobody is shown a traceback with it."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows of it."""
        return [f"{type(self).__name__}: {self}"]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown ``name``: the nearest valid names, then all of them."""
    valid = list(known)
    near = difflib.get_close_matches(name, valid, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return f"{hint} (valid: {', '.join(valid) if valid else 'none'})"
