"""Ctrl-C: words and status 130, wherever it comes."""

import atexit
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

_heard = threading.Event()


class Stopped(SystemExit):
    """The end of a command that was stopped, and that has said so."""


@contextmanager
def listening() -> Iterator[None]:
    """Remembers that Ctrl-C came: in the middle of a trace or compilation the exception may be lost."""
    _heard.clear()
    before: Any = signal.getsignal(signal.SIGINT)
    # A process in the background may have been told to ignore it; other threads cannot ask for it.
    ours = before is signal.default_int_handler and _is_main_thread()
    if ours:
        signal.signal(signal.SIGINT, _hear)
    try:
        yield
    except KeyboardInterrupt:
        _say_stopped()
        raise Stopped(130) from None
    except SystemExit as end:
        # Typer's answer to Ctrl-C, which has no words.
        if end.code == 130 and not isinstance(end, Stopped):
            _say_stopped()
        raise
    finally:
        if ours:
            signal.signal(signal.SIGINT, before)
            # What is typed twice must not cut the end short.
            atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)


@contextmanager
def stopped_with(console: Console, words: str) -> Iterator[None]:
    """Ctrl-C inside the block ends the command with these words and status 130."""
    try:
        yield
    except BaseException as error:
        # What the backend makes of Ctrl-C may be an error of its own; a broken certificate never is.
        lost = _heard.is_set() and isinstance(error, Exception) and not _is_violation(error)
        if not lost and not isinstance(error, KeyboardInterrupt):
            raise
        console.print(f"\n{words}", soft_wrap=True)
        raise Stopped(130) from None


def _is_violation(error: BaseException) -> bool:
    from keraslip.certify import CertificateViolation

    return isinstance(error, CertificateViolation)


def stop_if_heard() -> None:
    """Raises the `KeyboardInterrupt` that was lost."""
    if _heard.is_set():
        raise KeyboardInterrupt


def _hear(number: int, frame: Any) -> None:
    _heard.set()
    raise KeyboardInterrupt


def _say_stopped() -> None:
    print("\nStopped. What was finished by then is kept.", file=sys.stderr)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
