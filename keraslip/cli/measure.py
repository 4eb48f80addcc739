"""Clean, attacked and certified accuracy of a model on test data."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import keras
import numpy as np
from rich.console import Console

from keraslip import __version__
from keraslip.attacks import pgd_l2
from keraslip.attacks.accuracy import correct
from keraslip.attacks.checks import model_range, range_around
from keraslip.certify import Certificates
from keraslip.certify.execution.executed import Executed
from keraslip.certify.execution.kept_network import network_of
from keraslip.certify.run.global_bound import global_margins
from keraslip.cli.summary import average_radius, radius_quantiles, summarize
from keraslip.cli.units import mismatch, unit
from keraslip.cli.warned import warn
from keraslip.datasets import Dataset
from keraslip.input_range import untold
from keraslip.models.explain import explain

#: Power iterations for each norm of a layer.
ITERATIONS = 30
PGD_STEPS = 100
#: Images whose certified radius is searched: it takes longer than certificates at one epsilon.
RADII = 400
BATCH = 256
#: Images that the norms of layers are averaged over.
LAYER_SAMPLES = 64
#: The curve's last epsilon, as a multiple of the compiled one, and its number of points.
REACH, POINTS = 2.0, 41


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured on the first test images."""

    report: dict[str, Any]  #: The content of report.json; accuracies are fractions.
    certificates: Certificates  #: At the compiled epsilon, `n` of them.
    radii: Certificates  #: The first of them, with their certified radius.
    predictions: np.ndarray  #: Predicted classes, `(n,)`.


def measure(
    model: Any,
    data: Dataset,
    seed: int,
    attack_samples: int | None = None,
    certify_samples: int | None = None,
    console: Console | None = None,
) -> Measured:
    """Measures a model at its compiled epsilon on the first test images; a KeyboardInterrupt after Ctrl-C.

    All that are certified are attacked, and all are certified, where no number is given.
    """
    console = Console(quiet=True) if console is None else console
    verbose, epsilon = not console.quiet, model.epsilon_value
    predicted = Executed(model, BATCH).logits(data.x_test).argmax(axis=1)
    count = min(certify_samples or len(data.x_test), len(data.x_test))
    x, y = data.x_test[:count], data.y_test[:count]
    warn(console, mismatch(model, data, x))
    radii, certificates = _certified(model, x, y, verbose)
    (uniform,), lipschitz = global_margins(model, x, y, [epsilon], BATCH)
    attacked = min(count if attack_samples is None else attack_samples, count)
    # The cascade's own attack has found some already.
    alive = certificates.status[:attacked] != "attacked"
    if attacked:
        say_attack(console, int(alive.sum()), PGD_STEPS)
        alive = withstand(model, x[:attacked], y[:attacked], epsilon, alive, PGD_STEPS, seed)
    report = {
        "dataset": data.name,
        "model": model.name,
        "seed": seed,
        "unit": unit(x),
        **summarize(certificates, y),
        "epsilon": epsilon,
        "clean_accuracy": float(np.mean(predicted[:count] == y)),
        "clean_accuracy_all": float(np.mean(predicted == data.y_test)),
        "samples_all": len(predicted),
        "pgd_accuracy": float(np.mean(alive)) if attacked else None,
        "pgd_samples": attacked,
        "pgd_steps": PGD_STEPS,
        "certified_accuracy_global": float(np.mean(uniform > 0.0)),
        "lipschitz_global": float(lipschitz.mean()),
        "power_iterations": ITERATIONS,
        "radius": radius_quantiles(radii),
        "average_radius": average_radius(radii),
        "radius_samples": len(radii),
        "curve": _curve(radii, y, epsilon),
        "layers": _layer_norms(model, x[:LAYER_SAMPLES]),
        "backend": keras.backend.backend(),
        "versions": {"keraslip": __version__, "keras": keras.__version__},
    }
    return Measured(report, certificates, radii, predicted[:count])


def say_attack(console: Console, images: int, steps: int, restarts: int = 1) -> None:
    """Says what is attacked; on a terminal Keras' bar follows."""
    runs = f", {restarts} runs" if restarts > 1 else ""
    console.print(f"attack: PGD, {steps} steps{runs}, {images} samples", highlight=False)


def curve_epsilons(epsilon: float) -> np.ndarray:
    """Where accuracy is shown against epsilon, in rising order."""
    return np.linspace(0.0, REACH * (epsilon or 1.0), POINTS)


def _curve(radii: Certificates, y: np.ndarray, epsilon: float) -> dict[str, Any]:
    """Certified accuracy against epsilon, from certified radii."""
    epsilons = curve_epsilons(epsilon).tolist()
    certified = radii.curve(y[: len(radii)], epsilons).tolist()
    return {"epsilon": epsilons, "certified_accuracy": certified, "samples": len(radii)}


def _layer_norms(model: Any, x: np.ndarray) -> list[dict[str, Any]]:
    """Estimates for every layer that closes a bound, and its proved global norms, one for each branch."""
    proved: dict[str, list[float]] = {}
    for name, operator in network_of(model)[0].operators():
        proved.setdefault(name, []).append(float(operator.norm))
    rows = explain(model, x, model.epsilon_value, ITERATIONS)
    return [{**asdict(row), "proved_norms": proved.get(row.layer, [])} for row in rows]


def withstand(
    model: Any,
    x: np.ndarray,
    y: np.ndarray,
    epsilon: float,
    alive: np.ndarray,
    steps: int,
    seed: int,
    verbose: Any = "auto",
) -> np.ndarray:
    """Which samples are correct and stay so under PGD; those that are not `alive` are known to be lost."""
    # A radius of 0 is a sample that the attack leaves alone: no new shape has to be compiled.
    radii = np.where(alive, epsilon, 0.0)
    valid = range_around(x, model_range(model))
    options: Any = {"steps": steps, "seed": seed, "batch_size": BATCH, "verbose": verbose}
    points = pgd_l2(model, x, y, radii, input_range=valid, **options)
    right, _ = correct(model, points, y, BATCH)
    return alive & right


def _certified(
    model: Any, x: np.ndarray, y: np.ndarray, verbose: bool
) -> tuple[Certificates, Certificates]:
    """Certificates of the first images with their radii, and of all images."""
    radii = _whole(model, x[:RADII], y[:RADII], verbose, radius=True)
    if len(x) <= RADII:
        return radii, radii
    rest = _whole(model, x[RADII:], y[RADII:], verbose)
    return radii, Certificates.join([replace(radii, radius=None), rest])


def _whole(model: Any, x: np.ndarray, y: np.ndarray, verbose: bool, **options: Any) -> Certificates:
    with untold():  # `measure` has told it
        found: Certificates = model.certify(x, y, verbose=verbose, batch_size=BATCH, **options)
    if len(found) < len(x) or not found.complete:
        raise KeyboardInterrupt  # certify itself returns what is done; a report needs all
    return found
