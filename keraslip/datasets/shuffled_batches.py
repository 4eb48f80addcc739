"""Training batches in an order that a resumed run finds again."""

import math
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from keraslip.checks import check_count
from keraslip.datasets.ahead import Ahead
from keraslip.datasets.augment import AUGMENTATIONS, Augment

# First word of each random stream's seed, so that no two streams ever coincide.
ORDER, CHANGES = 0, 1


class ShuffledBatches(keras.utils.PyDataset):
    """Batches whose order depends on the seed and the epoch alone.

    Epoch e visits the samples in a permutation drawn from (seed, e); augmentation is drawn from
    (seed, e, batch index). A run that is stopped after k epochs and resumed with `start_epoch=k`
    therefore sees exactly the batches that an uninterrupted run would have seen.

    While a batch is in use a thread makes the next one, so that training does not wait for it.

    Pass `shuffle=False` to `fit`: with its default Keras would shuffle the order of the batches
    again, by a generator that no resumed run can restore. Leave `steps_per_epoch` unset. An
    object counts the epochs of one `fit` after the other; call `set_epoch` where one was
    interrupted, or where you iterate over the batches yourself.

    Args:
        x: Array of shape (n, ...).
        y: Array of shape (n, ...).
        batch_size: Samples in a batch.
        seed: Non-negative integer.
        augment: `"crop_flip"` (for images of shape (height, width, channels): shift by up to
            four pixels, mirror half of them), `"crop2_flip"` (two pixels), `"flip"` (only mirror),
            `"shift_rotate"` (shift by up to 1/14 of each side, two pixels of 28, and rotate by up to
            ten degrees), a function of a batch of `x` and a `numpy.random.Generator`, or None. The
            function is called in a thread, and one batch ahead; its randomness must come from the
            generator alone.
        start_epoch: The epoch that comes first: `initial_epoch` of `fit` in a resumed run.
        drop_remainder: Whether to leave out the last batch of an epoch if it is not full.

    Raises:
        ValueError: If the arrays differ in length or hold less than one batch, or another
            argument is out of range; in `fit`, if the batches are asked for in another order.

    Example:

    ```python
    batches = keraslip.datasets.ShuffledBatches(x, y, batch_size=256, seed=0, start_epoch=5)
    model.fit(batches, initial_epoch=5, epochs=10, shuffle=False)
    ```
    """

    def __init__(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        batch_size: int,
        seed: int = 0,
        augment: Literal["crop_flip", "crop2_flip", "flip", "shift_rotate"] | Augment | None = None,
        *,
        start_epoch: int = 0,
        drop_remainder: bool = False,
    ) -> None:
        # Keras' own workers serve, in 3.15, batches they prepared while building the model.
        super().__init__(workers=1, use_multiprocessing=False)
        self.x, self.y = np.asarray(x), np.asarray(y)
        self.batch_size = check_count(batch_size, "`batch_size`", 1)
        self.seed = check_count(seed, "`seed`", 0)
        self.augment: Augment | None = _augmentation(augment)
        self.drop_remainder = drop_remainder
        _check_arrays(self.x, self.y, self.batch_size if drop_remainder else 1)
        self._ahead = Ahead(self._make)
        self._permutation: tuple[int, NDArray[np.intp]] | None = None
        self._asked = np.zeros(len(self), bool)
        self._fit_started = False
        self.set_epoch(start_epoch)

    @property
    def epoch(self) -> int:
        """The epoch whose batches are served now."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Serve the batches of this epoch."""
        self._epoch = check_count(epoch, "`start_epoch`", 0)
        self._within_epoch = False

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        batches = len(self.x) / self.batch_size
        return math.floor(batches) if self.drop_remainder else math.ceil(batches)

    def __getitem__(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """One batch of the current epoch as (x, y)."""
        if not 0 <= index < len(self):
            raise IndexError(f"There are {len(self)} batches. Received: index={index}")
        if self._within_epoch:
            self._check_order(index)
        here = (self._epoch, index)
        return self._ahead(
            here, (here[0], index + 1) if index + 1 < len(self) else (here[0] + 1, 0)
        )

    def _make(self, place: tuple[int, int]) -> tuple[NDArray[Any], NDArray[Any]]:
        epoch, index = place
        rows = self._order(epoch)[index * self.batch_size : (index + 1) * self.batch_size]
        x = self.x[rows]
        if self.augment is not None:
            x = self.augment(x, np.random.default_rng((CHANGES, index, epoch, self.seed)))
        return x, self.y[rows]

    def _order(self, epoch: int) -> NDArray[np.intp]:
        cached = self._permutation
        if cached is None or cached[0] != epoch:
            generator = np.random.default_rng((ORDER, 0, epoch, self.seed))
            cached = self._permutation = (epoch, generator.permutation(len(self.x)))
        return cached[1]

    def _check_order(self, index: int) -> None:
        # In turn means after the one before it, in this pass or, since Keras may begin a pass
        # twice, in an earlier one.
        if index > 0 and not self._asked[index - 1]:
            raise ValueError(
                "ShuffledBatches shuffles by itself, and its batches must be asked for in turn: "
                f"pass `shuffle=False` to `fit`. Received: first batch number {index}"
            )
        self._asked[index] = True

    def on_epoch_begin(self) -> None:
        """Called by Keras before the batches of an epoch."""
        self._within_epoch = True

    def on_epoch_end(self) -> None:
        """Called by Keras after the batches of an epoch, and once before the first epoch."""
        # The first call of all is no epoch's end: `fit` resets its iterator with it, after it
        # may have begun an epoch just to read one batch and build the model from its shape.
        if self._within_epoch and self._fit_started:
            self._epoch += 1
        self._fit_started = True
        self._within_epoch = False


def _augmentation(augment: Any) -> Any:
    if augment is None or callable(augment):
        return augment
    if augment in AUGMENTATIONS:
        return AUGMENTATIONS[augment]
    raise ValueError(
        f"`augment` must be one of {', '.join(AUGMENTATIONS)}, a function or None. "
        f"Received: augment={augment!r}"
    )


def _check_arrays(x: NDArray[Any], y: NDArray[Any], least: int) -> None:
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        raise ValueError(
            "`x` and `y` must be arrays of the same length. "
            f"Received: x of shape {x.shape}, y of shape {y.shape}"
        )
    if len(x) < least:
        raise ValueError(
            f"The data set is too small for one batch: it has {len(x)} samples. Use a smaller "
            "`batch_size`, keep the incomplete batch with `drop_remainder=False`, or load more "
            f"data. Received: batch_size={least}"
        )
