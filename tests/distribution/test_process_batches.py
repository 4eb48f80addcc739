"""The rows of every process, which together are the batch."""

import numpy as np
import pytest

import keraslip
from keraslip.datasets import ShuffledBatches
from keraslip.distribution import ProcessBatches

pytestmark = pytest.mark.any_backend("NumPy arrays")


def batches(samples=21, **kwargs):
    x = np.arange(samples, dtype="float32")[:, None]
    return ShuffledBatches(x, np.arange(samples), batch_size=8, seed=1, **kwargs)


def epoch(stream):
    """What `fit` reads in an epoch."""
    stream.on_epoch_begin()
    read = [stream[i] for i in range(len(stream))]
    stream.on_epoch_end()
    return read


def test_the_processes_share_every_batch_of_every_epoch():
    parts = [ProcessBatches(batches(), index, 3) for index in range(3)]
    whole = batches()
    for stream in (whole, *parts):
        stream.on_epoch_end()  # as Keras does before the first epoch
    seen = []
    for _ in range(2):
        shares = [epoch(part) for part in parts]
        for number, (x, y) in enumerate(epoch(whole)):
            rows = np.concatenate([share[number][1] for share in shares])
            assert sorted(rows) == sorted(y)
            for index, share in enumerate(shares):
                np.testing.assert_array_equal(share[number][0], x[index::3])
            seen.append(y.tolist())
    assert seen[:3] != seen[3:]  # the order of the second epoch is another one


def test_one_process_alone_has_everything():
    alone = ProcessBatches(batches())
    assert (alone.index, alone.count, len(alone)) == (0, 1, 3)
    np.testing.assert_array_equal(alone[0][0], batches()[0][0])


def test_sample_weights_are_shared_out_and_none_stays_none():
    class Weighted(ShuffledBatches):
        def __getitem__(self, index):
            x, y = super().__getitem__(index)
            return x, y, (None if index else y.astype("float32"))

    weighted = Weighted(np.arange(16.0)[:, None], np.arange(16), batch_size=8)
    part = ProcessBatches(weighted, 1, 2)
    x, _, weight = part[0]
    np.testing.assert_array_equal(weight, x[:, 0])
    assert part[1][2] is None


def test_a_batch_with_fewer_rows_than_processes_is_refused():
    part = ProcessBatches(batches(17), 0, 2)
    assert len(part[1][0]) == 4
    with pytest.raises(ValueError, match="drop_remainder=True.*Received: a batch of 1 for 2"):
        part[2]
    assert len(ProcessBatches(batches(17, drop_remainder=True), 0, 2)) == 2


@pytest.mark.parametrize("place", [(2, 2), (-1, 2), (0, 0)])
def test_a_process_out_of_range_is_refused(place):
    with pytest.raises(ValueError, match="index must lie in 0..count - 1. Received: index="):
        ProcessBatches(batches(), *place)


def test_only_streams_with_numbered_batches_can_be_shared():
    with pytest.raises(ValueError, match="ShuffledBatches. Received: list"):
        keraslip.distribution.ProcessBatches([1, 2])
