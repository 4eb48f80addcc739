"""`nox` runs every test on every backend, the linter and the type checker."""

import hashlib
import os
from pathlib import Path

import nox

# pip, not uv: torch's CPU builds are found through pip's own settings where these are used.
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = [
    *("tests-tensorflow", "tests-jax", "tests-torch", "tests-export"),
    *("lint", "types"),
]
nox.needs_version = ">=2025.5"

# Pinned, so that a run today and a run next month test the same thing.
BACKENDS = {"tensorflow": "tensorflow==2.21.0", "jax": "jax==0.10.2", "torch": "torch==2.13.0"}
# Test processes in one session, 0 for none besides pytest itself: KERASLIP_TEST_PROCESSES=2 nox.
PROCESSES = os.environ.get("KERASLIP_TEST_PROCESSES", "2")
# A file in one process: its tests share models. tests/conftest.py says which files begin.
SHARED = ("-n", PROCESSES, "--dist", "loadfile")
# What writes with TensorFlow, whatever the backend: run where all of them are installed.
EXPORT = "tests/export"


def install(session: nox.Session, *what: str) -> None:
    """Installs, but what an environment has from the last run for the same files and arguments.

    To ask pip again, as for a newer version of a dependency: nox --reuse-venv no, or remove .nox.
    """
    files = (Path(name).read_bytes() for name in ("pyproject.toml", "keraslip/version.py"))
    asked = b"".join(files) + repr((Path.cwd(), what)).encode()
    stamp = Path(session.virtualenv.location, "installed")
    known = hashlib.sha256(asked).hexdigest()
    if stamp.exists() and stamp.read_text() == known:
        session.log("Installed before, for the same pyproject.toml.")
        return
    stamp.unlink(missing_ok=True)
    session.install(*what)
    # As a step of the installation: `nox -R` skips both.
    session.run_install(stamp.write_text, known)


def test_environment(session: nox.Session, backend: str) -> dict[str, str]:
    """Install the package with one backend; return the variables that its tests need."""
    extras = f".[{backend},datasets,tuner,tensorboard,attacks]"
    install(session, "-e", extras, BACKENDS[backend], "--group", "test")
    return variables_of(session, backend)


def variables_of(session: nox.Session, backend: str) -> dict[str, str]:
    """What the tests need to know of a backend."""
    compiled = {
        "JAX_COMPILATION_CACHE_DIR": str(Path(session.virtualenv.location, "compiled").resolve())
    }
    return {"KERAS_BACKEND": backend, **compiled}


def run_pytest(session: nox.Session, backend: str, *options: str) -> None:
    variables = test_environment(session, backend)
    left_out = f"--ignore={EXPORT}"
    session.run("pytest", *SHARED, left_out, *options, *session.posargs, env=variables)


@nox.session(name="tests-tensorflow")
def tests_tensorflow(session: nox.Session) -> None:
    """All tests but the slow ones and those marked `any_backend`, on TensorFlow."""
    run_pytest(session, "tensorflow")


@nox.session(name="tests-jax")
def tests_jax(session: nox.Session) -> None:
    """All tests but the slow ones and those marked `any_backend`, on JAX."""
    run_pytest(session, "jax")


@nox.session(name="tests-torch")
def tests_torch(session: nox.Session) -> None:
    """All tests but the slow ones, on PyTorch: those marked `any_backend` run here."""
    run_pytest(session, "torch")


@nox.session(name="tests-export")
def tests_export(session: nox.Session) -> None:
    """SavedModel and ONNX from every backend, in an environment with all of them."""
    install(session, "-e", ".[onnx]", *BACKENDS.values(), "--group", "test")
    for backend in BACKENDS:
        options = (*SHARED, EXPORT, *session.posargs)
        session.run("pytest", *options, env=variables_of(session, backend))


@nox.session
@nox.parametrize("backend", list(BACKENDS), ids=list(BACKENDS))
def slow(session: nox.Session, backend: str) -> None:
    """The slow tests, and everything on every backend, on request: nox -s slow."""
    run_pytest(session, backend, "-m", "slow" if backend == "torch" else "slow or any_backend")


@nox.session
def thorough(session: nox.Session) -> None:
    """Ten times the random examples of the bounds, on request: nox -s thorough."""
    variables = {**test_environment(session, "torch"), "KERASLIP_TEST_EXAMPLES": "10"}
    drawn = [
        f"tests/{name}" for name in ("activations", "bounds", "rules/test_graphs.py", "certify")
    ]
    session.run("pytest", "-n", PROCESSES, *drawn, *session.posargs, env=variables)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, imports and formatting."""
    install(session, "--group", "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Static types of the package; no backend is needed."""
    install(session, "-e", ".", "--group", "types")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation as a site, in site/, on request: nox -s docs."""
    install(session, "-e", ".[docs]")
    session.run("mkdocs", "build", "--strict")
