"""The command line: runs, resume, refusals, one-line errors."""

import json
import os
import re
import subprocess
import sys
from dataclasses import fields, replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

import keraslip
import keraslip.cli
from keraslip import datasets
from keraslip.callbacks.csv_table import read_rows
from keraslip.certify.run import radius_search
from keraslip.cli import report_files, training
from keraslip.cli.app import app
from keraslip.cli.run_folder import (
    BEST,
    EVENTS,
    LAST,
    LOG,
    MONITOR,
    REPORT,
    STATE,
    Checkpoint,
    RunFolder,
)
from keraslip.cli.search_settings import SearchSettings
from keraslip.cli.settings import Settings
from keraslip.cli.training import train
from keraslip.cli.usual import RECIPES, USUAL
from tests.cli.page_reader import PageReader

GIVEN = {"application": "digits_2c2f", "epochs": 3, "batch_size": 32, "activation": "maxmin"}
options_alone = pytest.mark.any_backend("options, folders and messages")


@pytest.fixture(scope="module")
def data():
    digits = datasets.load("digits")
    return replace(
        digits,
        x_train=digits.x_train[:80],
        y_train=digits.y_train[:80],
        x_val=digits.x_val[:30],
        y_val=digits.y_val[:30],
    )


def weights(path):
    return keras.models.load_model(path).get_weights()


def run(data, out, **options):
    folder = RunFolder(out)
    folder.path.mkdir(parents=True, exist_ok=True)
    train(
        Settings.resolve(GIVEN | {"ema": 0.9, "loss": "bcp"}),
        data,
        folder,
        Console(quiet=True),
        **options,
    )
    return folder


