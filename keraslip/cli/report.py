"""`keraslip report`: one run measured, or several compared by what their reports hold."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from keraslip.cli.options import (
    AttackSamples,
    CertifySamples,
    Code,
    DataDir,
    DatasetName,
    SeedOfRun,
)
from keraslip.cli.setting_options import flag

#: What `--out` may end in.
ENDINGS = (".html", ".csv", ".tex")
#: Options that say how to measure.
MEASURING = ("dataset", "data_dir", "seed", "attack_samples", "certify_samples")


def report(
    context: typer.Context,
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option(
            help="A page (.html), or a table (.csv, .tex); default: RUN/report.html, or comparison.html for "
            "several."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file given with --out.")
    ] = False,
    dataset: DatasetName = None,
    data_dir: DataDir = None,
    code: Code = None,
    seed: SeedOfRun = None,
    attack_samples: AttackSamples = 200,
    certify_samples: CertifySamples = 1000,
) -> None:
    """Measure the best model of a run: tables, curve, images with their certified radii, JSON, a page.

    Several runs are compared in one page or table, by what their reports hold: nothing is measured then.
    """
    from keraslip.cli.output import check_file, check_new

    if len(runs) > 1:
        _refuse_measuring(context)
        out = out or Path("comparison.html")
    if out is not None:
        check_file(out, ENDINGS)
        check_new(out, overwrite, "another file")
    if len(runs) == 1:
        _measure(runs[0], dataset, data_dir, seed, attack_samples, certify_samples)
    if out is not None:
        _write_page(runs, out)


def _refuse_measuring(context: typer.Context) -> None:
    """Raises if options were given that say how to measure: with several runs nothing is measured."""
    sources = {name: context.get_parameter_source(name) for name in MEASURING}
    given = [
        flag(name)
        for name, source in sources.items()
        if source is not None and source.name == "COMMANDLINE"
    ]
    if given:
        raise ValueError(
            "Several runs are compared by the reports they have; measure each one first with "
            f"keraslip report RUN. Received: {len(context.params['runs'])} runs and {', '.join(given)}"
        )


def _measure(
    path: Path,
    dataset: str | None,
    data_dir: Path | None,
    seed: int | None,
    attack_samples: int,
    certify_samples: int,
) -> None:
    """Measures the best model of a run and writes the report into its folder."""
    from keraslip.cli.data import data_of_run
    from keraslip.cli.output import check_folder
    from keraslip.cli.report_files import write_report
    from keraslip.cli.run_folder import RunFolder
    from keraslip.cli.saved import load_bounded

    folder = RunFolder(path)
    settings = folder.settings()
    check_folder(path, "RUN")
    model = load_bounded(path)
    data = data_of_run(path, dataset, settings["dataset"], data_dir)
    seed = settings["seed"] if seed is None else seed
    before = folder.read_json("report.json") or {}
    trained = folder.trained().items()
    kept = {k: before.get(k) if value is None else value for k, value in trained}
    samples = attack_samples, certify_samples
    write_report(model, data, folder, seed, Console(), *samples, kept, data_dir)


def _write_page(paths: Sequence[Path], out: Path) -> None:
    """A page or table of runs by what their folders hold; no data are read and nothing is measured."""
    from keraslip.cli.page import load_runs, page
    from keraslip.cli.run_table import TABLES
    from keraslip.cli.wording import command
    from keraslip.files import write_text

    console, runs = Console(), load_runs(paths)
    write_text(out, TABLES.get(out.suffix.lower(), page)(runs))
    if len(runs) == 1:
        return
    for run in runs:
        if run.report is None:
            measure = command("report", run.path)
            console.print(f"Not measured yet: {measure}", soft_wrap=True, markup=False)
    console.print(f"{out} compares {len(runs)} runs.", soft_wrap=True, markup=False)
