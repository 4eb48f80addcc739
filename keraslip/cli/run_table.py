"""Runs as a table for a paper or a spreadsheet: CSV with every figure, LaTeX with accuracies."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from keraslip.cli.page.run import Run
from keraslip.cli.tables import percent

#: Figures of report.json that have a column each; the settings come before them.
FIGURES = (
    *("samples", "clean_accuracy", "pgd_accuracy", "pgd_samples", "certified_accuracy"),
    *("certified_accuracy_global", "guarantee", "lipschitz", "average_radius", "unit"),
    *("seconds_trained", "cpu_seconds_trained"),
)
#: What LaTeX does not take as it is.
_ESCAPED = {
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def as_csv(runs: Sequence[Run]) -> str:
    """One line for each run: its settings, and its figures as report.json has them."""
    settings = list(dict.fromkeys(key for run in runs for key in run.settings))
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["run", *settings, *FIGURES, "radius_median"])
    for run in runs:
        report = run.report or {}
        median = (report.get("radius") or {}).get("0.5")
        values = [*map(run.settings.get, settings), *map(report.get, FIGURES), median]
        lines.writerow([run.name, *("" if value is None else value for value in values)])
    return text.getvalue()


def as_latex(runs: Sequence[Run]) -> str:
    """A tabular of booktabs: accuracies in per cent; what they rest on stands above it, as comments."""
    rests = "".join(f"% {_latex(run.name)}: {_latex(_rests_on(run))}\n" for run in runs)
    head = r"run & $\varepsilon$ & $n$ & clean, \% & PGD, \% & certified, \% \\"
    rows = "".join(f"{' & '.join(_cells(run))} \\\\\n" for run in runs)
    return (
        f"{rests}\\begin{{tabular}}{{lrrrrr}}\n\\toprule\n{head}\n\\midrule\n{rows}\\bottomrule\n"
        "\\end{tabular}\n"
    )


#: How each ending of a file of results is written.
TABLES = {".csv": as_csv, ".tex": as_latex}


def _cells(run: Run) -> list[str]:
    if run.report is None:
        return [_latex(run.name), *["--"] * 5]
    names = ("clean_accuracy", "pgd_accuracy", "certified_accuracy")
    shares = [run.report.get(name) for name in names]
    accuracies = ["--" if share is None else percent(share) for share in shares]
    return [
        _latex(run.name), f"{run.report['epsilon']:.4g}", str(run.report["samples"]), *accuracies
    ]  # fmt: skip


def _rests_on(run: Run) -> str:
    """What the figures of a run are about, in one line."""
    report = run.report
    if report is None:
        return "not measured"
    words = f"{report['model']}, {report['dataset']}, seed {report['seed']}, {report['guarantee']}"
    attacked = report.get("pgd_samples") if report.get("pgd_accuracy") is not None else None
    return words if attacked is None else f"{words}, PGD on {attacked} samples"


def _latex(text: Any) -> str:
    """Text on one line, with what LaTeX would read as a command taken as it is."""
    return "".join(_ESCAPED.get(character, character) for character in " ".join(str(text).split()))