@pytest.mark.any_backend("the order of calls; tests/models/test_saving.py resumes on every backend")
def test_a_run_stopped_in_an_epoch_goes_on_as_if_it_had_not(data, tmp_path, monkeypatch):
    whole = run(data, tmp_path / "whole")

    class Interrupted(Checkpoint):
        def on_train_batch_end(self, batch, logs=None):
            if len(self.rows) == 1 and batch == 1:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "Checkpoint", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(data, tmp_path / "stopped")
    stopped = RunFolder(tmp_path / "stopped")
    assert stopped.read_json(STATE)["epochs_done"] == 1
    before = stopped.seconds()

    class Killed(RunFolder):
        """Ends when the model of an epoch is written, and before the folder says so."""

        def write_json(self, name, content):
            if name == STATE:
                raise KeyboardInterrupt
            super().write_json(name, content)

    with monkeypatch.context() as patch:
        patch.setattr("tests.cli.test_cli.RunFolder", Killed)
        with pytest.raises(KeyboardInterrupt):
            run(data, tmp_path / "stopped")
    assert stopped.read_json(STATE)["epochs_done"] == 1
    run(data, tmp_path / "stopped")
    assert stopped.read_json(STATE) == whole.read_json(STATE)
    for a, b in zip(weights(whole.path / LAST), weights(stopped.path / LAST), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    assert [row["epoch"] for row in stopped.history()] == [1, 2, 3]
    best = max(row["val_certified_accuracy"] for row in stopped.history())
    assert stopped.read_json(STATE)["best"] == best
    # What was validated is what is kept: the averaged weights.
    model, row = keras.models.load_model(stopped.path / BEST), stopped.history()[-1]
    found = model.evaluate(data.x_val, data.y_val, return_dict=True, verbose=0)
    assert stopped.read_json(STATE)["best_epoch"] == 3
    assert found["loss"] == pytest.approx(row["val_loss"], rel=1e-5)
    pairs = zip(weights(stopped.path / BEST), weights(stopped.path / LAST), strict=True)
    assert any(not np.allclose(a, b) for a, b in pairs)
    assert (stopped.path / BEST).exists() and (stopped.path / LOG).exists()
    # What the first session took is not forgotten.
    first, *rest = (row["seconds"] for row in stopped.history())
    assert 0 < before == first and stopped.seconds() == pytest.approx(first + sum(rest))
    assert stopped.trained()["epochs"] == 3 and stopped.trained()["cpu_seconds_trained"] > 0


@pytest.mark.any_backend("a hash of the data, and files")
def test_a_run_does_not_go_on_with_other_data(data, tmp_path):
    folder = RunFolder(tmp_path)
    training._check_data(folder, data, resumed=False)
    training._check_data(folder, replace(data, name="there/a.npz"), resumed=True)
    for part in ("x_train", "y_train", "x_val", "y_val"):
        other = getattr(data, part).copy()
        other.flat[-1] += 1
        with pytest.raises(ValueError, match="other training or validation data than.*--data"):
            training._check_data(folder, replace(data, **{part: other}), resumed=True)
    # Test data decide nothing; a run of before there was the hash goes on.
    training._check_data(folder, replace(data, x_test=data.x_test + 1), resumed=True)
    (tmp_path / "data.json").unlink()
    training._check_data(folder, data, resumed=True)


@pytest.mark.any_backend("files")
def test_a_report_goes_with_the_model_it_is_about(tmp_path, monkeypatch):
    """Of a run that was interrupted and measured, and then goes on."""
    folder = RunFolder(tmp_path)
    monkeypatch.setattr(folder, "save_model", lambda name, model: (tmp_path / name).write_text(""))
    keeper = Checkpoint(folder)
    keeper.set_model(SimpleNamespace(optimizer=SimpleNamespace()))
    for certified, kept in ((0.5, False), (0.4, True), (0.6, False)):
        for name in REPORT:
            (tmp_path / name).write_text("{}")
        keeper.on_epoch_end(len(keeper.rows), {"val_certified_accuracy": certified})
        assert [(tmp_path / name).exists() for name in REPORT] == [kept] * len(REPORT)
    assert folder.read_json(STATE)["best"] == 0.6


@pytest.mark.any_backend("a table in a file")
def test_a_log_without_seconds_goes_on_and_says_of_none(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_history([{"epoch": 1.0, "loss": 2.0}, {"epoch": 2.0, "loss": 1.0, "seconds": 3.0}])
    assert [row["epoch"] for row in folder.history()] == [1.0, 2.0] and folder.seconds() is None


@options_alone
def test_resume_refuses_changed_settings():
    stored = Settings.resolve(GIVEN).__dict__
    assert Settings.resolve({"epochs": 3, "seed": None}, stored) == Settings(**stored)
    with pytest.raises(ValueError, match="cannot change.*epochs"):
        Settings.resolve({"epochs": 4}, stored)


@options_alone
def test_a_run_goes_on_with_its_files_named_from_another_folder():
    given = {"application": "nets.py:net", "dataset": "a.npz", "epsilon": 0.1}
    stored = Settings.resolve(given).as_dict()
    named = {"application": "there/nets.py:net", "dataset": "there/a.npz"}
    assert Settings.resolve(named, stored).as_dict() == {**stored, **named}
    for other in ({"application": "nets.py:other"}, {"dataset": "b.npz"}, {"dataset": "digits"}):
        with pytest.raises(ValueError, match="cannot change"):
            Settings.resolve({**named, **other}, stored)


@options_alone
def test_where_norms_are_local_is_a_setting():
    stored = Settings.resolve({**GIVEN, "local": "conv2d, dense"}).__dict__
    assert stored["local"] == ["conv2d", "dense"] and stored["bound"] == "local"
    assert Settings.resolve(GIVEN).bound == "global"
    assert Settings.resolve({**GIVEN, "local": "all", "bound": "global"}).bound == "global"
    assert Settings.resolve({"local": "conv2d,dense"}, stored) == Settings(**stored)
    with pytest.raises(ValueError, match="cannot change.*local"):
        Settings.resolve({"local": "all"}, stored)
    # A run of before there was the choice goes on.
    for name in ("local", "width", "start", "optimizer", "clip_norm", "ema", "decay_start"):
        del stored[name]
    assert Settings.resolve({}, stored) == Settings.resolve({**GIVEN, "bound": "local"})


@options_alone
def test_every_network_can_be_trained_by_its_name():
    assert sorted(USUAL) == keraslip.list_applications()


@options_alone
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_is_a_whole_run_and_every_option_may_differ(recipe):
    settings = Settings.resolve({"epochs": 3}, recipe=recipe)
    assert settings.epochs == 3
    others = {name: value for name, value in RECIPES[recipe].items() if name != "epochs"}
    assert {name: getattr(settings, name) for name in others} == others


@options_alone
def test_recipes_are_listed():
    listed = CliRunner().invoke(app, ["train", "--list-recipes"])
    assert listed.exit_code == 0
    for name in RECIPES:
        assert re.search(rf"{name} +\S +\d\.\d (min|h) ", listed.output), name


def test_kernels_start_orthogonal_and_the_gradient_is_clipped():
    given = {"start": "orthogonal", "optimizer": "nadam", "clip_norm": 3.0, "width": 0.5}
    given["loss"] = "calibrated_lipschitz_margin"
    settings = Settings.resolve(given, recipe="digits")
    model = training.begin(settings, datasets.load("digits"))
    assert isinstance(model.optimizer, keras.optimizers.Nadam)
    assert model.optimizer.global_clipnorm == 3.0
    assert float(model.train_epsilon(0.0)) == 0.5  # its epsilon does not rise
    kernel = model.get_layer("dense_1").get_weights()[0]
    assert kernel.shape[1] == 32
    np.testing.assert_allclose(kernel.T @ kernel, np.eye(32), atol=1e-5)


def test_a_run_begins_where_another_ended(tmp_path):
    given = {"width": 0.25, "epochs": 1, "seed": 1}
    data = datasets.load("digits")
    first = training.begin(Settings.resolve(given, recipe="digits"), data)
    first.save(tmp_path / "best.keras")
    settings = Settings.resolve({**given, "seed": 2, "start": str(tmp_path)}, recipe="digits")
    second = training.begin(settings, data)
    for mine, other in zip(second.get_weights(), first.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)
    assert float(second.train_epsilon(0.0)) == float(second.train_epsilon(1.0)) == 0.5
    wide = Settings.resolve({**given, "width": 0.5, "start": str(tmp_path)}, recipe="digits")
    # A kernel is named, not a weight that belongs to the bound.
    with pytest.raises(ValueError, match=r"shape \(3, 3, 1, 8\).*has \(3, 3, 1, 4\).*--width"):
        training.begin(wide, data)


@pytest.mark.parametrize("start", [0.0, 0.5])
def test_the_learning_rate_falls_from_where_it_says(start):
    settings = Settings.resolve({"decay_start": start, "epochs": 10}, recipe="digits")
    rate = training._learning_rate(settings, 10)
    half, share = settings.learning_rate / 2, settings.final_learning_rate
    middle = 100 * (1 + start) / 2
    np.testing.assert_allclose(rate(100 * start), 2 * half, rtol=1e-2)
    np.testing.assert_allclose(rate(middle), half * (1 + share), rtol=0.05)
    np.testing.assert_allclose([rate(100), rate(200)], 2 * half * share, rtol=1e-5)


@options_alone
def test_a_folder_with_results_is_not_overwritten(tmp_path):
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(FileExistsError, match="--resume.*--overwrite"):
        RunFolder(tmp_path).create()
    RunFolder(tmp_path).create(overwrite=True)
    assert not (tmp_path / "report.json").exists()


@options_alone
@pytest.mark.parametrize("command", ["train", "tune", "certify", "attack", "report", "export"])
def test_no_word_of_help_is_cut_at_eighty_columns(command):
    words = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "80"}).output
    assert "--out" in words and "…" not in words


