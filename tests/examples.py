"""How many examples hypothesis tries."""

import os

import keras

#: `nox -s slow` tries more.
TIMES = int(os.environ.get("KERASLIP_TEST_EXAMPLES", "1"))


#: What a backend tries of the examples that PyTorch does: JAX compiles every operation for every new shape,
#: TensorFlow traces every new network.
SHARE = {"jax": 4, "tensorflow": 2}


def examples(count: int) -> int:
    """The number given on PyTorch; of the same examples, the first few on the others."""
    return TIMES * max(4, count // SHARE.get(keras.backend.backend(), 1))
