"""What the site has to have: every page in its overview, every public name in its reference, no network."""

import re
from importlib import import_module
from inspect import ismodule

import pytest

from tests.docs.markdown import ROOT, links
from tests.docs.test_docs import exists_or_is_extra

pytestmark = pytest.mark.any_backend("words, names and files")

DOCS = ROOT / "docs"
PAGES = {page.name for page in DOCS.glob("*.md")}
REFERENCE = re.findall(r"^::: (\S+)$", (DOCS / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
MODULES = ("", "applications", "attacks", "callbacks", "certify", "convert", "datasets", "distribution",
           "layers", "losses", "plots", "schedules", "testing", "tuning")  # fmt: skip


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_in_the_reference(module):
    full = f"keraslip.{module}".rstrip(".")
    try:
        package = import_module(full)
    except ImportError as missing:  # an extra that is not installed
        assert "keraslip[" in str(missing)
        return
    names = [n for n in package.__all__ if n != "__version__" and not ismodule(getattr(package, n))]
    # What `import keraslip` reaches directly is shown under that name alone.
    missing = [n for n in names if not {f"{full}.{n}", f"keraslip.{n}"} & set(REFERENCE)]
    assert not missing, "each of them needs a line `::: keraslip.NAME` in docs/api.md"


@pytest.mark.parametrize("name", REFERENCE)
def test_the_reference_names_what_exists(name):
    assert exists_or_is_extra(name)


@pytest.mark.parametrize("where", ["docs/index.md", "README.md"])
def test_every_page_is_in_the_overview(where):
    shown = {link.rpartition("/")[2] for link in links(ROOT / where)}
    assert PAGES - {"index.md"} - shown == set()


def test_the_site_has_every_page_and_asks_nobody():
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert {page for page in PAGES if f": {page}\n" not in settings} == set()
    style = (DOCS / "style.css").read_text(encoding="utf-8")
    assert "http" not in settings + style and "font: false" in settings
