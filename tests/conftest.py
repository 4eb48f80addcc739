"""What every test shares. The backend is the one that KERAS_BACKEND names."""

import functools
import importlib.metadata
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
# Compiles a training step in a third of the time. XLA ends the process for a flag that it does not know.
if os.environ.get("KERAS_BACKEND") == "jax" and importlib.util.find_spec("jaxlib") is not None:
    if importlib.metadata.version("jaxlib").startswith("0.10."):
        QUICK = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
        os.environ.setdefault("XLA_FLAGS", QUICK)

if None not in map(importlib.util.find_spec, ("torch", "tensorflow")):
    import torch  # noqa: F401  imported after TensorFlow in one process it can crash

# Keras not here: a process that has others test for it would wait for its backend, and so would they.
import hypothesis
import pytest

# Compiling a backend's graph takes longer than any deadline; the same examples on every run.
hypothesis.settings.register_profile("keraslip", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("keraslip")


#: Runs the tests marked `any_backend`: on the others, they run when asked for with `-m any_backend`.
FASTEST = "torch"


#: Processes at most, of a run of all tests that names no number.
PROCESSES = 4

#: Files that take longest, which begin first, so that no process is left with one at the end.
FIRST = (
    "export/test_bad_questions",
    "export/test_cases",
    "rules/test_cases",
    "models/test_saving",
    "models/test_fit_options",
    "models/test_fit_data",
    "rules/test_graphs",
    "cli/test_cli",
    "docs/test_docs",
    "distribution/test_devices",
    "tuning/test_search",
    "tuning/test_tune",
    "cli/test_stopped_process",
    "callbacks/test_lipschitz_monitor",
    "models/test_not_finite",
    "models/test_believed_norms",
    "models/test_changed_network",
    "testing/test_activations",
    "rules/test_locality",
)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """`pytest` without arguments runs in a process for each core, every file in one of them."""
    if hasattr(config, "workerinput") or "PYTEST_XDIST_WORKER" in os.environ:
        return  # one of these processes
    vars(config.option)["loadscopereorder"] = False  # or files with many tests would begin first
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    options = vars(config.option)
    if whole and "numprocesses" in options and options["numprocesses"] is None:
        if not (options["usepdb"] or options["collectonly"]):
            config.option.numprocesses = min(PROCESSES, os.cpu_count() or 1)
            config.option.dist = "loadfile"


#: Files that ask the models exported once for all of them, which takes half a minute.
TOGETHER = {
    f"tests/export/test_{name}.py": "exported"
    for name in ("bad_questions", "saved_model", "self_test")
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """`--dist loadfile`: a file in one process, some of them in the same one."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return TOGETHER.get(file, file)

    return ByFile(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Puts long files first; leaves what says the same on every backend to one of them."""
    import keras

    names = [f"tests/{name}.py" for name in FIRST]
    place = {name: number for number, name in enumerate(names)}
    items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(place)))
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
    import keras

    keras.utils.set_random_seed(0)
    data_format, floatx = keras.config.image_data_format(), keras.config.floatx()
    policy = keras.config.dtype_policy()
    yield
    keras.config.set_image_data_format(data_format)
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)


#: Where what TensorFlow's optimizer of graphs makes of a network is a part of what is tested.
OPTIMIZED = ("activations", "backend", "certify", "cli", "distribution", "docs", "export")
#: The same for single files: a fresh process computes the same; and channels-first convolutions on a CPU,
#: of which TensorFlow makes wrong numbers without either.
OPTIMIZED_FILES = ("test_saving.py", "test_layers.py")


@pytest.fixture(autouse=True, scope="module")
def _quick_graphs(request, backend):
    """Spares TensorFlow what it does to a graph before it runs: its optimizer, and XLA by default."""
    if backend != "tensorflow":
        yield
        return
    import tensorflow as tf

    import keraslip

    room = request.path.relative_to(Path(__file__).parent).parts[0]
    usual = room in OPTIMIZED or request.path.name in OPTIMIZED_FILES
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not usual})
    compiled = keraslip.LocalLipschitzModel.compile

    @functools.wraps(compiled)
    def without_xla(self, *args, **options):
        return compiled(self, *args, **{"jit_compile": False, **options})

    with pytest.MonkeyPatch.context() as patch:
        if not (usual or room == "models"):  # there tests say themselves what they compile with
            patch.setattr(keraslip.LocalLipschitzModel, "compile", without_xla)
        yield


@pytest.fixture(autouse=True)
def _gap_left_out(request, monkeypatch, backend):
    """Spares the first fit of every model two more compiled passes, but in tests marked `gap`.

    On PyTorch, which compiles nothing, `lipschitz_gap` is measured in every test, and warm starts are
    warmed up once.
    """
    from keraslip.models.gap import LipschitzGap

    if request.node.get_closest_marker("gap"):
        return
    if backend == "torch":
        monkeypatch.delattr(LipschitzGap, "on_train_batch_begin")
        return

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["lipschitz_gap"] = 1.0

    monkeypatch.setattr(LipschitzGap, "_warm_up", lambda self, step: None)
    monkeypatch.setattr(LipschitzGap, "on_epoch_end", on_epoch_end)


@pytest.fixture(autouse=True, scope="module")
def _forgotten_by_jax(backend):
    """Drop what JAX compiled for a file's networks, where memory gets short: few other files have them."""
    yield
    if backend == "jax" and memory() > MOST:
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
    import keras

    return str(keras.backend.backend())


@pytest.fixture(scope="session")
def tfds_data_dir() -> Path:
    """The folder of prepared tensorflow_datasets; skips the test where there is none."""
    folder = os.environ.get("TFDS_DATA_DIR")
    if not folder or not Path(folder).is_dir():
        pytest.skip("TFDS_DATA_DIR names no folder with prepared data sets")
    pytest.importorskip("tensorflow_datasets")
    return Path(folder)
