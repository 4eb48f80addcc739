"""`keraslip tune`: stopped, resumed, finished, and what it refuses."""

import csv
import json
from dataclasses import replace
from functools import partialmethod

import keras
import pytest
from typer.testing import CliRunner

import keraslip
from keraslip import datasets
from keraslip.cli.app import app
from keraslip.cli.search import drop_unrecorded, whole_files
from keraslip.cli.search_settings import SearchSettings, parse_space
from tests.tuning.nets import THEIR_WARNINGS, UNCOMPILED, searches_alone

tuning = pytest.importorskip("keraslip.tuning", exc_type=ImportError)

pytestmark = [*THEIR_WARNINGS, searches_alone]
BEGIN = ["tune", "--application", "digits_2c2f", "--trials", "2", "--epochs", "1"]
BEGIN += ["--batch-size", "16", "--space", "width=0.1", "--space", "loss=gloro", "--seed", "4"]


class Counted:
    """Test data that can be counted and nothing else."""

    def __len__(self):
        return 3


@pytest.fixture
def digits(monkeypatch):
    data = datasets.load("digits")
    few = replace(
        data,
        x_train=data.x_train[:32],
        y_train=data.y_train[:32],
        x_val=data.x_val[:20],
        y_val=data.y_val[:20],
        x_test=Counted(),
        y_test=Counted(),
    )
    monkeypatch.setattr(datasets, "load", lambda *_: few)
    # As the command does, but for compiling, which takes longer than all the rest.
    compile = partialmethod(keraslip.LocalLipschitzModel.compile, **UNCOMPILED["compile_options"])
    monkeypatch.setattr(keraslip.LocalLipschitzModel, "compile", compile)
    return few


def run(*arguments):
    return CliRunner().invoke(app, [str(word) for word in arguments])


def state(out):
    return json.loads((out / "search.json").read_text())


def written(out):
    return sorted(file.name for file in out.iterdir())


