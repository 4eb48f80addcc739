"""Settings of every network as it is trained without further options, and of whole runs by name."""

import math

from rich.table import Table

from keraslip.cli import usual
from keraslip.cli.setting_options import flag
from keraslip.cli.settings import Settings

#: By the name of the network.
RECIPES = {name: Settings(application=name, **given) for name, given in usual.USUAL.items()}


def table() -> Table:
    """The recipes that `keraslip train --recipe` knows."""
    shown = Table(
        title="keraslip train --recipe NAME --out FOLDER; each option may be given otherwise",
        caption="Time: CPU seconds of a training step (TensorFlow, benchmarks/recipe_time.py) times steps, "
        "shared by two cores; compiling, validation and the report come on top.",
    )
    shown.add_column("recipe", no_wrap=True)
    shown.add_column("time", no_wrap=True, justify="right")
    shown.add_column("options that differ from the defaults", overflow="fold")
    for name, given in usual.RECIPES.items():
        words = " ".join(f"{flag(key)} {_short(value)}" for key, value in given.items())
        shown.add_row(name, _spoken(seconds(name)), words, end_section=True)
    return shown


def seconds(name: str) -> float:
    """What the training of a recipe is expected to take on two cores."""
    settings = Settings.resolve({}, recipe=name)
    steps = settings.epochs * math.ceil(usual.TRAINING[settings.dataset] / settings.batch_size)
    return steps * usual.STEP_SECONDS[name] / 2


def _spoken(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
