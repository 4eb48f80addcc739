"""Two host devices under DataParallel: `python -m tests.distribution.run_jax`."""

import os

FLAGS = os.environ.get("XLA_FLAGS", "")
os.environ["XLA_FLAGS"] = f"{FLAGS} --xla_force_host_platform_device_count=2"

import jax  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

from tests.distribution import scenario  # noqa: E402

SAMPLES = 20
# Compiling takes longer than the run.
jax.config.update("jax_disable_most_optimizations", True)


def main() -> None:
    """Trains on one device and on two, and compares."""
    assert len(jax.devices()) == 2
    x, y = scenario.data(SAMPLES)
    alone = scenario.build(power_iterations=1)
    expected = scenario.fit(alone, scenario.batches(SAMPLES), (x, y))
    scenario.assert_trained(expected, steps=6)

    keras.distribution.set_distribution(keras.distribution.DataParallel())
    model = scenario.build(power_iterations=1)
    scenario.assert_same(scenario.fit(model, scenario.batches(SAMPLES), (x, y)), expected)
    # One program for all devices: even what is learnt of the norms is that of one device.
    for one, two in zip(alone.warm_starts.vectors, model.warm_starts.vectors, strict=True):
        np.testing.assert_allclose(scenario.convert(two), scenario.convert(one), atol=1e-4)
    assert_devices_agree(model)
    found = scenario.certify(model, x, y)
    refuse_uneven_batches(model)

    keras.distribution.set_distribution(None)
    scenario.assert_same(found, scenario.certify(alone, x, y))


def assert_devices_agree(model: keras.Model) -> None:
    """Every device holds the very same weights, warm starts and step."""
    for weight in model.weights:
        first, second = (np.asarray(shard.data) for shard in weight.value.addressable_shards)
        assert first.shape == tuple(weight.shape)
        np.testing.assert_array_equal(first, second, err_msg=weight.path)


def refuse_uneven_batches(model: keras.Model) -> None:
    """What two devices cannot share is refused, with the remedy."""
    x, y = scenario.data(21)
    refused = pytest.raises(ValueError, match=r"drop_remainder=True.*Received: ")
    with refused:
        model.fit(x, y, batch_size=8, epochs=1, verbose=0)
    with refused:
        model.fit(x[:16], y[:16], batch_size=8, epochs=1, validation_data=(x, y), verbose=0)
    with refused:
        model.evaluate(x, y, batch_size=7, verbose=0)
    with refused:
        model.fit(scenario.batches(21), epochs=1, shuffle=False, verbose=0)
    model.fit(scenario.batches(21, drop_remainder=True), epochs=1, shuffle=False, verbose=0)


if __name__ == "__main__":
    main()
