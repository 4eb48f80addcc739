"""The documentation is true: its Python runs, its links lead somewhere, what it names exists."""

import shlex
from importlib import import_module
from typing import Any

import keras
import pytest

from keraslip import LocalLipschitzModel
from tests.docs.markdown import PAGES, ROOT, Block, blocks, links, names

RUN = [page for page in PAGES if any(block.run for block in blocks(page, "python"))]
words_alone = pytest.mark.any_backend("words, names and files")
#: Every page on one backend, the first steps on all: what they call is tested on all of them elsewhere.
ON_ALL = {"docs/quickstart.md"}


def identify(page: Any) -> str:
    return page.relative_to(ROOT).as_posix()


def pages_to_run() -> list[Any]:
    once = pytest.mark.any_backend("the page calls what other tests call on every backend")
    return [
        pytest.param(page, id=identify(page), marks=[] if identify(page) in ON_ALL else once)
        for page in RUN
    ]


def execute(block: Block, page: str, namespace: dict[str, Any]) -> None:
    """Run a block so that a traceback shows the line of the page."""
    code = compile("\n" * (block.line - 1) + block.code, page, "exec")
    exec(code, namespace)


#: Epochs at most: how well a network of the documentation learns is not what is tested.
EPOCHS = 3


@pytest.fixture
def few_epochs(monkeypatch):
    fit = LocalLipschitzModel.fit

    def short(self, *args, epochs=1, **options):
        return fit(self, *args, epochs=min(epochs, EPOCHS), **options)

    monkeypatch.setattr(LocalLipschitzModel, "fit", short)


@pytest.mark.parametrize("page", pages_to_run())
def test_python_blocks_run_in_order(page, tmp_path, monkeypatch, few_epochs):
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "documentation"}
    for block in blocks(page, "python"):
        if block.run:
            execute(block, identify(page), namespace)
    keras.backend.clear_session()


@words_alone
@pytest.mark.parametrize("page", PAGES, ids=identify)
def test_links_lead_to_files(page):
    missing = [link for link in links(page) if not (page.parent / link).exists()]
    assert not missing


@words_alone
@pytest.mark.parametrize("page", PAGES, ids=identify)
def test_names_exist(page):
    assert [name for name in names(page) if not exists_or_is_extra(name)] == []


def exists_or_is_extra(name: str) -> bool:
    """Whether a dotted name exists; what needs an extra that is not installed cannot be looked up."""
    try:
        return exists(name)
    except ImportError as missing:
        return "keraslip[" in str(missing)


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: Any = import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def command_lines() -> list[str]:
    """Every line of the documentation that calls keraslip, continued lines joined."""
    found = []
    for page in PAGES:
        for block in blocks(page, "bash"):
            joined = block.code.replace("\\\n", " ")
            lines = (line.split("&&")[-1].strip() for line in joined.splitlines())
            found += [line for line in lines if line.startswith("keraslip ")]
    return sorted(set(found))


@words_alone
@pytest.mark.parametrize("line", command_lines())
def test_command_lines_have_these_options(line):
    import typer

    from keraslip.cli.app import app

    group = typer.main.get_command(app)
    words = shlex.split(line, comments=True)[1:]
    command = next(word for word in words if word in group.commands)
    known = {
        option
        for source in (group, group.commands[command])
        for parameter in source.params
        for option in parameter.opts
    }
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert given - {"--help"} <= known
