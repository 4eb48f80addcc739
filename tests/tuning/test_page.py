"""The page about searches runs."""

import pytest

from tests.docs.markdown import ROOT, blocks
from tests.tuning.nets import THEIR_WARNINGS, searches_alone

pytest.importorskip("keraslip.tuning", exc_type=ImportError)

pytestmark = [*THEIR_WARNINGS, searches_alone]
#: What the page searches, and what a test has time for.
SHORTER = {
    "max_trials=20": "max_trials=1",
    "num_initial_points=7": "num_initial_points=1",
    "epochs=30": "epochs=1, verbose=0",
}


def test_its_blocks_run_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "tuning.md"
    code = "\n".join(block.code for block in blocks(page, "python"))
    for long, short in SHORTER.items():
        assert code.count(long) == 1
        code = code.replace(long, short)
    names = {"__name__": "documentation"}
    exec(compile(code, str(page), "exec"), names)
    assert len(names["rows"]) == 1 and names["certificates"].guarantee
    assert (tmp_path / "found" / "pareto.png").exists()
