"""`keraslip report RUN`, and the report at the end of `keraslip train` and `keraslip demo`."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from keraslip.certify.result.table import build_table
from keraslip.cli.compare import check_out
from keraslip.cli.data import load_data
from keraslip.cli.measure import measure
from keraslip.cli.output import check_folder
from keraslip.cli.page import load_runs, page
from keraslip.cli.pictures import PICTURES, draw
from keraslip.cli.run_folder import CERTIFICATES, CONFIG, PAGE, RunFolder, as_json, write_text
from keraslip.cli.saved import load_bounded
from keraslip.cli.tables import accuracy_table, as_text, layer_table
from keraslip.cli.wording import command
from keraslip.datasets import Dataset


def run_report(
    path: Path,
    data_dir: Path | None,
    seed: int | None,
    attack_samples: int,
    certify_samples: int,
    console: Console,
    out: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Measures the best model of a run and writes the report into its folder.

    Args:
        path: The run's folder.
        data_dir: Folder of tensorflow_datasets.
        seed: Seed of the attack; the run's if `None`.
        attack_samples: Test images to attack.
        certify_samples: Test images to certify; 0 for all.
        console: Where to print.
        out: Another place for the page.
        overwrite: Whether to replace what is there.

    Raises:
        FileExistsError: if `out` exists and `overwrite` is not set.
        FileNotFoundError: if the folder holds no run.
    """
    if out is not None:
        check_out(out, overwrite)
    folder = RunFolder(path)
    settings = folder.read_json(CONFIG) if path.is_dir() else None
    if settings is None:
        raise FileNotFoundError(
            f"{path} holds no run: a folder of keraslip train or demo, with {CONFIG}, is needed."
        )
    check_folder(path, "RUN")
    model = load_bounded(path)
    data = load_data(settings["dataset"], data_dir)
    seed = settings["seed"] if seed is None else seed
    before = folder.read_json("report.json") or {}
    known = {"epochs": settings.get("epochs"), "seconds_trained": folder.seconds()}
    kept = {k: before.get(k) if value is None else value for k, value in known.items()}
    samples = attack_samples, certify_samples
    write_report(model, data, folder, seed, console, *samples, kept, data_dir)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, page(load_runs([path])))


def write_report(
    model: Any,
    data: Dataset,
    folder: RunFolder,
    seed: int,
    console: Console,
    attack_samples: int | None = None,
    certify_samples: int | None = None,
    more: dict[str, Any] | None = None,
    data_dir: Path | None = None,
) -> None:
    """Measures a model, draws, prints the tables and writes all of it into a run's folder.

    Args:
        model: A compiled `LocalLipschitzModel`.
        data: The data set; only its test part is used.
        folder: The run's folder.
        seed: Seed of the attacks.
        console: Where to print.
        attack_samples: Test images to attack; all that are certified if `None`.
        certify_samples: Test images to certify; all if `None` or 0.
        more: Further entries of report.json.
        data_dir: Folder of tensorflow_datasets, if the user gave it.

    Raises:
        SystemExit: with status 130, after Ctrl-C.
    """
    try:
        found = measure(model, data, seed, attack_samples, certify_samples, console)
        draw(model, data, folder, found, seed, console)
    except KeyboardInterrupt:
        console.print(
            "\nStopped. The model is saved; make its report with: "
            + command("report", folder.path, data_dir=data_dir),
            soft_wrap=True,
        )
        raise SystemExit(130) from None
    report = found.report | (more or {})
    tables = accuracy_table(report), build_table(found.certificates), layer_table(report)
    found.certificates.save(folder.path / CERTIFICATES)
    write_text(folder.path / "report.md", _markdown(as_text(*tables), folder.path))
    (run,) = load_runs([folder.path])
    shown = replace(run, report=json.loads(as_json(report)))
    write_text(folder.path / PAGE, page([shown]))
    # Last of all: with it the report is whole.
    folder.write_json("report.json", report)
    for table in reversed(tables):
        console.print(table)
    console.print(
        f"report.json, report.md, {PAGE}, {CERTIFICATES} and pictures are in {folder.path}.",
        soft_wrap=True,
    )


def _markdown(tables: str, folder: Path) -> str:
    drawn = [name for name in PICTURES if (folder / name).exists()]
    pictures = "\n\n".join(f"![{Path(name).stem}]({name})" for name in drawn)
    return f"# Report\n\n```text\n{tables}\n```\n\n{pictures}\n"
