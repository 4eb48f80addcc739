"""Environment variables that have a backend compute float32 products in fewer digits."""

import os
from collections.abc import Iterable
from pathlib import Path

#: What every backend may obey, with the values that leave float32 alone: libraries below them all.
SHARED = {
    "ONEDNN_DEFAULT_FPMATH_MODE": ("strict",),
    "DNNL_DEFAULT_FPMATH_MODE": ("strict",),
    "NVIDIA_TF32_OVERRIDE": ("0",),
}
#: Values of a variable that is off.
OFF = ("0", "false")
#: Flags of XLA, which TensorFlow and JAX share: less precision, or mathematics that is not IEEE's.
_XLA = {
    "xla_enable_fast_math",
    "xla_cpu_enable_fast_math",
    "xla_gpu_enable_fast_math",
    "xla_cpu_enable_fast_min_max",
    "xla_gpu_default_to_alg_dot_bf16_bf16_f32",
    "xla_gpu_enable_bf16_3way_gemm",
    "xla_gpu_enable_bf16_6way_gemm",
}

# Most are read once, by then or at the first product: what is unset later may still be obeyed.
_AT_IMPORT = dict(os.environ)


def reduced_by_variable(own: dict[str, tuple[str, ...]], xla: bool = False) -> str | None:
    """The variable that asks for less than float32, with the remedy, or `None`.

    A backend's `own` variables count beside the shared ones, each with the values that are harmless.
    """
    for name, full in {**SHARED, **own}.items():
        for value in _values(name):
            if value.strip().lower() not in ("", *full):
                return _told(f"{name}={value}")
    for value in _values("XLA_FLAGS") if xla else ():
        for flag in _set_flags(value):
            if flag in _XLA:
                return _told(f"--{flag} in XLA_FLAGS")
    return None


def _values(name: str) -> Iterable[str]:
    """Values that may be in force."""
    return dict.fromkeys(
        variables[name] for variables in (os.environ, _AT_IMPORT) if name in variables
    )


def _told(what: str) -> str:
    return (
        f"The environment variable {what} lets libraries compute float32 in fewer digits; unset it, and "
        "start a new process, for it is read once."
    )


def _set_flags(value: str) -> Iterable[str]:
    """Names of the flags that are on; a value that is no flag names a file of flags."""
    if not value.lstrip().startswith("-"):
        file = Path(value.strip())
        value = file.read_text() if value.strip() and file.is_file() else ""
    for word in value.split():
        name, _, setting = word.lstrip("-").partition("=")
        if setting.strip("\"'").lower() not in OFF:
            yield name