@options_alone
def test_every_setting_has_an_option_and_a_recipe_can_be_undone():
    for command, kind in (("train", Settings), ("tune", SearchSettings)):
        words = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "120"}).output
        for name in (field.name for field in fields(kind)):
            assert f"--{name.replace('_', '-')}" in words
    recipe = {"application": "cifar_4c3f"}
    assert Settings.resolve(recipe).augment == "crop_flip"
    plain = Settings.resolve({**recipe, "augment": "none"})
    assert plain.augment is None and Settings.resolve({"augment": "none"}, plain.as_dict()) == plain


@options_alone
@pytest.mark.parametrize(
    "given, message",
    [
        ({"application": "resnet"}, "mnist_4c3f"),
        (
            {"augment": "mixup"},
            "--augment must be one of none, crop_flip, crop2_flip, flip, shift_rotate",
        ),
        ({"start": "ortogonal"}, "--start must be usual, orthogonal, a FILE.keras or .*ortogonal"),
        ({"ema": 1.0}, "--ema must be a number in"),
        ({"decay_start": 1.0}, "--decay-start must be a number in"),
        ({"train_epsilon_factor": -1.0}, "--train-epsilon-factor must be"),
        ({"final_learning_rate": float("nan")}, "--final-learning-rate must be"),
        ({"application": "digits_2c2f", "loss": "hinge"}, "gloro"),
    ],
)
def test_unknown_names_list_the_known_ones(given, message):
    with pytest.raises(ValueError, match=message):
        Settings.resolve(given)


