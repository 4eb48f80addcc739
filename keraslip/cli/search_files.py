"""keras-tuner's files, so that a search that was killed at any moment can go on."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from keraslip.cli.run_folder import read_json
from keraslip.files import write_text


@contextmanager
def whole_files() -> Iterator[None]:
    """Inside the `with` keras-tuner writes its state in one go; by itself it writes in place."""
    from keras_tuner.src import utils

    def save_json(path: Any, obj: Any) -> str:
        text = json.dumps(obj)
        write_text(Path(path), text)
        return text

    in_place, utils.save_json = utils.save_json, save_json
    try:
        yield
    finally:
        utils.save_json = in_place


def drop_unrecorded(trials: Path) -> None:
    """Removes trials that keras-tuner was about to begin: its oracle would count but never run them."""
    oracle = read_json(trials / "oracle.json") or {}
    for file in trials.glob("trial_*/trial.json"):
        if read_json(file)["trial_id"] not in oracle.get("start_order", []):
            shutil.rmtree(file.parent)
