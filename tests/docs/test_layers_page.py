"""docs/layers.md lists the layers that have a rule today."""

import pytest

from tests.docs.layers_page import PAGE, with_tables

pytestmark = pytest.mark.any_backend("the registry is that of every backend")


def test_the_page_lists_what_has_a_rule():
    page = PAGE.read_text(encoding="utf-8")
    assert with_tables(page) == page, "python -m tests.docs.layers_page writes it"


def test_a_row_that_is_missing_is_seen():
    page = PAGE.read_text(encoding="utf-8")
    without = "".join(line for line in page.splitlines(True) if "`Conv2D`" not in line)
    assert with_tables(without) == page != without
