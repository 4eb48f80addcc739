"""The HTML page of one run and of several: whole, self-contained, true to report.json."""

import csv
import json
import shutil
import subprocess

import pytest
from typer.testing import CliRunner

from keraslip.cli.app import app
from keraslip.cli.page import load_runs, page
from keraslip.cli.page.document import duration
from tests.cli.page_reader import PageReader

pytestmark = pytest.mark.any_backend("HTML from figures and tables")

NASTY = "<script>alert('1')</script> & \"$x^$\" "
LAYER = {
    "layer": "activation_1", "proved_norms": [1.25, 0.5], "global_norm": 1.21, "local_norm": 1.1,
    "varying": 0.75, "radius_in": 0.25, "radius_out": 0.275,
}  # fmt: skip
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def make_run(folder, measured=True, report=None, **settings):
    """A run's folder, as `keraslip train` leaves it but for the models."""
    folder.mkdir()
    config = {"application": "digits_2c2f", "epsilon": 0.25, "threshold": None, "seed": 0}
    (folder / "config.json").write_text(json.dumps(config | settings))
    with (folder / "log.csv").open("w", newline="") as lines:
        names = ("epoch", "accuracy", "val_accuracy", "val_certified_accuracy", "val_lipschitz")
        rows = [(e, 0.3 * e, 0.31 * e, 0.25 * e, 9.0 - e, 0.1 * e) for e in (1, 2, 3)]
        csv.writer(lines).writerows([(*names, "epsilon"), *rows])
    content = {
        "dataset": "digits", "model": "digits_2c2f", "seed": 0, "epsilon": 0.25, "samples": 360,
        "guarantee": "proved (float32 execution)", "certified_accuracy": 0.76111,
        "clean_accuracy": 0.93333, "pgd_accuracy": 0.825, "pgd_samples": 200, "lipschitz": 7.546,
        "radius": {"0.5": 0.3625}, "epochs": 3, "seconds_trained": 75.2, "backend": "jax",
        "layers": [LAYER, LAYER | {"layer": "logits"}],
        "curve": {"epsilon": [0.0, 0.25, 0.5], "certified_accuracy": [0.93, 0.76, 0.1], "samples": 360},
    }  # fmt: skip
    if measured:
        (folder / "report.json").write_text(json.dumps(content | (report or {})))
    return folder


@pytest.fixture
def runs(tmp_path):
    return [
        make_run(tmp_path / "plain"),
        make_run(
            tmp_path / "other",
            loss=NASTY,
            report={"certified_accuracy": 0.8, "clean_accuracy": 0.9, "pgd_accuracy": None,
                    "lipschitz": None, "layers": [LAYER | {"layer": NASTY, "local_norm": None}]},
        ),
        make_run(tmp_path / "a <b>&amp;\"'", measured=False, seed=7),
    ]  # fmt: skip


def compare(*arguments):
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def read(path):
    reader = PageReader(path.read_text(encoding="utf-8"))
    assert reader.problems == []
    return reader


def test_the_parser_sees_what_is_wrong():
    bad = {
        "<p><b></p>": "closes",
        '<p id="a"></p><p id="a"></p>': "twice",
        '<a href="#b"></a>': "nowhere",
        '<img src="https://example.org/a.png">': "out of the page",
        "<script></script>": "runs something",
        '<p style="background: url(//example.org)"></p>': "out of the page",
        "<style>@import 'a.css';</style>": "imported",
        '<p onclick="a()"></p>': "runs a script",
        '<use xlink:href="a.svg#b"/>': "out of the page",
        "<p>": "never closed",
    }
    for text, problem in bad.items():
        assert any(problem in found for found in PageReader(text).problems), text


