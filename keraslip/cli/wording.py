"""Commands that messages tell the user to type."""

import shlex
from pathlib import Path

from keraslip.console_backend import named


def command(*words: str | Path, data_dir: Path | None = None) -> str:
    """A `keraslip` command as a shell takes it, on the backend that this one was told to use.

    Args:
        *words: What follows `keraslip`.
        data_dir: The folder of tensorflow_datasets that the user gave: no run remembers it.
    """
    backend = named()
    chosen = [] if backend is None else ["--backend", backend]
    where = [] if data_dir is None else ["--data-dir", str(data_dir)]
    return shlex.join(["keraslip", *chosen, *map(str, words), *where])
