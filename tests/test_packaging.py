"""What is shipped: the wheel and the sdist are built here and opened."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.any_backend("wheels and source archives")

ROOT = Path(__file__).resolve().parent.parent
APPLICATIONS = sorted(path.name for path in (ROOT / "applications").glob("*.py"))


def copy_of_the_sources(target: Path) -> Path:
    """The sources alone: a build reads again what an earlier one left behind."""
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, target)
    for name in ("applications", "keraslip"):
        unwanted = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, target / name, symlinks=True, ignore=unwanted)
    return target


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the sdist of the checkout and the wheel that is built from that sdist."""
    pytest.importorskip("build")
    out = tmp_path_factory.mktemp("dist")
    source = copy_of_the_sources(tmp_path_factory.mktemp("source"))
    # Without isolation the build uses the setuptools that is here: no network.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=out)
    assert result.returncode == 0, result.stdout + result.stderr
    return out


@pytest.fixture(scope="module")
def wheel(built) -> list[str]:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        return archive.namelist()


@pytest.fixture(scope="module")
def sdist(built) -> list[str]:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        return [name.partition("/")[2] for name in archive.getnames()]


def test_wheel_holds_the_package_and_nothing_else(wheel):
    tops = {name.split("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"keraslip"}
    assert "keraslip/py.typed" in wheel
    assert "keraslip/version.py" in wheel


def test_wheel_holds_every_file_of_the_package(wheel):
    left_out = {"applications", "__pycache__"}
    files = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "keraslip").rglob("*.*")
        if path.is_file() and not left_out.intersection(path.parts)
    }
    assert any(name.endswith(".html") for name in files)
    assert files <= set(wheel)


def test_wheel_holds_each_application_once(wheel):
    inside = sorted(Path(name).name for name in wheel if "applications/" in name)
    assert inside == APPLICATIONS
    assert all(f"keraslip/applications/{name}" in wheel for name in APPLICATIONS)


def test_sdist_holds_the_applications_and_the_licence(sdist):
    assert {f"applications/{name}" for name in APPLICATIONS} <= set(sdist)
    assert {"LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "pyproject.toml"} <= set(sdist)


def test_the_wheel_runs_outside_the_checkout(built, tmp_path):
    """The applications import from the wheel alone, not through the symlink."""
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        archive.extractall(tmp_path)
    code = "import keraslip; print(keraslip.__file__, keraslip.applications.names())"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert str(tmp_path) in result.stdout
    assert "mnist_4c3f" in result.stdout


def test_applications_cannot_be_imported_under_another_name():
    code = "import applications"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode != 0
    assert "ImportError" in result.stderr and "keraslip.applications" in result.stderr


def test_the_symlink_is_tracked_as_a_symlink():
    link = ROOT / "keraslip" / "applications"
    if not link.is_symlink():
        pytest.skip("this checkout has no symbolic links")
    assert link.readlink() == Path("../applications")
