"""The tables of the page."""

from collections.abc import Sequence
from typing import Any

from keraslip.cli.page.markup import Markup, element, join
from keraslip.cli.page.numbers import MISSING, duration, fixed, fraction, number, setting
from keraslip.cli.page.run import Run
from keraslip.cli.page.svg import swatch

#: What has to be equal for accuracies to be compared.
COMPARED = {
    "dataset": "data sets",
    "epsilon": "epsilon",
    "guarantee": "guarantees",
    "samples": "numbers of images",
}
ACCURACIES = ("clean_accuracy", "pgd_accuracy", "certified_accuracy")


def measured(runs: Sequence[Run]) -> list[Run]:
    """The runs with a report."""
    return [run for run in runs if run.report is not None]


def differences(runs: Sequence[Run]) -> list[str]:
    """In what the reports differ so that their accuracies are not comparable."""
    reports = [run.report or {} for run in measured(runs)]
    return [
        name for key, name in COMPARED.items() if len({str(r.get(key)) for r in reports}) > 1
    ]  # fmt: skip


def results(runs: Sequence[Run]) -> Markup:
    """Accuracies of every run, and what they rest on."""
    right = ("Clean, %", "PGD, %", "Certified, %", "ε")
    heads = [*((name, "right") for name in right), ("Guarantee", None)]
    heads += [(name, "right") for name in ("Images", "Lipschitz", "Median radius", "Seed")]
    best = _best(runs)
    return table(["Run", *heads], [_result(run, best) for run in runs])


def _result(run: Run, best: dict[str, float]) -> list[Any]:
    report = run.report
    name = _name(run, "results")
    if report is None:
        epsilon, seed = run.settings.get("epsilon"), run.settings.get("seed", MISSING)
        unknown = [MISSING] * 3
        return [name, *unknown, number(epsilon), "not measured", *unknown, seed]
    clean, pgd, certified = (
        element("strong" if best.get(key) == report.get(key) else "span", fraction(report.get(key)))
        for key in ACCURACIES
    )
    attacked = report.get("pgd_samples")
    if report.get("pgd_accuracy") is not None and attacked != report["samples"]:
        pgd = join(pgd, element("small", f" of {attacked}"))
    return [
        name,
        clean,
        pgd,
        certified,
        number(report["epsilon"]),
        element("span", report["guarantee"], class_="wrap"),
        report["samples"],
        fixed(report.get("lipschitz"), 2),
        fixed((report.get("radius") or {}).get("0.5")),
        report["seed"],
    ]


def _name(run: Run, key: str) -> Markup:
    return element("span", swatch(run.number, f"{key}-{run.number}"), run.name, class_="run")


def _best(runs: Sequence[Run]) -> dict[str, float]:
    """The highest accuracies, if there are several to compare."""
    reports = [run.report or {} for run in measured(runs)]
    if len(reports) < 2 or differences(runs):
        return {}
    found = {key: [r[key] for r in reports if r.get(key) is not None] for key in ACCURACIES}
    return {key: max(values) for key, values in found.items() if len(set(values)) > 1}


def settings(runs: Sequence[Run]) -> tuple[Markup | None, Markup]:
    """Settings that differ between runs, as a table, and those they share, as a list."""
    names = list(dict.fromkeys(key for run in runs for key in run.settings))
    differ = [k for k in names if len({repr(run.settings.get(k)) for run in runs}) > 1]
    shared = [
        element("div", element("dt", key), element("dd", setting(runs[0].settings[key])))
        for key in names
        if key not in differ
    ]
    rows = [
        [_name(run, "settings"), *(setting(run.settings.get(key, MISSING)) for key in differ)]
        for run in runs
    ]
    heads = ["Run", *((key, None) for key in differ)]
    if any("seconds_trained" in (run.report or {}) for run in runs):
        heads.append(("training time", "right"))
        for run, row in zip(runs, rows, strict=True):
            row.append(duration((run.report or {}).get("seconds_trained")))
    return (table(heads, rows) if len(heads) > 1 else None), element("dl", *shared)


def layers(run: Run) -> Markup:
    """Norms of a run's layers."""
    right = ("proved", "global", "local", "global / local", "varying, %", "radius out")
    rows = []
    for place, row in enumerate((run.report or {})["layers"], 1):
        local, uniform = row["local_norm"], row["global_norm"]
        proved = [fixed(norm) for norm in row["proved_norms"]]
        ratio = fixed(uniform / local, 2) if local and uniform is not None else MISSING
        numbers = fixed(uniform), fixed(local), ratio, fraction(row["varying"])
        cells = join(*proved, by=" + "), *numbers, fixed(row["radius_out"])
        rows.append([f"{place} {row['layer']}", *cells])
    return table(["Layer", *((name, "right") for name in right)], rows)


def table(heads: Sequence[Any], rows: Sequence[Sequence[Any]]) -> Markup:
    """A table that scrolls sideways where it is too wide; the first column names the row."""
    classes = [None, *(align for _, align in heads[1:])]
    texts = [heads[0], *(text for text, _ in heads[1:])]
    head = element(
        "tr",
        *(element("th", t, scope="col", class_=c) for t, c in zip(texts, classes, strict=True)),
    )
    body = [
        element(
            "tr",
            element("th", row[0], scope="row"),
            *(element("td", cell, class_=c) for cell, c in zip(row[1:], classes[1:], strict=True)),
        )
        for row in rows
    ]
    inner = element("table", element("thead", head), element("tbody", *body))
    return element("div", inner, class_="scroll", tabindex=0)
