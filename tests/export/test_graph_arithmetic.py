"""The functions of the graph's arithmetic, from basic operations, are NumPy's."""

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from tests.arithmetic.cases import FUNCTIONS, called


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_numpys(name):
    from keraslip.export.graph_arithmetic import Graph

    found, expected = called(Graph(), name, np.asarray, np.asarray)
    np.testing.assert_allclose(found, expected, rtol=1e-13)
