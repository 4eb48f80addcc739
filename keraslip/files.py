"""Files that are whole or absent at every moment, however a run is stopped; and Python files that are run."""

import csv
import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A place to write to that takes the name of the file when the block has ended well; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # With the same ending: some writers choose their format by it.
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file."""
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_table(path: Path, rows: Sequence[Mapping[str, Any]], missing: Any = "") -> None:
    """Writes rows as CSV under a header with the names of all of them; `missing` stands for no value."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with whole(path) as partial, partial.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, names, restval=missing, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, as text; none if it is not there."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def run_file(name: str, path: Path) -> None:
    """Runs a Python file as the module of that name; a file that fails leaves none."""
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file.")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
