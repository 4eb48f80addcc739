"""The rows of one process."""

from typing import Any

import keras

from keraslip.backend import place_among_processes


class ProcessBatches(keras.utils.PyDataset):
    """One process' rows of every batch; all processes together see the batches as they are.

    Batches must be the same in every process, as those of `keraslip.datasets.ShuffledBatches` with one
    `batch_size`, that of all processes together, and one `seed`. Pass `shuffle=False` to `fit`.

    Args:
        batches: A `keras.utils.PyDataset` of `(x, y)` or `(x, y, sample_weight)`.
        index: Number of this process, from 0; that of the backend's group of processes if `None`.
        count: Number of processes; that of the group if `None`.

    Raises:
        ValueError: if `batches` is no `PyDataset`, `index` is out of range, or, later, a batch has fewer rows
            than there are processes.

    Example:

    ```python
    batches = keraslip.datasets.ShuffledBatches(x, y, batch_size=256, seed=0, drop_remainder=True)
    model.fit(keraslip.distribution.ProcessBatches(batches), epochs=10, shuffle=False)
    ```
    """

    def __init__(
        self, batches: keras.utils.PyDataset, index: int | None = None, count: int | None = None
    ) -> None:
        if not isinstance(batches, keras.utils.PyDataset):
            raise ValueError(
                "batches must be a keras.utils.PyDataset, such as keraslip.datasets.ShuffledBatches. "
                f"Received: {type(batches).__name__}"
            )
        # One thread and the order of the batches inside, which may depend on it.
        super().__init__(workers=1, use_multiprocessing=False)
        place = place_among_processes() if index is None or count is None else (index, count)
        self.batches, (self.index, self.count) = batches, place
        if not 0 <= self.index < self.count:
            raise ValueError(
                f"index must lie in 0..count - 1. Received: index={self.index}, count={self.count}"
            )

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return int(self.batches.num_batches)

    def __getitem__(self, index: int) -> Any:
        """This process' part of a batch: rows number `index`, `index + count`, ..."""
        batch = self.batches[index]
        rows = len(batch[0])
        if rows < self.count:
            raise ValueError(
                "Every process needs a row of every batch: leave the last batch out "
                "(ShuffledBatches(..., drop_remainder=True)), or choose a batch_size that leaves more over. "
                f"Received: a batch of {rows} for {self.count} processes"
            )
        return tuple(None if part is None else part[self.index :: self.count] for part in batch)

    def on_epoch_begin(self) -> None:
        """Called by Keras before the batches of an epoch."""
        self.batches.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Called by Keras after the batches of an epoch."""
        self.batches.on_epoch_end()
