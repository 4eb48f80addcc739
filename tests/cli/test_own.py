"""Data and networks of one's own on the command line: an .npz file, a function in a Python file."""

import json
import sys

import keras
import numpy as np
import pytest

import keraslip
import keraslip.cli
from keraslip import datasets
from keraslip.cli import report_files
from keraslip.cli.data import far_epsilon
from keraslip.cli.usual import is_own, own_file

pytestmark = pytest.mark.any_backend("what the commands make of files; training is tested on each")

NETWORKS = """
import keras
import keraslip
from keras import layers


@keras.saving.register_keras_serializable("mine")
class Own(keras.initializers.Orthogonal):
    pass


def plain(input_shape=(6,), classes=3):
    hidden = layers.Dense(8, activation="relu")
    return keras.Sequential([keras.Input(input_shape), hidden, layers.Dense(classes, activation="softmax")])


def clipped(input_shape, classes, width=1.0, threshold=1.0):
    inputs = keras.Input(input_shape)
    x = keraslip.layers.MaskedLipschitzDense(int(8 * width), kernel_initializer=Own())(inputs)
    x = keraslip.layers.ClippedReLU(threshold)(x)
    return keraslip.LocalLipschitzModel(inputs, keraslip.layers.MaskedLipschitzDense(classes)(x))


def probable(input_shape=(6,), classes=3):
    inputs = keras.Input(input_shape)
    x = keraslip.layers.MaskedLipschitzDense(classes)(inputs)
    return keraslip.LocalLipschitzModel(inputs, layers.Softmax()(x))


def nothing():
    return None
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A folder with networks and a table of three well parted classes, some features beyond [0, 1]."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "nets.py").write_text(NETWORKS)
    draw = np.random.default_rng(0)
    y = draw.integers(0, 3, 120)
    x = 3.0 * np.eye(3).repeat(2, axis=1)[y] + 0.3 * draw.standard_normal((120, 6))
    parts = {"x_train": x[:80], "y_train": y[:80], "x_test": x[80:], "y_test": y[80:]}
    np.savez(folder / "table.npz", **parts, class_names=np.array(["low", "middle", "high"]))
    return folder


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["keraslip", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        keraslip.cli.main()
    return stopped.value.code or 0


def forget(monkeypatch):
    """As if the file had not been run."""
    monkeypatch.delitem(sys.modules, "keraslip_own_nets")
    monkeypatch.delitem(keras.saving.get_custom_objects(), "mine>Own")


def test_a_function_stands_behind_the_last_colon():
    drive = "C:\\nets\\my.py"
    assert own_file(f"{drive}:build") == own_file(drive) == drive
    assert own_file("my.py:build") == "my.py" and not is_own("C:\\runs\\first")


@pytest.mark.parametrize("verb", ["check", "certify", "attack", "report", "export", "convert"])
def test_code_that_a_folder_names_is_not_run(verb, tmp_path, monkeypatch):
    inputs = keras.Input((6,))
    model = keraslip.LocalLipschitzModel(inputs, keraslip.layers.MaskedLipschitzDense(3)(inputs))
    model.save(tmp_path / "model.keras")
    (tmp_path / "evil.py").write_text("raise KeyboardInterrupt")
    settings = {"application": f"{tmp_path}/evil.py:net", "dataset": "absent.npz", "seed": 0}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    monkeypatch.setattr(keraslip.export, "export_model", lambda *_, **__: None)
    new = {"export": ["--out", tmp_path / "new"], "convert": [tmp_path / "new.keras"]}
    # The model loads; the data are not there.
    expected = 2 if verb in ("certify", "attack", "report") else 0
    assert run(monkeypatch, verb, tmp_path, *new.get(verb, [])) == expected
    assert (
        run(monkeypatch, verb, tmp_path, *new.get(verb, []), "--code", tmp_path / "evil.py") == 130
    )


def test_a_table_trains_certifies_and_is_attacked(own, tmp_path, monkeypatch, capsys):
    # Attacks at a hundred epsilons take longer than all the rest.
    monkeypatch.setattr(report_files, "_curve", lambda *_: None)
    data, out = own / "table.npz", tmp_path / "run"
    few = ("--epochs", 8, "--batch-size", 16, "--learning-rate", 0.03)
    some = ("--certify-samples", 20, "--attack-samples", 20)
    net = ("--model", f"{own}/nets.py:clipped", "--data", data, "--epsilon", 0.2)
    assert run(monkeypatch, "train", *net, *few, *some, "--out", out) == 0
    assert "more than half" not in capsys.readouterr().out
    assert not (out / "images.png").exists()
    assert json.loads((out / "report.json").read_text())["certified_accuracy"] > 0.5
    # As in a new process: the file that the folder names is run only where the user names it.
    forget(monkeypatch)
    assert run(monkeypatch, "certify", out, "--limit", 5, "--overwrite") == 2
    assert f"--code {own}/nets.py" in capsys.readouterr().err
    assert "keraslip_own_nets" not in sys.modules
    code = ("--code", own / "nets.py")
    assert run(monkeypatch, "certify", out, "--limit", 5, "--overwrite", *code) == 0
    assert run(monkeypatch, "attack", out, "--limit", 5, "--steps", 2, *code) == 0
    assert run(monkeypatch, "attack", out, "--limit", 5, "--picture", tmp_path / "a.png") == 2
    assert "holds none" in capsys.readouterr().err


def test_data_of_a_run_that_lie_elsewhere_now_are_named(own, tmp_path, monkeypatch, capsys):
    inputs = keras.Input((6,))
    model = keraslip.LocalLipschitzModel(inputs, keraslip.layers.MaskedLipschitzDense(3)(inputs))
    model.compile(epsilon=0.1)
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "best.keras")
    settings = {"application": "nets.py:net", "dataset": "table.npz", "seed": 0, "epochs": 1}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    monkeypatch.setattr(report_files, "_curve", lambda *_: None)
    few = {"report": ("--certify-samples", 3, "--attack-samples", 0), "certify": ("--limit", 3)}
    for verb, options in few.items():
        assert run(monkeypatch, verb, tmp_path, *options) == 2
        assert "are in table.npz, which is not there. Name the file with --data" in " ".join(
            capsys.readouterr().err.split()
        )
        assert run(monkeypatch, verb, tmp_path, *options, "--data", own / "table.npz") == 0


def test_a_run_begins_with_the_weights_of_a_plain_model(own, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report_files, "write_report", lambda *_: None)
    keras.utils.set_random_seed(5)
    layers = keras.layers
    hidden = [layers.Dense(8, activation="relu"), layers.Dense(3, activation="softmax")]
    plain = keras.Sequential([keras.Input((6,)), *hidden])
    plain.save(tmp_path / "plain.keras")
    options = ("--data", own / "table.npz", "--epsilon", 0.1, "--epochs", 1)
    rate = ("--learning-rate", 1e-9)
    train = ("train", "--model", f"{own}/nets.py:plain", *options, *rate)
    start = ("--start", tmp_path / "plain.keras")
    assert run(monkeypatch, *train, *start, "--out", tmp_path / "a") == 0
    assert "converted" in capsys.readouterr().err
    trained = keras.models.load_model(tmp_path / "a" / "last.keras")
    kernels = [w for w in trained.get_weights() if w.shape in ((6, 8), (8, 3))]
    for mine, given in zip(kernels, (plain.get_weights()[0], plain.get_weights()[2]), strict=True):
        np.testing.assert_allclose(mine, given, atol=1e-5)


@pytest.mark.parametrize("name", ["plain", "probable"])
def test_a_function_stands_for_a_model(own, tmp_path, monkeypatch, capsys, name):
    options = ("--data", own / "table.npz", "--epsilon", 0.1, "--limit", 4)
    out = tmp_path / "found.npz"
    network = f"{own}/nets.py:{name}"
    assert run(monkeypatch, "check", network) == 0
    assert "the softmax reads" in " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert run(monkeypatch, "attack", network, *options, "--steps", 1) == 0
    assert run(monkeypatch, "certify", network, *options, "--out", out) == 0
    assert json.loads(out.with_suffix(".json").read_text())["samples"] == 4


@pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning:keras_tuner")
@pytest.mark.filterwarnings("ignore:getName:DeprecationWarning:keras_tuner")
def test_a_plain_network_trains_and_thresholds_are_searched(own, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report_files, "write_report", lambda *_: None)
    options = ("--data", own / "table.npz", "--epsilon", 0.1, "--epochs", 1)
    plain = ("train", "--model", f"{own}/nets.py:plain", *options, "--out", tmp_path / "a")
    assert run(monkeypatch, *plain) == 0
    search = ("tune", "--model", f"{own}/nets.py:clipped", *options, "--out", tmp_path / "b")
    assert run(monkeypatch, *search, "--trials", 1) == 0
    assert "threshold" in (tmp_path / "b" / "results.csv").read_text()
    for verb, place, name in (("train", "a", "plain"), ("tune", "b", "clipped")):
        monkeypatch.delitem(sys.modules, "keraslip_own_nets", raising=False)
        again = (verb, "--out", tmp_path / place, "--resume")
        config = tmp_path / place / ("config.json" if verb == "train" else "search.json")
        config.write_text(config.read_text().replace(f"{own}/table.npz", "table.npz"))
        assert run(monkeypatch, *again) == 2
        assert f"--model {own}/nets.py:{name}" in capsys.readouterr().err
        assert "keraslip_own_nets" not in sys.modules
        again = (*again, "--model", f"{own}/nets.py:{name}")
        assert run(monkeypatch, *again) == 2
        assert "Name the file with --data" in " ".join(capsys.readouterr().err.split())
        assert run(monkeypatch, *again, "--data", own / "table.npz") == 0


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        ("nets.py:missing", ("--data", "table.npz"), "has no function 'missing'"),
        ("nets.py:nothing", ("--data", "table.npz"), "must return a Keras model"),
        ("absent.py:net", ("--data", "table.npz"), "There is no file"),
        ("nets.py:plain", ("--data", "absent.npz"), "There is no file"),
        ("nets.py:plain", (), "needs --dataset"),
    ],
)
def test_what_is_missing_is_named(own, tmp_path, monkeypatch, capsys, model, options, said):
    places = [own / word if word.endswith(".npz") else word for word in options]
    network = ("--model", f"{own}/{model}", "--epsilon", 0.1, *places)
    assert run(monkeypatch, "train", *network, "--out", tmp_path / "new") == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def good():
    return {
        "x_train": np.ones((4, 3), "float32"),
        "y_train": np.array([0, 1, 0, 1]),
        "x_test": np.ones((2, 3), "uint8"),
        "y_test": np.array([[0], [1]]),
    }


def test_whole_numbers_are_divided_and_columns_of_classes_flattened(tmp_path):
    np.savez(tmp_path / "a.npz", **good())
    data = datasets.load(str(tmp_path / "a.npz"), validation_split=1)
    assert (len(data.x_train), len(data.x_val), len(data.x_test)) == (3, 1, 2)
    assert data.x_test[0, 0] == np.float32(1) / np.float32(255) and data.x_train[0, 0] == 1.0
    assert data.y_test.tolist() == [0, 1] and data.num_classes == 2 and data.input_shape == (3,)
    assert not data.are_images


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"y_train": np.eye(4)}, "argmax"),
        ({"y_train": np.array([0, 1, 0])}, "argmax"),
        ({"y_train": np.array([0.5, 1, 0, 1])}, "whole numbers"),
        ({"y_train": np.array([-1, 1, 0, 1])}, "whole numbers"),
        ({"x_train": np.full((4, 3), np.nan)}, "not finite"),
        ({"x_train": np.array([["a"], ["b"], ["c"], ["d"]])}, "must hold numbers"),
        ({"x_test": np.ones((2, 4))}, "another shape"),
        ({"class_names": np.array(["one"])}, "1 class names for at least 2"),
        ({"x_val": np.ones((2, 3))}, "shapes"),
    ],
)
def test_arrays_that_are_no_data_of_a_classifier_are_refused(tmp_path, changed, said):
    np.savez(tmp_path / "a.npz", **good() | changed)
    with pytest.raises(ValueError, match=said):
        datasets.load(str(tmp_path / "a.npz"))


def test_files_that_hold_no_data_are_refused(tmp_path):
    (tmp_path / "a.npz").write_text("nothing")
    with pytest.raises(ValueError, match="cannot be read"):
        datasets.load(str(tmp_path / "a.npz"))
    np.savez(tmp_path / "b.npz", images=np.ones(3))
    with pytest.raises(ValueError, match=r"np\.savez.*images"):
        datasets.load(str(tmp_path / "b.npz"))


def test_an_epsilon_beyond_half_of_the_distance_between_classes_is_told(own):
    data = datasets.load(str(own / "table.npz"))
    distance = datasets.class_distance(data.x_train, data.y_train)
    # Centres lie 6 apart, and noise brings the nearest ones nearer.
    assert 4.0 < distance < 5.5
    assert far_epsilon(data, 0.49 * distance) is None
    assert f"epsilon {0.51 * distance:.4g} is more than half" in far_epsilon(data, 0.51 * distance)


def test_classes_of_two_points_are_as_far_apart_as_these():
    x, y = np.array([[0.0, 3.0], [4.0, 0.0], [0.0, 3.5]], "float32"), np.array([0, 1, 0])
    assert datasets.class_distance(x, y) == 5.0
    assert datasets.class_distance(x, np.zeros(3)) == np.inf
    assert datasets.class_distance(x[:0], y[:0]) == np.inf
