"""What every test shares. The backend is the one that KERAS_BACKEND names."""

import importlib.util
import os
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")  # pictures are written, never shown
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's start-up notes
# Kernels for channels first and for gradients of dilated convolutions, which TensorFlow leaves out by
# default on processors without AVX-512.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# Small networks need one thread; test processes with more would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

# JAX: what one test, process or session has compiled the next need not; small networks need no better code.
if os.access(Path(__file__).parents[1], os.W_OK):
    os.environ.setdefault(
        "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "jax")
    )
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")

if importlib.util.find_spec("torch") is not None:
    import torch  # noqa: F401  imported after TensorFlow in one process it can crash

import hypothesis
import keras
import pytest

# Compiling a backend's graph takes longer than any deadline; the same examples on every run.
hypothesis.settings.register_profile("keraslip", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("keraslip")


#: Runs the tests marked `any_backend`: on the others, they run when asked for with `-m any_backend`.
FASTEST = "torch"


#: Processes at most, of a run of all tests that names no number.
PROCESSES = 4


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """`pytest` without arguments runs in a process for each core, every file in one of them."""
    if hasattr(config, "workerinput") or "PYTEST_XDIST_WORKER" in os.environ:
        return  # one of these processes
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    options = vars(config.option)
    if whole and "numprocesses" in options and options["numprocesses"] is None:
        if not (options["usepdb"] or options["collectonly"]):
            config.option.numprocesses = min(PROCESSES, os.cpu_count() or 1)
            config.option.dist = "loadfile"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Leaves what says the same on every backend to one of them."""
    if keras.backend.backend() == FASTEST or "any_backend" in config.option.markexpr:
        return
    left = [item for item in items if item.get_closest_marker("any_backend")]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if not item.get_closest_marker("any_backend")]


def pytest_itemcollected(item):
    """A marker that leaves a test to one backend says why."""
    for marker in item.iter_markers("any_backend"):
        if not marker.args:
            raise pytest.UsageError(f"{item.nodeid}: any_backend needs a reason")


@pytest.fixture(autouse=True)
def _fresh_keras():
    """Start every test from the same seed, with Keras' settings as they were."""
    keras.utils.set_random_seed(0)
    data_format, floatx = keras.config.image_data_format(), keras.config.floatx()
    policy = keras.config.dtype_policy()
    yield
    keras.config.set_image_data_format(data_format)
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)


@pytest.fixture(autouse=True, scope="module")
def _forgotten_by_jax():
    """Drop what JAX compiled for a file's networks, where memory gets short: few other files have them."""
    yield
    if keras.backend.backend() == "jax" and memory() > MOST:
        import jax

        jax.clear_caches()


#: Bytes that a test process may hold before it forgets.
MOST = 3e9


def memory() -> float:
    """Bytes that this process holds; more than any number where that cannot be read."""
    try:
        return float(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return float("inf")


@pytest.fixture(scope="session")
def backend() -> str:
    """The name of Keras' backend in this run."""
    return str(keras.backend.backend())


@pytest.fixture(scope="session")
def tfds_data_dir() -> Path:
    """The folder of prepared tensorflow_datasets; skips the test where there is none."""
    folder = os.environ.get("TFDS_DATA_DIR")
    if not folder or not Path(folder).is_dir():
        pytest.skip("TFDS_DATA_DIR names no folder with prepared data sets")
    pytest.importorskip("tensorflow_datasets")
    return Path(folder)
