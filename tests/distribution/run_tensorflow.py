"""Two logical CPUs under MirroredStrategy: `python -m tests.distribution.run_tensorflow`."""

from typing import Any

import numpy as np
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)

from tests.distribution import scenario  # noqa: E402

#: Last batches of five, which two devices share as three and two, and of one, of which one has nothing.
UNEVEN, SINGLE = 21, 17


def main() -> None:
    """Trains on one device and on two, and compares."""
    x, y = scenario.data(UNEVEN)
    alone = scenario.build()
    expected = scenario.fit(alone, scenario.batches(UNEVEN), (x, y))
    certified = scenario.certify(alone, x, y)
    scenario.assert_trained(expected, steps=6)

    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = scenario.build()
    scenario.assert_same(scenario.fit(model, scenario.batches(UNEVEN), (x, y)), expected)
    scenario.assert_same(scenario.certify(model, x, y), certified)
    assert_replicas_agree(model)

    once = scenario.fit(alone, scenario.batches(SINGLE))
    scenario.assert_same(scenario.fit(model, scenario.batches(SINGLE)), once)
    assert_replicas_agree(model)


def assert_replicas_agree(model: Any) -> None:
    """Every device holds the very same weights, warm starts and step."""
    for weight in model.weights:
        first, second = (part.numpy() for part in weight.value.values)
        np.testing.assert_array_equal(first, second, err_msg=weight.path)


if __name__ == "__main__":
    main()
