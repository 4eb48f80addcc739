"""The examples in the docstrings run and print what they say."""

import doctest
import importlib
import re

import keras
import numpy as np
import pytest

import keraslip

MODULES = [
    "keraslip.layers.clipped_maxmin",
    "keraslip.layers.clipped_relu",
    "keraslip.layers.masked",
    "keraslip.layers.masked_lipschitz_conv2d",
    "keraslip.layers.masked_lipschitz_dense",
    "keraslip.layers.maxmin",
    "keraslip.schedules.schedule",
    "keraslip.bounds.numerics",
]


class SameNumbers(doctest.OutputChecker):
    """Compares numbers: every backend prints a tensor in a way of its own."""

    def check_output(self, want, got, optionflags):
        if super().check_output(want, got, optionflags):
            return True
        want, got = (
            re.sub(r"dtype=\w+|float\d+|shape=\([^)]*\)|grad_fn=.*", "", s) for s in (want, got)
        )
        numbers = [
            [float(n) for n in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", s)] for s in (want, got)
        ]
        return len(numbers[0]) == len(numbers[1]) and np.allclose(*numbers)


def names(module):
    found = {"keraslip": keraslip, "keras": keras, "np": np}
    return {**found, **{name: value for name, value in vars(module).items() if name[0] != "_"}}


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(checker=SameNumbers(), verbose=False)
    blocks = 0
    for test in doctest.DocTestFinder().find(module, globs=names(module)):
        if test.examples:
            assert runner.run(test).failed == 0
            blocks += 1
        for block in re.findall(r"```python\n(.*?)```", test.docstring or "", re.DOTALL):
            exec(re.sub(r"^    ", "", block, flags=re.MULTILINE), names(module))
            blocks += 1
    assert blocks > 0
