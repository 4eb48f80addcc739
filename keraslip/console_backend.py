"""Keras' backend, chosen before Keras is imported."""

import importlib.util
import os
import sys
from pathlib import Path

PACKAGES = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}
#: What `python -m` runs as a command of ours.
_MODULES = ("keraslip", "keraslip.__main__", "keraslip.certify.check")
#: Options that are answered without Keras.
_WORDS = {"--help", "-h", "--version"}


def is_command() -> bool:
    """Whether the process is a command of keraslip: it imports only what it needs, when it needs it."""
    script = sys.argv[0] if sys.argv else ""
    return Path(script).stem == "keraslip" or _module() in _MODULES


def choose() -> None:
    """Obeys `--backend` if the process is the `keraslip` command; a missing one is an ImportError.

    Keras reads its backend once, when it is first imported, which is before any command line parser of ours
    can run: importing `keraslip.cli` imports `keraslip`. Without `--backend` and KERAS_BACKEND the command
    takes Keras' configured backend, or the first that is installed.
    """
    if "keras" in sys.modules or _needs_none():
        return
    try:
        _choose()
    except ImportError as error:
        if not is_command():
            raise
        # A line for a user, not a traceback: no code of ours but this runs before the import.
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def named() -> str | None:
    """The backend that `--backend` names, `None` without that option."""
    for position, argument in enumerate(sys.argv):
        if argument.startswith("--backend="):
            return argument.partition("=")[2]
        if argument == "--backend" and position + 1 < len(sys.argv):
            return sys.argv[position + 1]
    return None


def _needs_none() -> bool:
    """Whether the process is a command that works without Keras: words of help, the independent checker."""
    if not is_command():
        return False
    return (
        len(sys.argv) == 1
        or bool(_WORDS.intersection(sys.argv))
        or _module() == "keraslip.certify.check"
    )


def _choose() -> None:
    if is_command():
        asked = named()
        if asked is not None and asked not in PACKAGES:
            raise ImportError(
                f"--backend must be one of {', '.join(PACKAGES)}. Received: {asked!r}"
            )
        if asked is not None:
            os.environ["KERAS_BACKEND"] = asked
        elif "KERAS_BACKEND" not in os.environ and not _config_file().exists():
            os.environ["KERAS_BACKEND"] = next(filter(installed, PACKAGES), "tensorflow")
    backend = os.environ.get("KERAS_BACKEND", "tensorflow" if not _config_file().exists() else None)
    if backend in PACKAGES and not installed(backend):
        raise ImportError(
            f"Keras' backend {backend!r} is not installed. Install it with "
            f'pip install "keraslip[{backend}]", or choose another with the environment variable '
            f"KERAS_BACKEND (command line: --backend). Installed: {_installed_names() or 'none'}"
        )


def installed(backend: str) -> bool:
    """Whether a backend's package can be found."""
    return importlib.util.find_spec(PACKAGES[backend]) is not None


def _installed_names() -> str:
    return ", ".join(filter(installed, PACKAGES))


def _module() -> str:
    """What `python -m` was asked to run, while it imports the packages above that module; else empty."""
    if sys.argv[:1] != ["-m"]:
        return ""
    # -m takes all that follows: the module stands right before our arguments.
    return sys.orig_argv[len(sys.orig_argv) - len(sys.argv)].removeprefix("-m")


def _config_file() -> Path:
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    return Path(home) / "keras.json"
