"""Makes the best model of a run one that ships: its weights in float16, and the card of exactly these.

    python -m tests.applications.publish RUN NAME --commit HASH [--about WORDS] [--attack-samples 1000]

All test images are certified again, as float16 rounds the weights.
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console

from keraslip import applications, datasets
from keraslip.applications._weights import arrays
from keraslip.cli.measure import measure
from keraslip.cli.run_folder import BEST, CONFIG, RunFolder, as_json
from tests.docs.results_page import CARDS, keep_log, record, write

#: Test images that the tests certify again.
FIRST = 40


def publish(run: Path, name: str, commit: str, about: str, attack_samples: int | None) -> None:
    """Writes keraslip/weights/NAME.npz and NAME.json, and docs/results/NAME.csv."""
    folder, file = RunFolder(run), CARDS / f"{name}.npz"
    np.savez_compressed(file, **arrays(keras.models.load_model(run / BEST)))
    card = {"settings": folder.settings()}
    write(card, CARDS / f"{name}.json")
    model = compiled(name)
    data = datasets.load(card["settings"]["dataset"])
    found = measure(model, data, card["settings"]["seed"], attack_samples, None, Console())
    measured = run / "published"
    measured.mkdir(exist_ok=True)
    (measured / "report.json").write_text(as_json(found.report | folder.trained()))
    (measured / CONFIG).write_text(json.dumps(card["settings"]))
    certified = found.certificates.certified & (found.predictions == data.y_test)
    parts: dict[str, Any] = {"samples": FIRST, "certified": int(certified[:FIRST].sum())}
    parts["images"] = digest(data.x_test[:FIRST])
    weights = {
        "dtype": "float16",
        "parameters": sum(layer.count_params() for layer in model.layers),
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
    write(
        record(measured, commit, about) | {"first": parts, "weights": weights},
        CARDS / f"{name}.json",
    )
    keep_log(run, name)


def digest(images: np.ndarray) -> str:
    """Of which images a card tells: data prepared in part, or in another format, begin with others."""
    return hashlib.sha256(np.rint(255 * images).astype("uint8").tobytes()).hexdigest()


def compiled(name: str) -> Any:
    """The network with the weights of that name, compiled as it was trained."""
    settings = applications.card(name)["settings"]
    model = applications.get(settings["application"])(weights=name)
    model.compile(epsilon=settings["epsilon"], loss=settings["loss"], bound=settings["bound"])
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--commit", required=True, help="that the run was trained with")
    parser.add_argument("--about", default="", help="a sentence for the results page")
    parser.add_argument("--attack-samples", type=int, help="default: all")
    args = parser.parse_args()
    publish(args.run, args.name, args.commit, args.about, args.attack_samples)


if __name__ == "__main__":
    main()
