"""The command line: every command stands in a file of its own."""

from typing import Annotated

import typer

from keraslip.cli.attack import attack
from keraslip.cli.certify import certify
from keraslip.cli.check import check
from keraslip.cli.convert import convert
from keraslip.cli.demo import demo
from keraslip.cli.export import export
from keraslip.cli.report import report
from keraslip.cli.train import train
from keraslip.cli.tune import tune
from keraslip.version import __version__

app = typer.Typer(
    help="Image classifiers with proved L2 robustness, on Keras.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"keraslip {__version__}")
        raise typer.Exit()


@app.callback()
def backend(
    backend: Annotated[
        str | None,
        typer.Option(help="Keras backend: tensorflow, jax or torch.", show_default=False),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Image classifiers with proved L2 robustness, on Keras."""
    # keraslip.console_backend has read it from sys.argv already, before Keras was imported.


for command in (demo, train, tune, certify, attack, report, export, check, convert):
    app.command()(command)
