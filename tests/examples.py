"""How many examples hypothesis tries."""

import os

import keras

#: `nox -s slow` tries more.
TIMES = int(os.environ.get("KERASLIP_TEST_EXAMPLES", "1"))


def examples(count: int) -> int:
    """The number given; a quarter of it on JAX, which compiles every operation for every new shape."""
    few = max(4, count // 4) if keras.backend.backend() == "jax" else count
    return TIMES * few