def test_a_stopped_search_goes_on_and_only_a_finished_one_has_results(
    digits, tmp_path, monkeypatch
):
    out = tmp_path / "search"
    fit, stopped = tuning.LipschitzHyperModel.fit, []

    def fit_once(self, *args, **kwargs):
        if stopped:
            raise KeyboardInterrupt
        stopped.append(True)
        return fit(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(tuning.LipschitzHyperModel, "fit", fit_once)
        result = run(*BEGIN, "--out", out)
    assert result.exit_code == 130, result.output
    assert f"keraslip tune --out {out} --resume" in " ".join(result.output.split())
    assert "1 RUNNING" in result.output
    assert written(out) == ["search.json", "trials"]
    assert not state(out)["complete"]

    result = run("tune", "--out", out, "--resume")
    assert result.exit_code == 0, result.output
    assert result.output.count("epoch 1/1") == 1
    assert "estimate" in result.output and "Pareto" in result.output
    assert state(out)["complete"] and state(out)["settings"]["seed"] == 4
    names = ["best.keras", "pareto.png", "results.csv", "results.json", "search.json", "trials"]
    assert written(out) == names
    rows = list(csv.DictReader((out / "results.csv").read_text().splitlines()))
    assert len(rows) == 2 and {row["status"] for row in rows} == {"COMPLETED"}
    best = keras.models.load_model(out / "best.keras")
    assert isinstance(best, keraslip.LocalLipschitzModel) and best.epsilon_value == 0.25
    found = best.evaluate(digits.x_val, digits.y_val, return_dict=True, verbose=0)
    assert found["accuracy"] == pytest.approx(float(rows[0]["clean_accuracy"]), abs=1e-6)

    again = run(*BEGIN, "--out", out)
    assert isinstance(again.exception, FileExistsError) and "--resume" in str(again.exception)
    other = run("tune", "--out", out, "--resume", "--epsilon", "0.5")
    assert isinstance(other.exception, ValueError)
    assert "only --trials can grow" in str(other.exception)
    assert written(out) == names


def test_a_search_in_which_every_trial_fails_says_so(digits, tmp_path, monkeypatch):
    def burst(*_, **__):
        raise FloatingPointError("burst")

    monkeypatch.setattr(tuning.LipschitzHyperModel, "fit", burst)
    out = tmp_path / "search"
    result = run(*BEGIN, "--trials", "5", "--out", out)
    assert result.exit_code == 1
    assert "FAILED" in result.output and "burst" in result.output
    assert "given up" in result.output
    assert written(out) == ["search.json", "trials"] and not state(out)["complete"]


@pytest.mark.parametrize(
    "options, message",
    [
        (["--application", "resnet"], "mnist_4c3f"),
        (["--tuner", "grid"], "random, hyperband, bayesian.*'grid'"),
        (["--dataset", "digit"], "digits"),
        (["--space", "depth=3"], "one of threshold.*depth=3"),
        (["--space", "epsilon=0.1:0.2"], "Epsilon is not searched.*epsilon_factor"),
        (["--space", "seed=3"], "one of threshold.*seed=3"),
        (["--space", "width"], "NAME=VALUE.*'width'"),
        (["--space", "threshold=2:1"], "range"),
        (["--epsilon", "-1"], "epsilon must be"),
        (["--epsilon", "nan"], "epsilon must be"),
        (["--activation", "tanh"], "activation"),
    ],
)
def test_bad_options_are_refused_and_leave_nothing(options, message, tmp_path):
    out = tmp_path / "search"
    result = run("tune", "--application", "digits_2c2f", *options, "--out", out)
    with pytest.raises(ValueError, match=message):
        raise result.exception
    assert not out.exists()


def test_state_is_written_whole_and_a_trial_that_was_not_begun_is_dropped(tmp_path):
    import keras_tuner

    oracle = keras_tuner.oracles.RandomSearchOracle(tuning.certified_objective(), max_trials=3)
    oracle._set_project_dir(str(tmp_path), "trials")
    oracle.hyperparameters.Float("threshold", 0, 1)
    with whole_files():
        oracle.create_trial("tuner0")
        inode = (tmp_path / "trials" / "oracle.json").stat().st_ino
        oracle.save()
    # Another file took its place: at no moment was there half a file of this name.
    assert (tmp_path / "trials" / "oracle.json").stat().st_ino != inode
    begun = tmp_path / "trials" / "trial_1"
    begun.mkdir()
    (begun / "trial.json").write_text('{"trial_id": "1"}')
    drop_unrecorded(tmp_path / "trials")
    assert sorted(p.name for p in (tmp_path / "trials").iterdir()) == ["oracle.json", "trial_0"]


def test_a_worker_without_a_chief_is_told(tmp_path, monkeypatch):
    for name, value in (("ORACLE_IP", "127.0.0.1"), ("ORACLE_PORT", "1"), ("TUNER_ID", "worker0")):
        monkeypatch.setenv(f"KERASTUNER_{name}", value)
    result = run(*BEGIN, "--out", tmp_path)
    with pytest.raises(FileNotFoundError, match="chief"):
        raise result.exception


def test_the_space_as_it_is_written_on_the_command_line():
    entries = ["width=0.5:2", "kappa=0.1", "loss=bcp,gloro", "sparsity=none", "threshold=1,2"]
    assert parse_space(entries) == {
        "width": (0.5, 2.0),
        "kappa": 0.1,
        "loss": ["bcp", "gloro"],
        "sparsity": None,
        "threshold": [1.0, 2.0],
    }


def test_resume_compares_what_is_given_with_what_was():
    given = {"application": "digits_2c2f", "space": ["width=1"], "epochs": None}
    settings = SearchSettings.resolve(given)
    assert SearchSettings.resolve(given, settings.as_dict()) == settings
    assert (settings.dataset, settings.epsilon, settings.tuner) == ("digits", 0.25, "random")
