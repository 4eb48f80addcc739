"""What the backend's own functions round, at floats of all sizes: far less than activations say of them."""

import keras
import numpy as np
import pytest
from keras import ops

from keraslip import backend
from keraslip.arithmetic import float64
from keraslip.certify.norms.rounding import LARGEST, SMALLEST, UNIT32
from keraslip.rules.activations import FUNCTIONS

#: Certificates count on this many times what is seen here.
SAFETY = 4.0
NAMES = [name for name in FUNCTIONS if hasattr(ops, name) or hasattr(keras.activations, name)]


def floats():
    """Near zero and far away, the smallest and large ones, and where functions saturate."""
    rng = np.random.default_rng(0)
    sizes = 10.0 ** rng.uniform(-45.0, 37.0, 60_000) * rng.choice([-1.0, 1.0], 60_000)
    parts = np.linspace(-12, 12, 160_001), np.linspace(-110, 110, 20_001), sizes
    return np.concatenate(parts).astype("float32")


@pytest.fixture(scope="module")
def executed():
    """Outputs of every function and both GELUs, by the way they were run."""
    x = floats()
    functions = [getattr(ops, name, None) or getattr(keras.activations, name) for name in NAMES]
    functions.append(keras.activations.gelu)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    ways = backend.ways_to_run().items()
    return x, {
        way: compile_for(model, lambda x: [function(x) for function in functions])(x)
        for way, compile_for in ways
    }


@pytest.mark.parametrize("name", [*NAMES, "exact gelu"])
def test_a_function_rounds_no_more_than_it_may(name, executed):
    x, ways = executed
    kind = FUNCTIONS["gelu" if name == "exact gelu" else name]
    spelling = keras.activations.gelu if name == "exact gelu" else getattr(ops, name, None)
    act, place = kind(spelling).to(float64), [*NAMES, "exact gelu"].index(name)
    z = x.astype("float64")
    exact = act.call(z)
    size = act.offset + np.abs(exact) + act.lipschitz * np.abs(z)
    fits = act.peak(size) < LARGEST  # others are not certified
    assert fits[np.abs(x) < 1e18].all()
    flushed = (1.0 + act.lipschitz) * 2.0 * SMALLEST
    assert len(ways)
    for way, outputs in ways.items():
        with np.errstate(invalid="ignore"):
            off = np.abs(outputs[place].astype("float64") - exact) - flushed
        off = np.where(fits, off, 0.0)
        assert (SAFETY * off <= act.roundings * UNIT32 * size).all(), way
