"""What commands tell the user to type."""

import shlex
from pathlib import Path

from keraslip.console_backend import named


def command(*words: str | Path, data_dir: Path | None = None) -> str:
    """A `keraslip` command as a shell takes it, on the backend that this one was told to use."""
    backend = named()
    chosen = [] if backend is None else ["--backend", backend]
    where = [] if data_dir is None else ["--data-dir", str(data_dir)]
    return shlex.join(["keraslip", *chosen, *map(str, words), *where])
