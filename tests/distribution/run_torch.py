"""Two gloo processes: `python -m tests.distribution.run_torch FOLDER RANK`."""

import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

import keraslip
from tests.distribution import scenario

#: The last batch holds five samples, of which the processes have three and two.
SAMPLES, PROCESSES = 21, 2


def main(folder: Path, rank: int) -> None:
    """Trains alone and in two processes, and compares."""
    torch.set_num_threads(1)
    x, y = scenario.data(SAMPLES)
    alone = scenario.build()
    expected = scenario.fit(alone, scenario.batches(SAMPLES), (x, y))
    scenario.assert_trained(expected, steps=6)

    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'group'}",
        rank=rank,
        world_size=PROCESSES,
        timeout=timedelta(seconds=120),
    )
    model = scenario.build()
    if rank == 1:  # overwritten by those of process 0
        model.set_weights([0 * weight for weight in model.get_weights()])
    keraslip.distribution.data_parallel(model)
    train = keraslip.distribution.ProcessBatches(scenario.batches(SAMPLES))
    held_out = keraslip.distribution.ProcessBatches(scenario.batches(SAMPLES))
    found = scenario.fit(model, train, held_out)
    scenario.assert_same(found, expected)
    assert_processes_agree(model)

    certified = scenario.certify(model, x, y)
    scenario.assert_same(certified, scenario.certify(alone, x, y))
    certify_in_parts(model, x, y, certified["margin"], folder, rank)
    dist.destroy_process_group()


def assert_processes_agree(model: object) -> None:
    """Every process holds the very same weights, warm starts and step."""
    weights: list = [None] * PROCESSES
    dist.all_gather_object(weights, [scenario.convert(w) for w in model.weights])
    for first, second in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)


def certify_in_parts(
    model: object, x: np.ndarray, y: np.ndarray, margin: np.ndarray, folder: Path, rank: int
) -> None:
    """Every process certifies its part; joined, they are what one process finds."""
    rows = np.array_split(np.arange(len(x)), PROCESSES)[rank]
    model.certify(x[rows], y[rows], workers=1, verbose=0).save(folder / f"{rank}.npz")
    dist.barrier()
    if rank == 0:
        parts = [keraslip.Certificates.load(folder / f"{i}.npz") for i in range(PROCESSES)]
        found = keraslip.Certificates.join(parts)
        np.testing.assert_allclose(found.margin, margin, rtol=0, atol=1e-9)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
