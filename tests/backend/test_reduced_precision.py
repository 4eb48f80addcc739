"""Every switch for less precision than float32 is named, with the remedy; what is harmless is not."""

import contextlib
import re

import keras
import pytest

from keraslip.backend import environment, reduced_precision

BACKEND = keras.backend.backend()
EVERYWHERE = [
    ("ONEDNN_DEFAULT_FPMATH_MODE", "BF16"),
    ("ONEDNN_DEFAULT_FPMATH_MODE", "any"),
    ("DNNL_DEFAULT_FPMATH_MODE", "TF32"),
    ("NVIDIA_TF32_OVERRIDE", "1"),
]
XLA = [
    ("XLA_FLAGS", "--xla_dump_to=/nowhere --xla_cpu_enable_fast_math=true"),
    ("XLA_FLAGS", "--xla_cpu_enable_fast_min_max"),
    ("XLA_FLAGS", "--xla_gpu_default_to_alg_dot_bf16_bf16_f32=1"),
]
VARIABLES = {
    "tensorflow": [
        ("TF_SET_ONEDNN_FPMATH_MODE", "BF16"),
        ("TF_ENABLE_AUTO_MIXED_PRECISION", "1"),
        ("TF_ENABLE_AUTO_MIXED_PRECISION_GRAPH_REWRITE", "true"),
        *XLA,
    ],
    "jax": XLA,
    "torch": [("IPEX_FP32_MATH_MODE", "BF32"), ("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "1")],
}[BACKEND]
HARMLESS = [
    ("ONEDNN_DEFAULT_FPMATH_MODE", "STRICT"),
    ("DNNL_DEFAULT_FPMATH_MODE", ""),
    ("NVIDIA_TF32_OVERRIDE", "0"),
    ("TF_SET_ONEDNN_FPMATH_MODE", ""),
    ("TF_ENABLE_AUTO_MIXED_PRECISION", "0"),
    ("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "0"),
    ("XLA_FLAGS", "--xla_allow_excess_precision=true --xla_cpu_enable_fast_math=false"),
]


def test_nothing_is_reduced_here():
    assert reduced_precision() is None


@pytest.mark.parametrize(("name", "value"), EVERYWHERE + VARIABLES)
def test_a_variable_that_asks_for_less_is_named(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    told = reduced_precision()
    assert name in told and "unset it" in told
    assert all(flag.split("=")[0] in told for flag in value.split() if "dump" not in flag)
    monkeypatch.delenv(name)
    assert reduced_precision() is None


@pytest.mark.parametrize(("name", "value"), HARMLESS)
def test_a_harmless_value_is_none(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert reduced_precision() is None


def test_a_variable_that_is_gone_since_the_import_may_be_obeyed(monkeypatch):
    monkeypatch.setitem(environment._AT_IMPORT, "DNNL_DEFAULT_FPMATH_MODE", "BF16")
    assert "DNNL_DEFAULT_FPMATH_MODE=BF16" in reduced_precision()


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch does not read XLA's flags")
def test_flags_of_xla_in_a_file_are_read(monkeypatch, tmp_path):
    (tmp_path / "flags").write_text("--xla_force_host_platform_device_count=1\n")
    monkeypatch.setenv("XLA_FLAGS", str(tmp_path / "flags"))
    assert reduced_precision() is None
    (tmp_path / "flags").write_text("--xla_cpu_enable_fast_math=true\n")
    assert "--xla_cpu_enable_fast_math" in reduced_precision()


def switches():
    """By a part of what has to be told: contexts in which the backend's own switch is on."""
    if BACKEND == "jax":
        import jax

        precisions = (
            "bfloat16",
            "tensorfloat32",
            "F16_F16_F16",
            "BF16_BF16_F32",
            "TF32_TF32_F32_X3",
        )
        return [
            (
                f"jax_default_matmul_precision is {p.lower()!r}",
                lambda p=p: jax.default_matmul_precision(p),
            )
            for p in precisions
        ]
    if BACKEND == "tensorflow":
        return [
            (f"{option} is on", lambda option=option: graph_option(option))
            for option in (
                "auto_mixed_precision",
                "auto_mixed_precision_onednn_bfloat16",
                "auto_mixed_precision_mkl",
                "auto_mixed_precision_cpu",
            )
        ]
    import torch

    found = [
        ("torch.autocast('cpu')", lambda: torch.autocast("cpu")),
        ("torch.autocast('cpu')", lambda: torch.autocast("cpu", dtype=torch.float16)),
        ("torch.autocast('xpu')", lambda: autocast("xpu")),
    ]
    for path in ("", ".mkldnn.matmul", ".mkldnn.conv", ".mkldnn.rnn", ".cuda.matmul", ".cudnn"):
        told = f"torch.backends{path}.fp32_precision is 'tf32'"
        found.append((told, lambda path=path: fp32_precision(path, "tf32")))
    for path in ("", ".mkldnn.matmul", ".mkldnn.conv", ".mkldnn.rnn"):
        told = f"torch.backends{path}.fp32_precision is 'bf16'"
        found.append((told, lambda path=path: fp32_precision(path, "bf16")))
    # Under its library's name it is the precision of all.
    found.append(("torch.backends.fp32_precision", lambda: fp32_precision(".mkldnn", "bf16")))
    for precision in ("high", "medium"):
        found.append(
            (
                "torch.set_float32_matmul_precision('highest')",
                lambda p=precision: matmul_precision(p),
            )
        )
    return found


@contextlib.contextmanager
def graph_option(option):
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({option: True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({option: False})


@contextlib.contextmanager
def autocast(device):
    import torch

    torch.set_autocast_enabled(device, True)
    try:
        yield
    finally:
        torch.set_autocast_enabled(device, False)


@contextlib.contextmanager
def fp32_precision(path, precision):
    import torch

    place = torch.backends
    for part in filter(None, path.split(".")):
        place = getattr(place, part)
    before = place.fp32_precision
    place.fp32_precision = precision
    try:
        yield
    finally:
        place.fp32_precision = before


@contextlib.contextmanager
def matmul_precision(precision):
    import torch

    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize(("told", "switch"), switches())
def test_a_switch_of_the_backend_is_named_while_it_is_on(told, switch):
    with switch():
        found = reduced_precision()
        assert told in found and re.search("switch (that|it) off", found)
    assert reduced_precision() is None


@pytest.mark.skipif(BACKEND != "jax", reason="about JAX")
@pytest.mark.parametrize("precision", ["default", "high", "highest", "float32", "F32_F32_F32"])
def test_precisions_that_are_full_on_a_cpu_are_none(precision):
    import jax

    with jax.default_matmul_precision(precision):
        assert reduced_precision() is None
