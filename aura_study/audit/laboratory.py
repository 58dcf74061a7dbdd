"""Where code that is not ours is run: it leaves no trace outside, and whatever it raises comes out in one line."""

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch


class CannotAudit(Exception):
    """A target that the audit could not measure, with the reason and what the user can do.

    Attributes:
        reason: what was tried and what came of it.
        adapt: how to make the target auditable.
    """

    def __init__(self, reason: str, adapt: str) -> None:
        super().__init__(f"{reason}\n{adapt}")
        self.reason = reason
        self.adapt = adapt


class AuditedCodeError(Exception):
    """The code under audit raised; the message is its error in one line."""


@contextmanager
def own_randomness() -> Iterator[None]:
    """Put the random states back at the end."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


@contextmanager
def laboratory() -> Iterator[None]:
    """Own random state, gradients on, warnings of the audited code off."""
    with (
        own_randomness(),
        torch.inference_mode(False),
        torch.enable_grad(),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


@contextmanager
def audited_code() -> Iterator[None]:
    """Around every use of the user's code: whatever that raises, even ``SystemExit``, is a finding about it.

    Raises:
        AuditedCodeError: for anything that was raised, but for `CannotAudit`, which is ours and says more.
    """
    try:
        yield
    except CannotAudit:
        raise
    except (Exception, SystemExit) as error:
        text = " ".join(str(error).split())
        name = type(error).__name__
        raise AuditedCodeError(f"{name}: {text[:200]}" if text else name) from error


@contextmanager
def refusing(adapt: str) -> Iterator[None]:
    """Bad settings, or code under audit that fails where no error was foreseen, are a refusal.

    Raises:
        CannotAudit: for anything that was raised, with the advice ``adapt``.
    """
    try:
        with audited_code():
            yield
    except AuditedCodeError as error:
        raise CannotAudit(str(error), adapt) from error


_listeners: list[Callable[[str], None]] = []


def say(text: str) -> None:
    """Tell whoever listens what is being done, before it is done."""
    for listener in _listeners:
        listener(text)


@contextmanager
def listening(listener: Callable[[str], None]) -> Iterator[None]:
    """Hand all that is said to ``listener`` meanwhile."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
