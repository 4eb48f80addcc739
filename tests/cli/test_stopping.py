"""Ctrl-C where its exception is lost, or comes before there is anything to say."""

import os
import signal

import pytest
from rich.console import Console

import keraslip.cli
from keraslip.certify import CertificateViolation
from keraslip.cli.stopping import Stopped, listening, stop_if_heard, stopped_with
from tests.cli.few_digits import few_digits

pytestmark = pytest.mark.any_backend("signals and what is said of them")


@pytest.fixture(autouse=True)
def foreground():
    """A process started in the background may have been told to ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press():
    os.kill(os.getpid(), signal.SIGINT)


def test_an_exception_that_was_swallowed_comes_at_the_next_batch(capsys):
    with pytest.raises(Stopped) as stopped, listening(), stopped_with(Console(), "words"):
        try:
            press()
        except BaseException:
            pass
        stop_if_heard()
    assert stopped.value.code == 130 and "words" in capsys.readouterr().out


def test_an_error_that_the_backend_made_of_it_is_a_stop(capsys):
    with pytest.raises(Stopped), listening(), stopped_with(Console(), "words"):
        try:
            press()
        except KeyboardInterrupt:
            raise RuntimeError("the graph was cancelled") from None
    assert "words" in capsys.readouterr().out
    with pytest.raises(RuntimeError), listening(), stopped_with(Console(), "words"):
        raise RuntimeError("of its own")


def test_a_broken_certificate_is_told_after_ctrl_c_too():
    with pytest.raises(CertificateViolation), listening(), stopped_with(Console(), "words"):
        try:
            press()
        except KeyboardInterrupt:  # as `certify` does, to keep what it has
            raise CertificateViolation("an attack succeeded") from None


@pytest.mark.parametrize("moment", ["while the data are read", "while the model is built"])
def test_before_there_is_a_run_ctrl_c_is_told_too(moment, tmp_path, monkeypatch, capsys):
    from keraslip import datasets
    from keraslip.cli import training

    digits = few_digits()
    monkeypatch.setattr(datasets, "load", lambda *_: digits)
    place, name = (datasets, "load") if "data" in moment else (training, "build")
    monkeypatch.setattr(place, name, lambda *_: press())
    out = ["--out", str(tmp_path / "run")]
    monkeypatch.setattr(
        "sys.argv", ["keraslip", "train", "--application", "digits_2c2f", "--epochs", "1", *out]
    )
    with pytest.raises(SystemExit) as stopped:
        keraslip.cli.main()
    assert stopped.value.code == 130 and "Stopped." in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
