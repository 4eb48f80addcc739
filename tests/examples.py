"""How many examples hypothesis tries."""

import keras


def examples(count: int) -> int:
    """The number given; a quarter of it on JAX, which compiles every operation for every new shape."""
    return max(4, count // 4) if keras.backend.backend() == "jax" else count
