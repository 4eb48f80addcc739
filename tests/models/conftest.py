"""Models of a test go back to the pool; what compiles long is left out where it is not meant."""

import pytest

from tests.models import nets


@pytest.fixture(autouse=True)
def _returned():
    yield
    nets.IN_USE.clear()


@pytest.fixture(autouse=True, scope="module")
def _emptied():
    yield
    nets.POOL.clear()


@pytest.fixture(autouse=True)
def _gap_left_out(request, monkeypatch, backend):
    """Spares the first fit of every model two more compiled passes, but in tests marked `gap`.

    On PyTorch, which compiles nothing, `lipschitz_gap` is measured in every test.
    """
    if backend == "torch" or request.node.get_closest_marker("gap"):
        return
    from keraslip.models.gap import LipschitzGap

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["lipschitz_gap"] = 1.0

    monkeypatch.setattr(LipschitzGap, "on_train_begin", lambda self, logs=None: None)
    monkeypatch.setattr(LipschitzGap, "on_epoch_end", on_epoch_end)