def test_several_runs_are_compared_in_one_page_that_needs_nothing_else(runs, tmp_path):
    out = tmp_path / "new folder" / "page.html"
    done = compare(*runs, "--out", out)
    assert done.exit_code == 0, done.output
    reader = read(out)
    assert reader.tags.count("figure") == 7  # 4 of the training, curve, trade-off, norms
    header, plain, other, unknown = reader.cells[:4]
    assert plain[0] == "plain" and unknown[0] == runs[2].name
    assert plain[1:5] == ["93.3", "82.5 of 200", "76.1", "0.25"]
    assert plain[5:] == ["proved (float32 execution)", "360", "7.55", "0.362", "0"]
    assert other[1:4] == ["90.0", "–", "80.0"]
    assert unknown[1:6] == ["–", "–", "–", "0.25", "not measured"] and unknown[-1] == "7"
    assert NASTY in reader.text and "script" not in reader.tags
    assert [path for path in out.parent.iterdir()] == [out]


def test_every_number_of_the_results_is_that_of_report_json(runs):
    reader = PageReader(page(load_runs(runs[:1])))
    report = json.loads((runs[0] / "report.json").read_text())
    shown = dict(reader.values)
    expected = {
        report["clean_accuracy"]: "93.3",
        report["pgd_accuracy"]: "82.5",
        report["certified_accuracy"]: "76.1",
        report["epsilon"]: "0.25",
        report["lipschitz"]: "7.55",
        report["radius"]["0.5"]: "0.362",
        LAYER["local_norm"]: "1.100",
        LAYER["varying"]: "75.0",
    }
    assert {value: shown[str(value)] for value in expected} == expected
    first = next(row for row in reader.cells if row[0] == "1 activation_1")
    assert first[1:] == ["1.250 + 0.500", "1.210", "1.100", "1.10", "75.0", "0.275"]


def test_runs_make_a_table_with_the_figures_of_report_json(runs, tmp_path):
    assert compare(*runs, "--out", tmp_path / "runs.csv").exit_code == 0
    with (tmp_path / "runs.csv").open(newline="") as lines:
        plain, other, unknown = csv.DictReader(lines)
    report = json.loads((runs[0] / "report.json").read_text())
    for name in ("epsilon", "samples", "certified_accuracy", "pgd_accuracy", "lipschitz"):
        assert float(plain[name]) == report[name]
    assert (plain["run"], plain["radius_median"], plain["loss"]) == ("plain", "0.3625", "")
    assert (other["loss"], other["pgd_accuracy"], other["certified_accuracy"]) == (NASTY, "", "0.8")
    assert unknown["seed"] == "7" and unknown["certified_accuracy"] == ""


def test_a_table_of_latex_says_what_it_rests_on_and_takes_names_as_they_are(runs, tmp_path):
    assert compare(*runs, "--out", tmp_path / "runs.tex").exit_code == 0
    text = (tmp_path / "runs.tex").read_text()
    assert r"plain & 0.25 & 360 & 93.3 & 82.5 & 76.1 \\" in text
    assert r"other & 0.25 & 360 & 90.0 & -- & 80.0 \\" in text
    rests = r"% plain: digits\_2c2f, digits, seed 0, proved (float32 execution), PGD on 200 samples"
    assert rests in text.splitlines()
    # Head and three runs; the ampersand of a name is none of the table.
    assert text.count(r"\\") == 4 and r"a <b>\&amp;" in text


def test_a_file_of_results_is_a_page_or_a_table(runs, tmp_path):
    done = compare(*runs, "--out", tmp_path / "runs.xlsx")
    assert "--out must end in .html or .csv or .tex" in str(done.exception)
    assert not (tmp_path / "runs.xlsx").exists()


def test_what_was_not_measured_is_listed_with_its_command_and_stays_so(runs, tmp_path):
    done = compare(*runs, "--out", tmp_path / "page.html")
    reader = read(tmp_path / "page.html")
    for text in (reader.text, done.output):
        assert "keraslip report '" in text and "not" in text.lower()
    assert not (runs[2] / "report.json").exists()


def test_settings_that_differ_are_apart_from_those_shared(runs):
    reader = PageReader(page(load_runs(runs)))
    heads = next(row for row in reader.cells if "loss" in row)
    assert set(heads) == {"Run", "seed", "backend", "loss", "training time"}
    assert "application" in reader.text and "application" not in heads