def test_demo_writes_model_report_and_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(report_files, "MEASURED", slice(None, None, 20))
    # After one epoch most units are open: narrower boxes, which have tests of their own, take long.
    monkeypatch.setattr(radius_search, "BOXES", 0.0)
    out = tmp_path / "demo"
    result = CliRunner().invoke(app, ["demo", "--epochs", "1", "--out", str(out), "--seed", "3"])
    assert result.exit_code == 0, result.output
    report = json.loads((out / "report.json").read_text())
    assert report["epsilon"] == pytest.approx(0.25) and report["seed"] == 3
    assert report["samples"] == 360 and report["guarantee"] == "proved (float32 execution)"
    clean, attacked = report["clean_accuracy"], report["pgd_accuracy"]
    local, uniform = report["certified_accuracy"], report["certified_accuracy_global"]
    assert 0 <= uniform <= local <= attacked <= clean <= 1
    assert isinstance(keras.models.load_model(out / "model.keras"), keraslip.LocalLipschitzModel)
    assert sum(report["status"].values()) == pytest.approx(1.0)
    assert 0 <= report["radius"]["0.1"] <= report["radius"]["0.9"]
    assert [row["layer"] for row in report["layers"]][-1] == "logits"
    for row in report["layers"]:
        (proved,) = row["proved_norms"]
        assert row["global_norm"] <= proved * (1 + 1e-6) and row["local_norm"] <= proved * (
            1 + 1e-6
        )
    found = keraslip.Certificates.load(out / "certificates.npz")
    assert found.certified.mean() == pytest.approx(local)
    for picture in ("curve.png", "images.png", "training.png"):
        assert (out / picture).stat().st_size > 10_000
    page = read_page(out / "report.html")
    for key in ("clean_accuracy", "pgd_accuracy", "certified_accuracy", "lipschitz", "epsilon"):
        assert str(report[key]) in dict(page.values)
    assert page.text.rstrip().endswith(f"backend{keras.backend.backend()}")
    assert page.tags.count("img") == 1 and page.text.strip().startswith("Report of demo")
    curve = report["curve"]
    assert curve["epsilon"][20] == pytest.approx(0.25) and curve["samples"] == 360
    assert curve["certified_accuracy"][0] == pytest.approx(clean, abs=0.01)
    assert curve["certified_accuracy"][20] == pytest.approx(local, abs=0.01)
    written = (out / "report.md").read_text()
    for word in ("clean", "attacked", "certified, local bound", "certified, global bound"):
        assert word in result.output and word in written


def read_page(path):
    reader = PageReader(path.read_text(encoding="utf-8"))
    assert reader.problems == []
    return reader


@pytest.mark.any_backend(
    "which files are written; tests/callbacks has the monitor on every backend"
)
def test_train_monitors_the_run(data, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    out = tmp_path / "run"
    monkeypatch.setattr(datasets, "load", lambda *_: data)
    monkeypatch.setattr("keraslip.cli.report_files.write_report", lambda *_: None)
    start = ["train", "--application", "digits_2c2f", "--epochs", "1", "--out", str(out)]
    done = CliRunner().invoke(app, [*start, "--tensorboard"])
    assert done.exit_code == 0, done.output
    (row,) = read_rows(out / MONITOR)
    assert row["epoch"] == 1 and "varying/logits" in row
    assert len(list(out.glob(EVENTS))) == 1
    assert RunFolder(out).read_json(STATE)["epochs_done"] == 1
    RunFolder(out).create(overwrite=True)
    assert not (out / MONITOR).exists() and not list(out.glob(EVENTS))


def test_check_names_the_layer_without_rule(tmp_path):
    inputs = keras.Input((4,))
    x = keras.layers.LayerNormalization(name="odd_one")(inputs)
    keras.Model(inputs, keras.layers.Dense(3)(x)).save(tmp_path / "model.keras")
    result = CliRunner().invoke(app, ["check", str(tmp_path / "model.keras")])
    assert result.exit_code == 1
    assert "odd_one" in result.output and "none" in result.output


def test_a_process_of_its_own_knows_what_a_saved_model_holds_and_logs_nothing(tmp_path):
    model = keraslip.applications.get("digits_2c2f")(activation="clipped_maxmin")
    loss, ramp = keraslip.losses.BCPLoss(), keraslip.schedules.LinearRamp(0.0, 0.3)
    model.compile("adam", epsilon=0.25, loss=loss, train_epsilon=ramp)
    model.save(tmp_path / "model.keras")
    done = subprocess.run(
        [sys.executable, "-m", "keraslip", "check", str(tmp_path / "model.keras")],
        env={key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "A bound passes every layer." in done.stdout, done.stderr
    assert done.stderr == ""


@options_alone
@pytest.mark.parametrize(
    "arguments, words",
    [
        (["train", "--application", "resnet", "--out", "never"], ["--application", "mnist_4c3f"]),
        (["check", "missing.keras"], ["missing.keras"]),
    ],
    ids=["application", "file"],
)
def test_an_error_is_one_line_and_exit_code_2(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["keraslip", *arguments])
    with pytest.raises(SystemExit) as stopped:
        keraslip.cli.main()
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if line.startswith("error:")]
    assert all(word in line for word in words)
    assert not (tmp_path / "never").exists()


@options_alone
def test_an_unknown_backend_is_one_line_and_exit_code_2(tmp_path):
    command = [sys.executable, "-m", "keraslip", "--backend", "theano", "demo"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert all(word in line for word in ("--backend", "theano", "torch"))


@options_alone
def test_a_backend_that_is_not_installed_is_named_with_its_extra(tmp_path):
    hide = (
        "import importlib.util as u, sys\n"
        "found = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'jax' else found(name, *a)\n"
        "sys.argv = ['keraslip', '--backend', 'jax', 'demo']\n"
        "import keraslip\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", hide], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "keraslip[jax]" in done.stderr and "Traceback" not in done.stderr
