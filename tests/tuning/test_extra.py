"""Without keras-tuner the rest works, and what needs it says what to install."""

import importlib
import importlib.util
import sys

import pytest

import keraslip


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
