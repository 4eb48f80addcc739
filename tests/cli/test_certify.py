"""`keraslip certify`, `attack` and `report` on a small trained model."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

import keraslip
from keraslip.certify.execution import block
from keraslip.certify.run import cascade
from keraslip.cli import measure, report_files, summary, tables
from keraslip.cli.app import app

pytestmark = pytest.mark.any_backend("commands around what is tested, and run by the demo, on each")
DIGITS, SMALL = ["--dataset", "digits"], ["--epsilon", "0.1"]


@pytest.fixture(scope="module")
def digits():
    return keraslip.datasets.load("digits")


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    """A folder as `keraslip demo` leaves it."""
    folder = tmp_path_factory.mktemp("run")
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = keraslip.layers.MaskedLipschitzDense(16)(keras.layers.Flatten()(inputs))
    x = keraslip.layers.ClippedReLU(threshold=1.0)(x)
    outputs = keraslip.layers.MaskedLipschitzDense(10)(x)
    model = keraslip.LocalLipschitzModel(inputs, outputs, name="small")
    model.compile(keras.optimizers.Adam(3e-2), epsilon=0.1, train_epsilon=0.1)
    model.fit(digits.x_train[:640], digits.y_train[:640], epochs=3, batch_size=64, verbose=0)
    model.save(folder / "model.keras")
    (folder / "config.json").write_text(json.dumps({"dataset": "digits", "seed": 5}))
    return folder


@pytest.fixture
def model(run):
    return keras.models.load_model(run / "model.keras")


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_certify_saves_certificates_and_a_summary(run, model, digits, tmp_path):
    out = tmp_path / "new" / "c.npz"
    result = call("certify", run, "--limit", 60, "--radius", "--out", out, "--workers", 1)
    assert result.exit_code == 0, result.output
    x, y = digits.x_test[:60], digits.y_test[:60]
    expected = model.certify(x, y, radius=True, verbose=0)
    found = keraslip.Certificates.load(out)
    np.testing.assert_array_equal(found.certified, expected.certified)
    np.testing.assert_allclose(found.radius, expected.radius, rtol=1e-9)
    summary = json.loads(out.with_suffix(".json").read_text())
    accuracy = expected.certified_accuracy(y)
    assert 0 < accuracy < 1
    assert summary["certified_accuracy"] == pytest.approx(accuracy)
    assert summary["guarantee"] == "proved (float32 execution)" and summary["complete"]
    assert summary["converted"] is False
    assert summary["samples"] == 60 and summary["epsilon"] == pytest.approx(0.1)
    assert summary["status"] == pytest.approx(expected.shares)
    assert summary["details"]["network"] == expected.details["network"]
    line = f"certified accuracy {100 * accuracy:.1f} % at epsilon 0.1 on 60 test samples: proved"
    assert line in result.output and "misclassified" in result.output
    reached = sorted(expected.radius)[::-1]
    words = r"half of the samples reach (\S+), a tenth reach (\S+)"
    for text, known in zip(
        re.search(words, result.output).groups(), (reached[30], reached[6]), strict=True
    ):
        assert 0.999 * known <= float(text) <= known  # rounded down
    average = np.mean(expected.radius)
    assert summary["average_radius"] == pytest.approx(average, rel=1e-9)
    shown = float(re.search(r"\(average (\S+)\)", result.output).group(1))
    assert 0.999 * average <= shown <= average


def test_bounds_are_not_printed_better_than_they_are():
    assert tables.reached(0.12349999) == "0.1234" and tables.reached(0.25) == "0.25"
    assert tables.at_least(0.3999999, 3) == "0.399" and tables.at_most(1.2500001, 3) == "1.251"
    assert tables.at_least(0.4, 3) == "0.400" and tables.at_most(1.25, 3) == "1.250"
    assert tables.reached(np.inf) == "inf" and tables.at_most(1e300, 2).startswith("1000")
    radii, ones = np.full(3, 0.12349999), np.ones(3)
    found = keraslip.Certificates(
        np.zeros(3, "int64"), ones > 0, ones, ones, radii, np.full(3, "slopes"), 0.1 * ones,
        "proved", "float32",
    )  # fmt: skip
    subject = SimpleNamespace(x=np.eye(3), epsilon=0.1, split="test")
    lines = summary.verdict(found, np.zeros(3, "int64"), subject)
    assert "half of the samples reach 0.1234, a tenth reach 0.1234 (average 0.1234)" in lines[1]
    found = replace(found, radius=np.array([np.inf, 0.5, np.nan]))
    assert summary.average_radius(found) == np.inf
    found = replace(found, radius=np.array([0.25, 0.0, np.nan]))
    assert 0.1249999 < summary.average_radius(found) <= 0.125
    assert summary.average_radius(replace(found, radius=None)) is None


def test_certify_obeys_its_options(run, tmp_path):
    out = tmp_path / "c.npz"
    options = ["--epsilon", 0.02, "--split", "validation", "--arithmetic", "float64"]
    options += ["--effort", "frozen", "--conv", "global", "--batch-size", 16]
    result = call("certify", run / "model.keras", "--limit", 20, "--out", out, *options)
    assert result.exit_code == 0, result.output
    found = keraslip.Certificates.load(out)
    assert (found.epsilon == 0.02).all() and found.arithmetic == "float64"
    assert found.details["effort"] == "frozen" and found.radius is None
    summary = json.loads(out.with_suffix(".json").read_text())
    assert summary["split"] == "validation" and "real arithmetic" in summary["guarantee"]


def test_certificates_with_evidence_are_confirmed_by_the_independent_checker(run, tmp_path):
    out = tmp_path / "c.npz"
    result = call("certify", run, "--limit", 20, "--out", out, "--evidence")
    assert result.exit_code == 0, result.output
    assert f"keraslip.certify.check {out}" in result.output
    command = [sys.executable, "-m", "keraslip.certify.check", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_estimate_is_called_one(run, tmp_path):
    out = tmp_path / "c.npz"
    result = call("certify", run, "--limit", 20, "--guarantee", "estimate", "--out", out)
    assert result.exit_code == 0, result.output
    assert "estimate (power iteration)" in result.output
    summary = json.loads(out.with_suffix(".json").read_text())
    assert summary["guarantee"] == "estimate (power iteration)"
    assert summary["certified_accuracy"] > 0
    assert not keraslip.Certificates.load(out).certified.any()


def test_ctrl_c_saves_what_is_done_and_resume_goes_on(run, model, digits, tmp_path, monkeypatch):
    monkeypatch.setattr(block, "SIZE", 16)
    out = tmp_path / "c.npz"
    settle, calls = cascade.Cascade.run, []

    def stopped(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        settle(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(cascade.Cascade, "run", stopped)
        result = call("certify", run, "--limit", 40, "--out", out)
    assert result.exit_code == 130
    assert "--resume" in result.output and "certified accuracy" not in result.output
    part = keraslip.Certificates.load(out)
    assert len(part) == 32 and not part.complete and (part.status[:16] != "pending").all()
    assert "PARTIAL" in result.output
    done = int((part.status != "pending").sum())
    right = int((part.certified & (part.label == digits.y_test[:32])).sum())
    line = (
        f"partial: {done} of 40 samples are settled, {right} of them certified with the right label"
    )
    assert line in result.output and f"{40 - done} are pending" in result.output
    assert not json.loads(out.with_suffix(".json").read_text())["complete"]

    blocks = []
    begin = cascade.Cascade.run
    monkeypatch.setattr(
        cascade.Cascade,
        "run",
        lambda self, samples: (blocks.append(len(samples)), begin(self, samples)),
    )
    result = call("certify", run, "--limit", 40, "--out", out, "--resume")
    assert result.exit_code == 0, result.output
    assert sum(blocks) <= 24  # the first block is not certified again
    whole = model.certify(digits.x_test[:40], digits.y_test[:40], verbose=0)
    np.testing.assert_array_equal(keraslip.Certificates.load(out).status, whole.status)


def test_certificates_are_not_replaced_silently_nor_mixed(run, tmp_path):
    out = tmp_path / "c.npz"
    arguments = ["certify", run, "--limit", 5, "--out", out]
    assert call(*arguments).exit_code == 0
    with pytest.raises(FileExistsError, match="--resume.*--overwrite"):
        raise call(*arguments).exception
    with pytest.raises(ValueError, match="epsilon 0.1.*cannot change"):
        raise call(*arguments, "--resume", "--epsilon", 0.2).exception
    with pytest.raises(ValueError, match="other weights or options"):
        raise call(*arguments, "--resume", "--effort", "frozen").exception
    assert call(*arguments, "--overwrite", "--epsilon", 0.2).exit_code == 0


def test_only_the_first_images_of_a_report_have_a_radius(model, digits, monkeypatch):
    monkeypatch.setattr(measure, "RADII", 6)
    x, y = digits.x_test[:20], digits.y_test[:20]
    radii, found = measure._certified(model, x, y, False)
    assert len(radii.radius) == 6 and found.radius is None and found.complete
    whole = model.certify(x, y, verbose=0)
    np.testing.assert_array_equal(found.certified, whole.certified)
    np.testing.assert_array_equal(found.label, whole.label)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["certify", "{run}", "--epsilon", "-1"], ["epsilon", "-1"]),
        (["certify", "{run}", "--epsilon", "nan"], ["epsilon", "nan"]),
        (["certify", "{run}", "--guarantee", "sure"], ["guarantee", "proved", "sure"]),
        (["certify", "{run}", "--delta", "2"], ["delta"]),
        (["certify", "{run}", "--split", "dev"], ["--split", "validation", "dev"]),
        (["certify", "{run}", "--out", "{tmp}/c.txt"], ["--out", ".npz"]),
        (["certify", "{run}", "--out", "{tmp}/c.npz", "--resume"], ["no certificates to resume"]),
        (["certify", "{tmp}"], ["{tmp}", "best.keras"]),
        (["certify", "{tmp}/none.keras"], ["no file or folder", "FILE.py:FUNCTION"]),
        (["certify", "{run}/config.json"], ["config.json", "cannot be loaded"]),
        (["certify", "{plain}"], ["pass --dataset"]),
        (["certify", "{other}", *DIGITS, *SMALL], ["(4, 4, 1)", "(8, 8, 1)", "digits"]),
        (["certify", "{other}", *SMALL], ["--dataset"]),
        (["certify", "{other}", *DIGITS], ["saved without an epsilon", "--epsilon"]),
        (["attack", "{other}", *DIGITS, *SMALL], ["(4, 4, 1)"]),
        (["attack", "{run}", "--dataset", "letters"], ["letters", "mnist"]),
        (["report", "{tmp}"], ["holds no run"]),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments, words, run, tmp_path, monkeypatch, capsys
):
    inputs = keras.Input((4, 4, 1))
    outputs = keraslip.layers.MaskedLipschitzDense(10)(keras.layers.Flatten()(inputs))
    keras.Model(inputs, outputs).save(tmp_path / "plain.keras")
    other = keraslip.LocalLipschitzModel(inputs, outputs)
    other.save(tmp_path / "other.keras")
    places = {"run": run, "tmp": tmp_path / "empty"}
    places |= {name: tmp_path / f"{name}.keras" for name in ("plain", "other")}
    (tmp_path / "empty").mkdir()
    filled = [argument.format(**places) for argument in arguments]
    monkeypatch.setattr(sys, "argv", ["keraslip", *filled])
    with pytest.raises(SystemExit) as stopped:
        keraslip.cli.main()
    assert stopped.value.code == 2
    *notes, line = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error:")
    # A plain model is converted, and that is said.
    assert ["Functional: converted" in note for note in notes] == [True] * ("{plain}" in arguments)
    assert all(word.format(**places) in line for word in words)


def test_the_alarm_is_one_line_and_exit_code_1(run, tmp_path, monkeypatch, capsys):
    def alarm(*arguments, **options):
        raise keraslip.CertificateViolation("An attack changed a certified label.", tmp_path)

    monkeypatch.setattr(keraslip.LocalLipschitzModel, "certify", alarm)
    monkeypatch.setattr(sys, "argv", ["keraslip", "certify", str(run), "--limit", "3"])
    with pytest.raises(SystemExit) as stopped:
        keraslip.cli.main()
    assert stopped.value.code == 1
    assert capsys.readouterr().err.startswith("error: An attack changed a certified label.")
    assert not list(run.glob("*.npz"))


def test_attack_writes_its_accuracy_and_a_picture(run, model, digits, tmp_path):
    out, picture = tmp_path / "a.json", tmp_path / "a.png"
    options = ["--limit", 60, "--epsilon", 0.2, "--steps", 20, "--restarts", 2, "--seed", 1]
    result = call("attack", run, *options, "--out", out, "--picture", picture)
    assert result.exit_code == 0, result.output
    report = json.loads(out.read_text())
    certified = model.certify(digits.x_test[:60], digits.y_test[:60], 0.2, verbose=0)
    least = certified.certified_accuracy(digits.y_test[:60])
    assert least <= report["pgd_accuracy"] < report["clean_accuracy"]
    assert report["fooled"] > 0 and 0 < report["perturbation"] <= 0.2
    assert (report["steps"], report["restarts"], report["seed"]) == (20, 2, 1)
    assert f"{100 * report['pgd_accuracy']:.1f} % under PGD" in result.output
    assert picture.stat().st_size > 10_000


def test_an_attack_that_fools_nobody_draws_nothing(run, tmp_path):
    picture = tmp_path / "a.png"
    result = call("attack", run, "--limit", 5, "--epsilon", 0, "--steps", 1, "--picture", picture)
    assert result.exit_code == 0, result.output
    assert "no picture" in result.output and not picture.exists()


def test_data_outside_of_the_models_range_are_attacked_without_one(run, model, digits, tmp_path):
    x, y, file = 2 * digits.x_test[:40] - 1, digits.y_test[:40], tmp_path / "scaled.npz"
    np.savez(file, x_train=x, y_train=y, x_test=x, y_test=y)
    result = call("attack", run, "--data", file, "--steps", 1, "--out", tmp_path / "a.json")
    assert result.exit_code == 0 and "lie from -1 to 1" in " ".join(result.output.split())
    assert json.loads((tmp_path / "a.json").read_text())["input_range"] is None
    withstood = measure.withstand(model, x, y, 0.1, y >= 0, 1, 0, verbose=0)
    assert withstood.shape == (40,)


def test_report_of_a_run(run, monkeypatch):
    monkeypatch.setattr(measure, "RADII", 20)
    monkeypatch.setattr(measure, "PGD_STEPS", 5)
    monkeypatch.setattr(report_files, "MEASURED", slice(None, None, 40))
    result = call("report", run, "--certify-samples", 50, "--attack-samples", 30)
    assert result.exit_code == 0, result.output
    report = json.loads((run / "report.json").read_text())
    assert report["samples"] == 50 and report["samples_all"] == 360
    assert report["radius_samples"] == 20 and report["pgd_samples"] == 30
    assert report["seed"] == 5
    assert "clean, all 360 samples" in result.output
    found = keraslip.Certificates.load(run / "certificates.npz")
    assert len(found) == 50 and found.radius is None
    assert found.certified.mean() == pytest.approx(report["certified_accuracy"])
    for name in ("curve.png", "images.png", "report.md"):
        assert (run / name).exists()


def test_ctrl_c_in_a_report_says_how_to_make_it(run, monkeypatch):
    def stopped(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(keraslip.LocalLipschitzModel, "certify", stopped)
    result = call("report", run)
    assert result.exit_code == 130
    assert f"keraslip report {run}" in result.output
