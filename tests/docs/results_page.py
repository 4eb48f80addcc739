"""The tables of runs in docs/results.md, from what the runs wrote themselves.

    python -m tests.docs.results_page [RUN NAME --commit HASH]

A run's config.json and report.json become docs/results/NAME.json first, its log of epochs NAME.csv. Models
that ship have their card in keraslip/weights/ instead: tests/applications/publish.py.
"""

import argparse
import csv
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGE, RECORDS, CARDS = (ROOT / p for p in ("docs/results.md", "docs/results", "keraslip/weights"))
START, END = "<!-- runs: python -m tests.docs.results_page -->", "<!-- end of the runs -->"
AGAINST, END_AGAINST = (
    "<!-- the runs against published results -->",
    "<!-- end of published results -->",
)
#: What others published of a run's data, and what is between the two, by the name of the run.
PUBLISHED = {
    "mnist": (
        "paper 55.8; GloRo 62.8 ([README](https://github.com/klasleino/gloro)); CRM 63.4 "
        "([2310.00116](https://arxiv.org/abs/2310.00116))",
        "Theirs are estimates, ours is proved, which costs [one to three points](expect.md#hours). Longer "
        "runs help (100 epochs proved 60.3, 200 proved 62.4); whole width and other seeds were not tried.",
    ),
    "cifar10": (
        "paper 60.7; GloRo 60.0 ([README](https://github.com/klasleino/gloro)); CLL 61.3 "
        "([2309.06166](https://arxiv.org/abs/2309.06166))",
        "The paper's run has 800 epochs and the whole width, this one 232 and half of it. Theirs are "
        "estimates, ours is proved. More epochs come first, then width.",
    ),
    "cifar10_liresnet": (
        "LiResNet 78.1 ([README](https://github.com/hukkai/liresnet))",
        "Theirs are far larger networks, trained on GPUs, on generated images too; this one has 0.25 "
        "million parameters and an hour of one core. Size and time would have to grow together.",
    ),
    "tiny_imagenet": (
        "paper 23.4, of 200 classes",
        "20 classes are an easier question than 200, so the figures do not compare. 15 epochs at a "
        "quarter of the width show that the whole path works; the paper's have 250 and all of it.",
    ),
}
#: What is taken of report.json.
KEPT = (
    "dataset", "epsilon", "seed", "epochs", "samples", "clean_accuracy", "certified_accuracy", "guarantee",
    "certified_accuracy_global", "pgd_accuracy", "pgd_samples", "pgd_steps", "status",
    "radius", "radius_samples", "seconds_trained", "cpu_seconds_trained", "backend", "versions",
)  # fmt: skip
HEAD = (
    "run", "data, epsilon", "network", "epochs, seed", "clean", "PGD (samples)", "certified (samples)",
    "guarantee", "training", "commit",
)  # fmt: skip


def record(run: Path, commit: str, about: str = "") -> dict[str, Any]:
    """What is kept of a finished run; a file that it has not written is an error."""
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    settings = json.loads((run / "config.json").read_text(encoding="utf-8"))
    kept = {name: report.get(name) for name in KEPT}
    return {"about": about, "commit": commit, "settings": settings, **kept}


def keep_log(run: Path, name: str) -> None:
    """What a run logged after every epoch, to five digits."""
    with (run / "log.csv").open(newline="", encoding="utf-8") as file:
        head, *epochs = csv.reader(file)
    with log(name).open("w", newline="", encoding="utf-8") as file:
        rows = [[f"{float(value):.5g}" for value in epoch] for epoch in epochs]
        csv.writer(file, lineterminator="\n").writerows([head, *rows])


def log(name: str) -> Path:
    """Where the log of a run is kept."""
    return RECORDS / f"{name}.csv"


def write(found: dict[str, Any], path: Path) -> None:
    """Writes a record."""
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def records() -> dict[str, dict[str, Any]]:
    """All of them by name."""
    paths = [*RECORDS.glob("*.json"), *CARDS.glob("*.json")]
    return {p.stem: json.loads(p.read_text(encoding="utf-8")) for p in sorted(paths)}


def row(name: str, run: dict[str, Any]) -> list[str]:
    """A run in words."""
    settings, backend = run["settings"], run["backend"]
    network = f"`{settings['application']}`, {settings['activation']}, width {settings['width']:g}"
    attacked = run["pgd_accuracy"]
    shipped = ", ships as `weights`" if (CARDS / f"{name}.json").exists() else ""
    return [
        f"{name}{shipped}",
        f"{run['dataset']}, {run['epsilon']:.4g}",
        f"{network}, {settings['loss']}, {settings['bound']} norms, {backend}",
        f"{run['epochs']}, {run['seed']}",
        percent(run["clean_accuracy"]),
        "-" if attacked is None else f"{percent(attacked)} ({run['pgd_samples']})",
        f"**{percent(run['certified_accuracy'])}** ({run['samples']})",
        run["guarantee"],
        time(run["cpu_seconds_trained"], " of CPU")
        or time(run["seconds_trained"], " by the clock")
        or "-",
        f"`{run['commit'][:8]}`",
    ]


def percent(fraction: float) -> str:
    """In per cent."""
    return f"{100 * fraction:.1f}"


def time(seconds: float | None, of: str = "") -> str:
    """Seconds in words."""
    if seconds is None:
        return ""
    return f"{seconds / 60:.1f} min{of}" if seconds < 3600 else f"{seconds / 3600:.1f} h{of}"


def table(runs: dict[str, dict[str, Any]]) -> str:
    """The runs as Markdown; what is to be said about one stands below."""
    rows = [row(name, run) for name, run in runs.items()]
    align = ["---"] * 4 + ["---:"] * 3 + ["---", "---:", "---"]
    lines = [f"| {' | '.join(cells)} |" for cells in ([*HEAD], align, *rows)]
    said = [f"* **{name}**: {run['about']}" for name, run in runs.items() if run["about"]]
    return "\n".join([*lines, "", *said]).rstrip()


def against(runs: dict[str, dict[str, Any]]) -> str:
    """What others published beside what the runs prove, as Markdown."""
    lines = [
        "| run | proved, ours (samples) | certified, published | what is between them |",
        "|---|---:|---|---|",
    ]
    for name, (theirs, why) in PUBLISHED.items():
        ours = f"{percent(runs[name]['certified_accuracy'])} ({runs[name]['samples']})"
        lines.append(f"| {name} | {ours} | {theirs} | {why} |")
    return "\n".join(lines)


def with_tables(page: str, runs: dict[str, dict[str, Any]]) -> str:
    """The page with the tables of these runs."""
    page = _between(page, START, END, table(runs))
    return _between(page, AGAINST, END_AGAINST, against(runs))


def _between(page: str, start: str, end: str, text: str) -> str:
    before, _, rest = page.partition(start)
    after = rest.partition(end)[2]
    return f"{before}{start}\n\n{text}\n\n{end}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, nargs="?", help="folder of a finished run")
    parser.add_argument("name", nargs="?", help="of its record")
    parser.add_argument("--commit", help="that the run was trained and measured with")
    parser.add_argument("--about", default="", help="a sentence below the table")
    args = parser.parse_args()
    if args.run is not None:
        if not (args.name and args.commit):
            parser.error("a run needs NAME and --commit")
        RECORDS.mkdir(exist_ok=True)
        write(record(args.run, args.commit, args.about), RECORDS / f"{args.name}.json")
        keep_log(args.run, args.name)
    page = with_tables(PAGE.read_text(encoding="utf-8"), records())
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
