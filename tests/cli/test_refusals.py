"""What cannot work is refused in one line, with a remedy that exists, and before anything is written."""

import sys
from pathlib import Path

import keras
import pytest

import keraslip
import keraslip.cli
from keraslip.cli import output
from keraslip.cli.run_folder import RunFolder
from keraslip.cli.settings import Settings
from keraslip.datasets import prepared

pytestmark = pytest.mark.any_backend("options, places and messages")
NET = ["--application", "digits_2c2f"]
COMMANDS = {
    "train": [*NET, "--out", "{new}"],
    "demo": ["--out", "{new}"],
    "certify": ["{run}", "--out", "{new}.npz"],
    "attack": ["{run}", "--out", "{new}.json"],
    "export": ["{run}", "--out", "{new}"],
    "report": ["{run}", "--out", "{new}.html"],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with a model that was not trained."""
    folder = tmp_path_factory.mktemp("run")
    inputs = keras.Input((8, 8, 1))
    outputs = keraslip.layers.MaskedLipschitzDense(10)(keras.layers.Flatten()(inputs))
    model = keraslip.LocalLipschitzModel(inputs, outputs, name="small")
    model.compile("adam", epsilon=0.1)
    model.optimizer.build(model.trainable_variables)
    model.save(folder / "model.keras")
    (folder / "config.json").write_text('{"dataset": "digits", "seed": 5}')
    return folder


@pytest.fixture
def refused(run, tmp_path, monkeypatch, capsys):
    """Runs a command that must end with status 2; returns what it says, and checks that nothing is left."""

    def call(*arguments, **places):
        before = sorted(tmp_path.rglob("*")), sorted(run.rglob("*"))
        places = {"run": run, "new": tmp_path / "new", "tmp": tmp_path, **places}
        filled = [str(argument).format(**places) for argument in arguments]
        monkeypatch.setattr(sys, "argv", ["keraslip", *filled])
        with pytest.raises(SystemExit) as stopped:
            keraslip.cli.main()
        said = capsys.readouterr().err
        assert stopped.value.code == 2, said
        assert (sorted(tmp_path.rglob("*")), sorted(run.rglob("*"))) == before
        return said

    return call


@pytest.mark.parametrize(
    "command, options, words",
    [
        ("train", ["--epsilon", "-1"], ["--epsilon", "-1"]),
        ("train", ["--epsilon", "nan"], ["--epsilon", "nan"]),
        ("train", ["--learning-rate", "0"], ["--learning-rate"]),
        ("train", ["--activation", "swish"], ["clipped_relu", "swish"]),
        ("train", ["--bound", "tight"], ["--bound", "tight"]),
        ("train", ["--local", "first,second"], ["local", "activation", "first"]),
        ("train", ["--local", ""], ["local", "auto"]),
        ("train", ["--threshold", "-1"], ["threshold"]),
        ("train", ["--sparsity", "-1"], ["sparsity", "-1"]),
        ("train", ["--dataset", "letters"], ["letters", "mnist"]),
        ("train", ["--seed", 2**32], ["--seed"]),
        ("demo", ["--seed", 2**32], ["--seed"]),
        ("demo", ["--epochs", "0"], ["--epochs"]),
        ("certify", ["--limit", "0"], ["--limit"]),
        ("certify", ["--guarantee", "estimate", "--radius"], ["--radius", "--guarantee proved"]),
        ("certify", ["--guarantee", "estimate", "--evidence"], ["--evidence"]),
        ("attack", ["--picture", "{tmp}/a.bmpx"], ["--picture", ".png"]),
        ("export", ["--format", "tflite"], ["--format", "onnx"]),
        ("export", ["--epsilon", "-1"], ["--epsilon"]),
    ],
)
def test_a_bad_option_leaves_nothing(command, options, words, refused):
    said = refused(command, *COMMANDS[command], *options)
    assert all(word in said for word in words)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_place_that_cannot_be_written_is_seen_first(command, refused, tmp_path, monkeypatch):
    def unread(*arguments, **options):
        raise AssertionError("the output is checked before any work")

    monkeypatch.setattr(keraslip.datasets, "load", unread)
    monkeypatch.setattr(keras.models, "load_model", unread)
    (tmp_path / "file").write_text("in the way")
    (line,) = refused(command, *COMMANDS[command], new=tmp_path / "file" / "new").splitlines()
    assert line.startswith("error: --out") and "file" in line

    def denied(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(output.tempfile, "TemporaryFile", denied)
    (line,) = refused(command, *COMMANDS[command]).splitlines()
    assert "Permission denied" in line and "--out" in line


@pytest.mark.parametrize("command, remedy", [("train", True), ("demo", False)])
def test_resume_is_offered_by_commands_that_have_it(command, remedy, refused, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "notes.txt").write_text("mine")
    said = refused(command, *COMMANDS[command])
    assert ("--resume" in said) == remedy and "--overwrite" in said
    if remedy:
        said = refused(command, *COMMANDS[command], "--resume")
        assert "no run to resume" in said and "with --resume" not in said


def test_export_offers_overwrite_in_the_words_of_its_caller(refused, run, tmp_path):
    (tmp_path / "new").mkdir()
    assert "--overwrite" in refused("export", *COMMANDS["export"])
    model = keras.models.load_model(run / "model.keras")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        model.export(tmp_path / "new")


def test_data_that_are_not_there_or_damaged_name_the_option(refused, tmp_path, monkeypatch):
    pytest.importorskip("tensorflow_datasets")
    options = ["--dataset", "mnist", "--data-dir", "{tmp}"]
    said = refused("train", *COMMANDS["train"], *options)
    assert "TFDS_DATA_DIR or in --data-dir" in said and "`data_dir`" not in said

    def damaged(name, folder, download):
        raise RuntimeError(f"The prepared files in {folder} cannot be read.")

    monkeypatch.setattr(prepared, "read", damaged)
    (line,) = refused("train", *COMMANDS["train"], *options).splitlines()
    assert line == f"error: The prepared files in {tmp_path} cannot be read."


def test_a_damaged_folder_is_named(refused, run, tmp_path):
    config = tmp_path / "new" / "config.json"
    config.parent.mkdir()
    config.write_text("{")
    assert f"{config} is damaged" in refused("train", "--out", "{new}", "--resume")
    config.write_text('{"dataset": "digits"}')
    assert "cannot be resumed" in refused("train", "--out", "{new}", "--resume")


def test_the_folder_is_left_as_it_was_by_a_run_that_cannot_replace_it(refused, tmp_path):
    folder = RunFolder(tmp_path / "new")
    folder.create()
    folder.write_json("config.json", Settings.resolve({"application": "digits_2c2f"}).__dict__)
    refused("train", *COMMANDS["train"], "--overwrite", "--threshold", "-1")
    assert Path(folder.path / "config.json").exists()
