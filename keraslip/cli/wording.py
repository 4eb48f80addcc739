"""Commands that messages tell the user to type."""

import shlex
from pathlib import Path


def command(*words: str | Path, data_dir: Path | None = None) -> str:
    """A `keraslip` command as a shell takes it.

    Args:
        *words: What follows `keraslip`.
        data_dir: The folder of tensorflow_datasets that the user gave: no run remembers it.
    """
    where = [] if data_dir is None else ["--data-dir", str(data_dir)]
    return shlex.join(["keraslip", *map(str, words), *where])
