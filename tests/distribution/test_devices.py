"""Several simulated devices train and certify as one does, with the engine of the active backend."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Processes of each backend's run.
PROCESSES = {"tensorflow": 1, "jax": 1, "torch": 2}


def test_two_devices_do_what_one_does(backend, tmp_path):
    command = [sys.executable, "-m", f"tests.distribution.run_{backend}"]
    count = PROCESSES[backend]
    places = [[str(tmp_path), str(rank)] if count > 1 else [] for rank in range(count)]
    threads = {"OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(
            command + place,
            cwd=ROOT,
            env={**os.environ, **threads},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for place in places
    ]
    try:
        outputs = [process.communicate(timeout=900)[0] for process in running]
    finally:
        for process in running:
            process.kill()
    for process, output in zip(running, outputs, strict=True):
        assert process.returncode == 0, output[-4000:]


def test_data_parallel_names_the_engine_of_the_backend(backend):
    import keraslip
    from tests.models.nets import dense_net

    engines = {
        "tensorflow": (NotImplementedError, "MirroredStrategy"),
        "jax": (NotImplementedError, "keras.distribution.DataParallel"),
        "torch": (RuntimeError, "init_process_group"),
    }
    error, remedy = engines[backend]
    with pytest.raises(error, match=f"{remedy}.*Received: "):
        keraslip.distribution.data_parallel(dense_net())
