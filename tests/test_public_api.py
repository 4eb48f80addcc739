"""`import keraslip` alone reaches every public name, and does nothing else."""

import importlib
import subprocess
import sys

import pytest

import keraslip

words_alone = pytest.mark.any_backend("what is imported before a backend is")
PUBLIC = {
    "": [
        "LocalLipschitzModel",
        "check_model",
        "float32_copy",
        "from_keras",
        "list_applications",
        "register_rule",
        "__version__",
    ],
    "layers": [
        "AOLConv2D",
        "AOLDense",
        "ClippedMaxMin",
        "ClippedReLU",
        "DeltaOrthogonal",
        "MaskedLipschitzConv2D",
        "MaskedLipschitzDense",
        "MaxMin",
    ],
    "losses": [
        "BCPLoss",
        "CalibratedLipschitzMarginLoss",
        "CertifiedRadiusLoss",
        "EMMALoss",
        "GloRoLoss",
        "LogitAnnealingLoss",
        "OffsetCrossEntropyLoss",
        "TradesLoss",
    ],
    "schedules": ["Constant", "LinearRamp", "PiecewiseLinear"],
    "attacks": ["pgd_l2"],
    "callbacks": ["LipschitzMonitor"],
    "datasets": ["load", "Dataset"],
    "distribution": ["ProcessBatches", "data_parallel"],
    "applications": [
        "CIFAR4C3F",
        "CIFAR6C2F",
        "Digits2C2F",
        "MNIST4C3F",
        "TinyImageNet8C2F",
        "card",
        "get",
    ],
}
NAMES = [f"{module}.{name}".lstrip(".") for module, names in PUBLIC.items() for name in names]
# The edges of the library, and what they are built on: only their users pay for importing them.
EDGES = [
    "matplotlib",
    "sklearn",
    "scipy",
    "tensorflow_datasets",
    "keras_tuner",
    "typer",
    "rich",
    "tensorboard",
    "keraslip.applications",
    "keraslip.attacks",
    "keraslip.callbacks",
    "keraslip.cli",
    "keraslip.datasets",
    "keraslip.distribution",
    "keraslip.plots",
    "keraslip.tuning",
]

# What Keras reads from a saved model by the name under which it is registered.
SAVED = [*PUBLIC["layers"], *PUBLIC["losses"], *PUBLIC["schedules"], "LocalLipschitzModel"]
# Heavy imports that words of help do not need, keraslip's own and those of its libraries.
HEAVY = {"keras", "tensorflow", "jax", "torch", "numpy", "scipy", "matplotlib", "sklearn"}


def run(code: str) -> str:
    """What a fresh interpreter prints for `code`."""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def imported(*arguments: str) -> set[str]:
    """Top-level packages that a fresh interpreter has imported by the end of `arguments`."""
    command = [sys.executable, "-X", "importtime", *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    lines = (line for line in result.stderr.splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def test_importing_keraslip_alone():
    """It loads no edge, registers what is saved, changes no setting, prints nothing; every name is there."""
    code = (
        "import sys, keras\n"
        "settings = keras.config.floatx(), keras.config.image_data_format()\n"
        "before = set(sys.modules)\n"
        "import keraslip\n"
        # A backend may bring some of these along, so only what keraslip adds to Keras counts.
        f"edges = (set(sys.modules) - before) & set({EDGES!r})\n"
        "assert not edges, edges\n"
        "known = keras.saving.get_registered_object\n"
        f"unknown = [name for name in {SAVED!r} if known(f'keraslip>{{name}}') is None]\n"
        "assert not unknown, unknown\n"
        "assert settings == (keras.config.floatx(), keras.config.image_data_format())\n"
        # A layer that is made on import would fix the policy and take the first name.
        "for name in keraslip.__all__: getattr(keraslip, name)\n"
        "keras.config.set_floatx('float16')\n"
        "assert keras.config.dtype_policy().name == 'float16'\n"
        "assert keras.layers.Dense(1).name == 'dense'\n"
    )
    assert run(code + "\n".join(f"keraslip.{name}" for name in NAMES)) == ""


@words_alone
@pytest.mark.parametrize(
    "arguments", [["--help"], ["train", "--help"], ["--version"]], ids=" ".join
)
def test_words_of_help_import_nothing_heavy(arguments):
    found = imported("-m", "keraslip", *arguments)
    assert "keraslip" in found and not found & HEAVY


@words_alone
def test_the_independent_checker_imports_no_keras():
    found = imported("-m", "keraslip.certify.check", "--help")
    assert "numpy" in found and not found & {"keras", "tensorflow", "jax", "torch"}


@pytest.mark.parametrize("module", PUBLIC)
def test_every_exported_name_exists(module):
    namespace = importlib.import_module(f"keraslip.{module}".rstrip("."))
    assert len(set(namespace.__all__)) == len(namespace.__all__)
    assert set(PUBLIC[module]) <= set(namespace.__all__)
    for name in namespace.__all__:
        assert getattr(namespace, name) is not None


@pytest.mark.parametrize("module", [module for module in PUBLIC if module])
def test_every_public_name_has_a_docstring(module):
    namespace = importlib.import_module(f"keraslip.{module}")
    assert [name for name in PUBLIC[module] if not getattr(namespace, name).__doc__] == []


def test_dir_shows_the_public_names():
    assert set(keraslip.__all__) <= set(dir(keraslip))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = keraslip.no_such_name
