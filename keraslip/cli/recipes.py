"""Settings of every network as it is trained without further options, and of whole runs by name."""

from rich.table import Table

from keraslip.cli import usual
from keraslip.cli.settings import Settings, flag

#: By the name of the network.
RECIPES = {name: Settings(application=name, **given) for name, given in usual.USUAL.items()}


def table() -> Table:
    """The recipes that `keraslip train --recipe` knows."""
    shown = Table(
        title="keraslip train --recipe NAME --out FOLDER; each option may be given otherwise"
    )
    shown.add_column("recipe", no_wrap=True)
    shown.add_column("options that differ from the defaults", overflow="fold")
    for name, given in usual.RECIPES.items():
        words = " ".join(f"{flag(key)} {_short(value)}" for key, value in given.items())
        shown.add_row(name, words, end_section=True)
    return shown


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
