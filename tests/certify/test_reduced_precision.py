"""Less precision than float32: refused by name at every door."""

import numpy as np
import pytest

from keraslip.certify.run import cascade
from tests.certify.nets import dense_model

X = np.array([[0.9, 0.1, 0.2]], "float32")
ASKED = {"epsilon": 0.1, "verbose": False, "workers": 1, "batch_size": 16}
BF16 = ("DNNL_DEFAULT_FPMATH_MODE", "BF16")
REFUSED = "about float32 execution.*DNNL_DEFAULT_FPMATH_MODE=BF16.*unset it"


@pytest.mark.parametrize(
    "options", [{}, {"arithmetic": "float64"}, {"effort": "frozen"}, {"guarantee": "probabilistic"}]
)
def test_certification_refuses_a_switch_and_works_without(monkeypatch, options):
    made = dense_model([np.eye(3)])
    assert made.certify(X, **ASKED, **options).certified[0]
    monkeypatch.setenv(*BF16)
    with pytest.raises(ValueError, match=REFUSED):
        made.certify(X, **ASKED, **options)
    monkeypatch.delenv(BF16[0])
    assert made.certify(X, **ASKED, **options).certified[0]


@pytest.mark.parametrize("format", ["tf_saved_model", "onnx"])
def test_export_refuses_a_switch(monkeypatch, tmp_path, format):
    monkeypatch.setenv(*BF16)
    with pytest.raises(ValueError, match=REFUSED):
        dense_model([np.eye(3)]).export(tmp_path / "served", format=format, verbose=False)
    assert list(tmp_path.iterdir()) == []


def test_a_switch_in_the_middle_is_refused(monkeypatch):
    def batches():
        yield X
        monkeypatch.setenv(*BF16)

    with pytest.raises(ValueError, match=REFUSED):
        dense_model([np.eye(3)]).certify(batches(), **ASKED)


def test_a_switch_that_is_on_at_the_end_is_refused(monkeypatch):
    run = cascade.Cascade.run

    def switched(self, *args):
        run(self, *args)
        monkeypatch.setenv(*BF16)

    monkeypatch.setattr(cascade.Cascade, "run", switched)
    with pytest.raises(ValueError, match=REFUSED):
        dense_model([np.eye(3)]).certify(X, **ASKED)
