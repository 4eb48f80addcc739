"""What the page knows of a run: the files in its folder, nothing measured anew."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keraslip.cli.run_folder import RunFolder


@dataclass(frozen=True)
class Run:
    """A run."""

    number: int  #: Its place in the page, from 0; decides its colour.
    name: str  #: What the page calls it.
    path: Path  #: Its folder.
    settings: dict[str, Any]  #: The content of config.json, and the backend.
    report: dict[str, Any] | None  #: The content of report.json; `None` where it was not measured.
    log: list[dict[str, float]]  #: The rows of log.csv.

    def column(self, *names: str) -> tuple[list[float], list[float]]:
        """Epochs and values of the first of these columns that the log has."""
        for name in names:
            if self.log and name in self.log[0]:
                return [row["epoch"] for row in self.log], [row[name] for row in self.log]
        return [], []


def load_runs(paths: Sequence[Path]) -> list[Run]:
    """Reads the folders of runs."""
    resolved = [path.resolve() for path in paths]
    if len(set(resolved)) < len(resolved):
        raise ValueError(f"Give every run once. Received: {', '.join(map(str, paths))}")
    # The last part of a path, if it tells the runs apart.
    short = [path.name for path in resolved]
    names = short if len(set(short)) == len(short) else [str(path) for path in paths]
    return [_load(number, names[number], path) for number, path in enumerate(paths)]


def _load(number: int, name: str, path: Path) -> Run:
    folder = RunFolder(path)
    settings = folder.settings()
    try:
        log = folder.history()
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path / 'log.csv'} is damaged: {error}") from error
    report = folder.read_table("report.json")
    if report is not None and "backend" in report:
        settings["backend"] = report["backend"]
    return Run(number, _printable(name), path, settings, report, log)


def _printable(name: str) -> str:
    """A name that can be written as UTF-8, whatever bytes the file system holds."""
    return name.encode("utf-8", "replace").decode("utf-8")
