"""What commands tell the user to type, and say when they are stopped."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from keraslip.console_backend import named


def command(*words: str | Path, data_dir: Path | None = None) -> str:
    """A `keraslip` command as a shell takes it, on the backend that this one was told to use."""
    backend = named()
    chosen = [] if backend is None else ["--backend", backend]
    where = [] if data_dir is None else ["--data-dir", str(data_dir)]
    return shlex.join(["keraslip", *chosen, *map(str, words), *where])


@contextmanager
def stopped_with(console: Console, words: str) -> Iterator[None]:
    """Ctrl-C inside the block ends the command with these words and status 130."""
    try:
        yield
    except KeyboardInterrupt:
        console.print(f"\n{words}", soft_wrap=True)
        raise SystemExit(130) from None
