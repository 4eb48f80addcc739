"""How far classes lie apart: what an epsilon can be held against."""

import numpy as np
from scipy.spatial.distance import cdist

from keraslip.datasets.dataset import Images, Labels


def class_distance(x: Images, y: Labels, samples: int = 500) -> float:
    """The typical L2 distance from a sample to the nearest one of another class.

    No classifier can have the right label in all of two balls that meet: at an epsilon beyond half of this
    distance about half of the samples cannot be certified with the right label, whatever the network. It is
    seen on the first samples alone, and grows smaller the more there are.

    Args:
        x: Samples `(n, *shape)`.
        y: Classes `(n,)`.
        samples: How many are looked at.

    Returns:
        The median in the units of x; infinite if there is one class only.

    Example:

    ```python
    digits = keraslip.datasets.load("digits")
    print(keraslip.datasets.class_distance(digits.x_train, digits.y_train))  # about 2
    ```
    """
    if not len(x):
        return np.inf
    x, y = x[:samples].reshape(min(len(x), samples), -1), np.asarray(y[:samples])
    apart = cdist(x, x)
    apart[y[:, None] == y[None]] = np.inf
    return float(np.median(apart.min(axis=1)))
