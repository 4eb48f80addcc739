"""Without keras-tuner the rest works, and what needs it says what to install."""

import importlib
import importlib.util
import subprocess
import sys

import pytest

import keraslip

pytestmark = pytest.mark.any_backend("packages and messages")


@pytest.mark.parametrize("missing", ["keras_tuner", "tensorboard"])
def test_a_missing_package_is_an_import_error_that_names_the_extra(missing, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == missing else find(name)
    )
    monkeypatch.delitem(sys.modules, "keraslip.tuning", raising=False)
    monkeypatch.delitem(vars(keraslip), "tuning", raising=False)
    with pytest.raises(ImportError, match=r"keraslip\[tuner\]"):
        _ = keraslip.tuning


def test_the_command_names_the_extra(tmp_path):
    """In a process of its own, where keras-tuner cannot be imported."""
    code = (
        "import sys, importlib.util as util; find = util.find_spec; sys.modules['keras_tuner'] = None; "
        "util.find_spec = lambda name, *rest: None if name == 'keras_tuner' else find(name, *rest); "
        f"sys.argv = ['keraslip', 'tune', '--out', {str(tmp_path / 'none')!r}]; "
        "from keraslip.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode != 0 and "keraslip[tuner]" in done.stderr + done.stdout
