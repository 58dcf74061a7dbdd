"""Where code that is not ours is run: it leaves no trace outside, and whatever it raises comes out in one line."""

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

T = TypeVar("T")


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


LEAVE = "Audit a function that makes and calls the weighting alone, without the program around it."


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
    """Own random state, gradients on, warnings of the audited code off; code under audit ends no program.

    Raises:
        CannotAudit: for ``SystemExit`` and its like; all other exceptions come through.
    """
    with (
        own_randomness(),
        torch.inference_mode(False),
        torch.enable_grad(),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        try:
            yield
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise CannotAudit(f"Its code raised {in_one_line(error)}", LEAVE) from error


@contextmanager
def audited_code() -> Iterator[None]:
    """Around every use of the user's code: whatever that raises, even ``SystemExit``, is a finding about it.

    Raises:
        AuditedCodeError: for anything that was raised, but for `CannotAudit`, which is ours and says more, and the
            user's own interruption.
    """
    try:
        yield
        say()
    except (CannotAudit, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise AuditedCodeError(in_one_line(error)) from error


def in_one_line(error: BaseException) -> str:
    """Its type and message."""
    try:
        text = " ".join(str(error).split())[:200]
    except Exception:  # a __str__ that is not ours
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


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


def say(text: str = "") -> None:
    """Tell whoever listens what is being done, before it is done; that it is still being done, without a text."""
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


class OnCpu(TorchFunctionMode):
    """Code that asks for a CUDA device gets the CPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.Tensor.cuda, torch.nn.Module.cuda):
            return args[0]
        named = {name: _cpu(value) for name, value in (kwargs or {}).items()}
        return func(*map(_cpu, args), **named)


def _cpu(value: Any) -> Any:
    if isinstance(value, torch.device):
        return torch.device("cpu") if value.type == "cuda" else value
    return "cpu" if isinstance(value, str) and value.startswith("cuda") else value


def without_accelerator(work: Callable[[], T]) -> T:
    """``work()``; once more with the CPU in CUDA's place where it failed for want of CUDA.

    Raises:
        CannotAudit: as ``work`` raises it.
    """
    try:
        return work()
    except CannotAudit as failure:
        if torch.cuda.is_available() or not any(word in failure.reason for word in ("CUDA", "cuda", "NVIDIA")):
            raise
    with OnCpu():
        return work()
