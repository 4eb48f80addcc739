"""What a report consists of: tables, pictures, a page, certificates and report.json."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from keraslip.certify.result.table import as_text, build_table
from keraslip.cli.measure import measure
from keraslip.cli.page import load_runs, page
from keraslip.cli.pictures import draw
from keraslip.cli.run_folder import CERTIFICATES, PAGE, PICTURES, RunFolder, as_json
from keraslip.cli.tables import accuracy_table, layer_table
from keraslip.cli.wording import command, stopped_with
from keraslip.datasets import Dataset
from keraslip.files import write_text


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

    Report.json gets what is in `more`; after Ctrl-C the process ends with status 130.
    """
    again = command("report", folder.path, data_dir=data_dir)
    with stopped_with(console, f"Stopped. The model is saved; make its report with: {again}"):
        found = measure(model, data, seed, attack_samples, certify_samples, console)
        draw(model, data, folder, found, seed, console)
    report = found.report | (more or {})
    tables = accuracy_table(report), build_table(found.certificates), layer_table(report)
    found.certificates.save(folder.path / CERTIFICATES)
    write_text(folder.path / "report.md", _markdown(as_text(*tables), folder.path))
    (run,) = load_runs([folder.path])
    settings = run.settings | {"backend": report["backend"]}
    shown = replace(run, report=json.loads(as_json(report)), settings=settings)
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
