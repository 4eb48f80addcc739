"""The table of runs in docs/results.md is what the runs wrote."""

import copy
import csv
import json

import pytest

from tests.docs.results_page import KEPT, PAGE, log, record, records, with_tables

pytestmark = pytest.mark.any_backend("files of finished runs")


def test_the_page_shows_the_runs_as_they_are():
    page = PAGE.read_text(encoding="utf-8")
    assert records(), "the page has a table of runs"
    assert with_tables(page, records()) == page, "python -m tests.docs.results_page writes it"


def test_a_figure_that_differs_is_seen():
    page, runs = PAGE.read_text(encoding="utf-8"), copy.deepcopy(records())
    name = next(iter(runs))
    runs[name]["certified_accuracy"] -= 0.01
    assert with_tables(page, runs) != page


def test_every_run_says_what_it_rests_on():
    for name, run in records().items():
        assert run["guarantee"].startswith(("proved", "probabilistic", "estimate")), name
        assert run["samples"] > 0 and run["epsilon"] > 0 and run["commit"] and run["versions"], name
        assert run["settings"]["seed"] == run["seed"], name
        assert 0 <= run["certified_accuracy"] <= run["clean_accuracy"] <= 1, name


def test_the_log_of_every_run_is_kept():
    for name, run in records().items():
        with log(name).open(newline="", encoding="utf-8") as file:
            epochs = list(csv.DictReader(file))
        assert [float(epoch["epoch"]) for epoch in epochs] == [*range(1, run["epochs"] + 1)], name
        spent = sum(float(epoch["cpu_seconds"]) for epoch in epochs)
        assert spent == pytest.approx(run["cpu_seconds_trained"], rel=1e-3), name
        ends = epochs[-1]
        assert 0 < float(ends["val_certified_accuracy"]) < float(ends["val_accuracy"]) < 1, name


def test_a_run_is_taken_up_from_its_own_files(tmp_path):
    report = {name: number for number, name in enumerate(KEPT)} | {"curve": "left out"}
    (tmp_path / "report.json").write_text(json.dumps(report))
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        record(tmp_path, "abc")
    (tmp_path / "config.json").write_text('{"seed": 2}')
    found = record(tmp_path, "abc", "a word")
    about = {"about": "a word", "commit": "abc", "settings": {"seed": 2}}
    assert found == {**about, **{name: report[name] for name in KEPT}}
