"""Handwritten digits that come with scikit-learn: 1,797 real scans of 8 x 8 pixels."""

from typing import Any

import numpy as np

from keraslip.datasets.dataset import RawDataset
from keraslip.datasets.splits import hold_out

TEST_IMAGES = 360  # a fifth


def read() -> RawDataset:
    """Read all scans and set the test images apart, the same ones in every run.

    Reference:
        E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
        Repository, 1998.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            'The digits come with scikit-learn: pip install "keraslip[datasets]"'
        ) from error
    scans: Any = load_digits()
    x, y = scans.images[..., None].astype(np.uint8), scans.target.astype(np.int64)
    train, test = hold_out(y, TEST_IMAGES, seed=0, stratify=True)
    names = tuple(str(name) for name in scans.target_names)
    return RawDataset(x[train], y[train], x[test], y[test], names, highest=16)
