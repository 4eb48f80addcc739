"""A folder with one training run: arguments, last and best model, one line for each epoch."""

import json
import math
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import keras

from keraslip.callbacks.csv_table import read_rows
from keraslip.cli.output import check_folder
from keraslip.files import whole, write_table, write_text
from keraslip.models.averaged import averaged
from keraslip.typing import FilePath

CONFIG, LOG, STATE, DATA = "config.json", "log.csv", "state.json", "data.json"
LAST, BEST, MODEL = "last.keras", "best.keras", "model.keras"
CERTIFICATES = "certificates.npz"
#: Columns of log.csv that hold what an epoch took: on the clock, and of all threads of the process.
CLOCKS = ("seconds", "cpu_seconds")
#: What keraslip.callbacks.LipschitzMonitor writes.
MONITOR, EVENTS = "monitor.csv", "lipschitz/events.out.tfevents.*.keraslip"
PAGE = "report.html"
PICTURES = ("curve.png", "images.png", "training.png")
REPORT = ("report.json", "report.md", PAGE, CERTIFICATES, *PICTURES)


def as_json(content: Any) -> str:
    """JSON that every reader takes: a number that is not finite, such as an endless radius, is null."""
    finite = json.loads(json.dumps(content), parse_constant=lambda _: None)
    return json.dumps(finite, indent=2) + "\n"


def read_json(path: Path) -> Any:
    """Reads a JSON file, `None` if it is not there; a damaged one is a ValueError."""
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error


class RunFolder:
    """Reads and writes the folder; every file is complete or absent."""

    def __init__(self, path: FilePath) -> None:
        self.path = Path(path)

    @property
    def exists(self) -> bool:
        """Whether there is anything in the folder."""
        return self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir()))

    def check(self, overwrite: bool = False, resumable: bool = True) -> None:
        """Raises an OSError where no run can begin; nothing is changed."""
        check_folder(self.path)
        if self.exists and not overwrite:
            go_on = "Continue the run in it with --resume, r" if resumable else "R"
            raise FileExistsError(
                f"The output folder {self.path} is not empty. {go_on}eplace it with --overwrite, or choose "
                "another folder with --out."
            )

    def create(self, overwrite: bool = False, resumable: bool = True) -> None:
        """Makes the folder, see `check`."""
        self.check(overwrite, resumable)
        self.path.mkdir(parents=True, exist_ok=True)
        for name in (CONFIG, LOG, STATE, DATA, LAST, BEST, MODEL, MONITOR):
            (self.path / name).unlink(missing_ok=True)
        self.drop_report()
        for events in self.path.glob(EVENTS):
            events.unlink()

    def drop_report(self) -> None:
        """Removes what was measured and certified of a model that the folder does not hold any more."""
        for name in REPORT:
            (self.path / name).unlink(missing_ok=True)

    def settings(self) -> dict[str, Any]:
        """The content of config.json; a FileNotFoundError if the folder holds no run."""
        found = self.read_table(CONFIG) if self.path.is_dir() else None
        if found is None:
            raise FileNotFoundError(
                f"{self.path} holds no run: a folder of keraslip train or demo, with {CONFIG}, is needed."
            )
        return found

    def read_table(self, name: str) -> dict[str, Any] | None:
        """A JSON file of settings or results, `None` if it is not there."""
        content = self.read_json(name)
        if content is not None and not isinstance(content, dict):
            raise ValueError(f"{self.path / name} is damaged: it holds no settings or results.")
        return content

    def write_json(self, name: str, content: Any) -> None:
        """Writes a JSON file in one go."""
        write_text(self.path / name, as_json(content))

    def read_json(self, name: str) -> Any:
        """Reads a JSON file, `None` if it is not there."""
        return read_json(self.path / name)

    def save_model(self, name: str, model: keras.Model) -> None:
        """Saves a model in one go."""
        with whole(self.path / name) as partial:
            model.save(partial)

    def history(self) -> list[dict[str, float]]:
        """The logs of the epochs that are done."""
        return read_rows(self.path / LOG)

    def seconds(self, clock: str = "seconds") -> float | None:
        """What the epochs that are done took, in all sessions; `None` where the log does not say."""
        total = sum(row.get(clock, math.nan) for row in self.history())
        return None if math.isnan(total) else total

    def trained(self) -> dict[str, Any]:
        """What a report says of the training: its length, its time, and that of the processor."""
        return {
            "epochs": self.settings().get("epochs"),
            "seconds_trained": self.seconds(),
            "cpu_seconds_trained": self.seconds("cpu_seconds"),
        }

    def write_history(self, rows: list[dict[str, float]]) -> None:
        """Writes the logs of all epochs as CSV."""
        write_table(self.path / LOG, rows, missing=math.nan)


def _clocks() -> dict[str, float]:
    return {"seconds": time.perf_counter(), "cpu_seconds": time.process_time()}


class Averaged(keras.callbacks.Callback):
    """Validates the averaged weights, where the optimizer averages them."""

    def __init__(self) -> None:
        super().__init__()
        self._inside = ExitStack()

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._inside.enter_context(averaged(self.model))

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        self._inside.close()


class EpochLog(keras.callbacks.Callback):
    """Writes one line for each epoch, with the seconds since the last one, and those of the processor."""

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self.folder = folder
        self.rows: list[dict[str, float]] = []
        self._since = _clocks()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._since = _clocks()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        values = {key: float(value) for key, value in (logs or {}).items()}
        since, self._since = self._since, _clocks()
        passed = {clock: self._since[clock] - since[clock] for clock in CLOCKS}
        self.rows.append({"epoch": epoch + 1, **values, **passed})
        self.folder.write_history(self.rows)


class Checkpoint(EpochLog):
    """Keeps the last and the best model, so that a killed run loses the current epoch only.

    Best is the highest certified accuracy on the VALIDATION data, at the compiled epsilon.
    """

    def __init__(self, folder: RunFolder, done: int = 0) -> None:
        super().__init__(folder)
        # An epoch whose model was not written is trained again: its line goes.
        self.rows = folder.history()[:done]
        self.best = -1.0
        self.best_epoch: int | None = None
        for row in self.rows:
            self._is_best(row)

    def _is_best(self, row: dict[str, float]) -> bool:
        certified = row.get("val_certified_accuracy", -1.0)
        # A tie goes to the later epoch: its norms are closer to converged.
        if better := certified >= self.best:
            self.best, self.best_epoch = certified, int(row["epoch"])
        return better

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_epoch_end(epoch, logs)
        if self._is_best(self.rows[-1]):
            # A report of an interrupted run is about the best model until now.
            self.folder.drop_report()
            with averaged(self.model):
                self.folder.save_model(BEST, self.model)
        self.folder.save_model(LAST, self.model)
        # Where a kill leaves this out, the steps that the model has taken say that the epoch is done.
        state = {"epochs_done": epoch + 1, "best": self.best, "best_epoch": self.best_epoch}
        self.folder.write_json(STATE, state)
