"""What `keraslip certify` and `keraslip attack` work on: a saved model and images that fit it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from keraslip import datasets
from keraslip.checks import check_epsilon
from keraslip.cli.data import data_of_run
from keraslip.cli.run_folder import CONFIG, RunFolder
from keraslip.cli.saved import bounded as as_bounded
from keraslip.cli.saved import load_any, load_logits, model_file
from keraslip.cli.units import mismatch, unit
from keraslip.cli.warned import warn

SPLITS = {"train": "train", "validation": "val", "test": "test"}


@dataclass(frozen=True, eq=False)
class Subject:
    """A model, samples of a split of a data set, their classes, and a radius in raw input units.

    The range of valid inputs is the compiled one, else that of the data; only images can be drawn.
    """

    model: Any
    file: Path
    dataset: str
    split: str
    x: np.ndarray
    y: np.ndarray
    epsilon: float
    class_names: tuple[str, ...]
    input_range: tuple[float, float] | None
    are_images: bool
    #: What there is to say of the unit of the radius, see `keraslip.cli.units.mismatch`.
    mismatch: str | None = None
    #: Whether the file holds another model, which the certified one was converted from.
    converted: bool = False

    @classmethod
    def load(
        cls,
        model: Path,
        dataset: str | None,
        split: str,
        epsilon: float | None,
        limit: int | None,
        data_dir: Path | None,
        bounded: bool = True,
    ) -> "Subject":
        """Loads model and images; what is wrong with a name or number is said before that."""
        if split not in SPLITS:
            raise ValueError(f"--split must be one of {', '.join(SPLITS)}. Received: {split!r}")
        if epsilon is not None:
            epsilon = check_epsilon(epsilon)
        file = model_file(model)
        saved = load_any(file) if bounded else load_logits(file)
        loaded = as_bounded(saved, file) if bounded else saved
        of_run = "" if dataset else _dataset_of_run(file)
        if epsilon is None and not (loaded.compiled and hasattr(loaded, "epsilon_value")):
            raise ValueError(f"{file} was saved without an epsilon; pass one with --epsilon.")
        data = data_of_run(Path(file).parent, dataset, of_run, data_dir)
        dataset = data.name
        _check_fit(loaded, file, data)
        part = SPLITS[split]
        x, y = (getattr(data, f"{name}_{part}")[:limit] for name in "xy")
        if not len(x):
            raise ValueError(f"The {split} part of {dataset} holds no image.")
        radius = loaded.epsilon_value if epsilon is None else epsilon
        compiled = loaded.compiled and hasattr(loaded, "input_range")
        known: dict[str, Any] = {
            "class_names": data.class_names,
            "input_range": loaded.input_range if compiled else data.input_range,
            "are_images": data.are_images,
            "mismatch": mismatch(loaded, data, x),
            "converted": loaded is not saved,
        }
        return cls(loaded, file, dataset, split, x, y, radius, **known)

    def describe(self) -> dict[str, Any]:
        """What a JSON file says of it."""
        return {
            "model": str(self.file),
            "converted": self.converted,
            "dataset": self.dataset,
            "split": self.split,
            "epsilon": self.epsilon,
            "samples": len(self.x),
            "unit": unit(self.x),
        }

    def __str__(self) -> str:
        return (
            f"{self.file}: the first {len(self.x)} {self.split} samples of {self.dataset}, "
            f"epsilon {self.epsilon:.4g} ({unit(self.x)})"
        )

    def show(self, console: Console) -> None:
        """Says what is worked on, and warns where the unit of the radius is not what it seems."""
        console.print(str(self), soft_wrap=True)
        warn(console, self.mismatch)


def _dataset_of_run(file: Path) -> str:
    settings = RunFolder(file.parent).read_json(CONFIG)
    if settings is None:
        raise ValueError(
            f"{file} lies in no run folder that says what it was trained on; pass --dataset."
        )
    return str(settings["dataset"])


def _check_fit(model: Any, file: Path, data: datasets.Dataset) -> None:
    shape, classes = tuple(model.inputs[0].shape[1:]), model.outputs[0].shape[-1]
    if (shape, classes) != (data.input_shape, data.num_classes):
        raise ValueError(
            f"{file} takes inputs of shape {shape} into {classes} classes; {data.name} has images "
            f"of shape {data.input_shape} and {data.num_classes} classes."
        )
