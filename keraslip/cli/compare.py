"""`keraslip report RUN RUN2 ...`: several runs in one page."""

from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console

from keraslip.cli.output import check_file
from keraslip.cli.page import load_runs, page
from keraslip.cli.run_folder import write_text
from keraslip.cli.wording import command

#: Options of `keraslip report` that say how to measure.
MEASURING = ("data_dir", "seed", "attack_samples", "certify_samples")


def refuse_measuring(context: typer.Context) -> None:
    """Raises if options were given that say how to measure: with several runs nothing is measured.

    Raises:
        ValueError: naming them.
    """
    sources = {name: context.get_parameter_source(name) for name in MEASURING}
    given = [
        f"--{name.replace('_', '-')}"
        for name, source in sources.items()
        if source is not None and source.name == "COMMANDLINE"
    ]
    if given:
        raise ValueError(
            "Several runs are compared by the reports they have; measure each one first with "
            f"keraslip report RUN. Received: {len(context.params['runs'])} runs and {', '.join(given)}"
        )


def check_out(out: Path, overwrite: bool) -> None:
    """Raises where a page must not be written.

    Raises:
        OSError: if there is something already and `overwrite` is not set, or nothing can be written.
        ValueError: if it is a folder.
    """
    check_file(out)
    if out.exists() and not overwrite:
        raise FileExistsError(
            f"{out} exists. Replace it with --overwrite, or choose another file with --out."
        )


def run_compare(paths: Sequence[Path], out: Path, overwrite: bool, console: Console) -> None:
    """Compares runs by what their folders hold; no data are read and nothing is measured.

    Args:
        paths: Folders of runs.
        out: The page.
        overwrite: Whether to replace it.
        console: Where to print.

    Raises:
        FileExistsError: if the page exists and `overwrite` is not set.
        FileNotFoundError: if a folder holds no run.
        ValueError: if a file in it is damaged, or a run is given twice.
    """
    check_out(out, overwrite)
    runs = load_runs(paths)
    text = page(runs)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, text)
    for run in runs:
        if run.report is None:
            measure = command("report", run.path)
            console.print(f"Not measured yet: {measure}", soft_wrap=True, markup=False)
    console.print(f"{out} compares {len(runs)} runs.", soft_wrap=True, markup=False)
