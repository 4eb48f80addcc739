"""Certificates of parts, joined."""

from dataclasses import replace

import numpy as np
import pytest

from keraslip.certify import Certificates
from tests.certify.test_certificates import assert_equal, certificates

pytestmark = pytest.mark.any_backend("arrays and files")


def part(seed=1, **details):
    found = certificates()
    return replace(found, details={"network": "a", "effort": "full", "seed": seed, **details})


def test_parts_are_joined_in_order(tmp_path):
    first, second = part(seed=1), replace(part(seed=2), label=np.array([7, 8, 9, 9]))
    found = Certificates.join([first, second])
    assert len(found) == 8
    np.testing.assert_array_equal(found.label, [0, 1, 2, 0, 7, 8, 9, 9])
    for name in ("certified", "margin", "lipschitz", "radius", "status", "epsilon"):
        one, two = getattr(first, name), getattr(second, name)
        np.testing.assert_array_equal(getattr(found, name), np.concatenate([one, two]))
    # The counterexample of the second part is that of sample 1 + 4.
    assert found.counterexamples.keys() == {1, 5}
    assert found.details == {**first.details, "seeds": [1, 2]}
    path = tmp_path / "joined.npz"
    found.save(path)
    assert_equal(found, Certificates.load(path))


def test_one_part_is_itself():
    assert_equal(Certificates.join([part()]), part())


def test_without_radius():
    parts = [replace(part(), radius=None)] * 2
    assert Certificates.join(parts).radius is None


@pytest.mark.parametrize(
    ("other", "name"),
    [
        (part(network="b"), "network"),
        (part(effort="frozen"), "effort"),
        (part(delta=1e-9), "delta"),
        (part(versions={"keras": "4"}), "versions"),
        (replace(part(), radius=None), "radius"),
        (replace(part(), guarantee="probabilistic"), "guarantee"),
        (replace(part(), arithmetic="float64"), "arithmetic"),
    ],
)
def test_parts_that_rest_on_something_else_are_refused(other, name):
    for parts in ([part(), other], [other, part()], [part(), part(), other]):
        with pytest.raises(ValueError, match=f"differs from part 0 in .*'{name}'"):
            Certificates.join(parts)


def test_files_that_do_not_name_their_network_are_not_joined():
    old = replace(part(), details={"weights": "a", "effort": "full"})
    assert_equal(Certificates.join([old]), old)
    for parts in ([old, old], [old, part()], [part(), old]):
        with pytest.raises(ValueError, match="differs from part 0 in .*'network'"):
            Certificates.join(parts)


def test_nothing_cannot_be_joined():
    with pytest.raises(ValueError, match="Received: an empty list"):
        Certificates.join([])