@pytest.mark.parametrize(
    "change, word",
    [({"epsilon": 0.5}, "epsilon"), ({"guarantee": "estimate (power iteration)"}, "guarantees")],
)
def test_runs_that_are_not_comparable_are_called_so_and_have_no_best(tmp_path, change, word):
    folders = [make_run(tmp_path / "a"), make_run(tmp_path / "b", report={"clean_accuracy": 0.5})]
    same = PageReader(page(load_runs(folders)))
    assert "not comparable" not in same.text and same.tags.count("strong") == 1
    shutil.rmtree(folders[1])
    folders[1] = make_run(tmp_path / "b", report={"clean_accuracy": 0.5} | change)
    reader = PageReader(page(load_runs(folders)))
    assert f"different {word}" in reader.text and reader.tags.count("strong") == 0


def test_many_runs_and_reports_of_old_versions_make_a_page(tmp_path):
    old = {"curve": None, "layers": None, "radius": None}
    folders = [make_run(tmp_path / f"run{i}", report=old if i % 2 else None) for i in range(14)]
    (folders[0] / "log.csv").unlink()
    assert PageReader(page(load_runs(folders))).problems == []
    assert PageReader(page(load_runs(folders[1:2]))).problems == []


def test_a_page_is_not_overwritten_silently(runs, tmp_path):
    out = tmp_path / "page.html"
    out.write_text("mine")
    done = compare(*runs, "--out", out)
    assert isinstance(done.exception, FileExistsError) and "--overwrite" in str(done.exception)
    assert out.read_text() == "mine"
    assert compare(*runs, "--out", out, "--overwrite").exit_code == 0
    read(out)


@pytest.mark.parametrize("name, text", [("report.json", "{"), ("report.json", "[]"),
                                        ("config.json", "nonsense"), ("log.csv", "a,b\n1,x\n")])  # fmt: skip
def test_a_damaged_file_is_named_and_no_page_is_left(runs, tmp_path, name, text):
    (runs[1] / name).write_text(text)
    done = compare(*runs, "--out", tmp_path / "page.html")
    assert isinstance(done.exception, ValueError)
    assert name in str(done.exception) and "damaged" in str(done.exception)
    assert not (tmp_path / "page.html").exists()


def test_what_makes_no_comparison_is_refused(runs, tmp_path):
    refused = {
        "holds no run": (*runs, tmp_path / "nothing"),
        "every run once": (runs[0], runs[1], runs[0]),
        "--seed": (*runs, "--seed", 3),
        "the folder": (*runs, "--out", tmp_path),
    }
    for message, arguments in refused.items():
        done = compare(*arguments)
        assert message in str(done.exception), message
    assert not list(tmp_path.glob("*.html"))


def test_runs_of_equal_names_are_told_apart_by_their_paths(tmp_path):
    folders = []
    for parent in ("one", "two"):
        (tmp_path / parent).mkdir()
        folders.append(make_run(tmp_path / parent / "run"))
    assert [run.name for run in load_runs(folders)] == [str(folder) for folder in folders]


def test_times_are_readable():
    texts = {8.4: "8 s", 59.7: "1 min 00 s", 75.2: "1 min 15 s", 7500.0: "2 h 05 min"}
    for seconds, text in texts.items():
        assert duration(seconds) == text


def test_a_browser_shows_the_page(runs, tmp_path):
    browser = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if browser is None:
        pytest.skip(f"no browser is installed: {', '.join(CHROMIUM)}")
    from matplotlib.image import imread

    out, picture = tmp_path / "page.html", tmp_path / "page.png"
    compare(*runs, "--out", out)
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
               "--disable-background-networking", "--disable-component-update", "--disable-sync",
               f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1000,2400",
               "--hide-scrollbars", f"--screenshot={picture}"]  # fmt: skip
    subprocess.run([browser, *options, out.as_uri()], check=True, capture_output=True)
    pixels = imread(picture)[..., :3]
    assert pixels.shape == (2400, 1000, 3)
    for color in ("0072b2", "d55e00"):  # the lines of both measured runs are drawn
        wanted = [int(color[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        assert (abs(pixels - wanted).max(axis=-1) < 0.02).sum() > 300
