"""The benchmarks find what they import: they run only on request."""

import runpy
from pathlib import Path

import pytest

BENCHMARKS = sorted(Path(__file__).parents[1].glob("benchmarks/*.py"))


def test_there_are_benchmarks():
    assert BENCHMARKS


@pytest.mark.any_backend("imports alone")
@pytest.mark.parametrize("file", BENCHMARKS, ids=lambda file: file.stem)
def test_a_benchmark_can_be_imported(file):
    assert callable(runpy.run_path(str(file))["main"])
