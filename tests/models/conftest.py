"""Models of a test go back to the pool."""

import pytest

from tests.models import nets


@pytest.fixture(autouse=True)
def _returned():
    yield
    nets.IN_USE.clear()


@pytest.fixture(autouse=True, scope="module")
def _emptied():
    yield
    nets.POOL.clear()
