"""Every case in certificates: no point leaves a bound, the checker agrees.

That the certifier's network is the one that runs, on every backend, is held by tests/rules/test_cases.py.
"""

import numpy as np
import pytest

from keraslip.certify import check
from tests.cases import CASES
from tests.certify.nets import EXACT, FLOAT32, evaluated, network, weights_alone
from tests.certify.test_sound_pass import Sampled, assert_balls, assert_boxes, assert_logits
from tests.certify.test_sound_pass import sound_pass as passed
from tests.harness import bound

pytestmark = weights_alone
EPSILON = 0.1


#: Overlapping means, whose norm is that of all units.
LOOSER = {"pooled"}


@pytest.fixture(params=CASES)
def name(request):
    return request.param


def test_no_point_of_the_ball_leaves_a_bound(name):
    net, x = network(name), CASES[name].inputs()
    points = Sampled(net, x, EPSILON)
    for norms in ("global", "local"):
        found = passed(net, x, EPSILON, norms)
        assert_boxes(net, found, points)
        assert_balls(found, points)
        for label in range(net.classes):
            for execution in (EXACT, FLOAT32):
                found = evaluated(net, x, label, EPSILON, norms, execution=execution)
                assert_logits(found, points, label)


def test_lipschitz_bounds_are_no_looser_than_those_of_training(name):
    """Two codes for one network: they differ by the slack of proved norms."""
    case, net = CASES[name], network(name)
    x = case.inputs()
    trained = bound(case.model, x, EPSILON)
    for hard in (True, False):
        found = evaluated(net, x, trained.label, EPSILON, "local", backwards=False, hard=hard)
        assert (
            found.lipschitz <= trained.lipschitz * (1.2 if name in LOOSER else 1.005) + 1e-6
        ).all()


def test_the_independent_checker_confirms(name, tmp_path, capsys):
    case = CASES[name]
    x = case.inputs(4)
    found = case.model.certify(x, epsilon=0.01, radius=True, verbose=False)
    found.save(tmp_path / "c.npz", model=case.model, x=x)
    steps, claims = check.read(str(tmp_path / "c.npz"))
    confirmed, unsure, wrong = check.check(steps, claims, 20)
    said = capsys.readouterr().out
    assert wrong == 0, said
    # Its own bounds, which are simpler, reach almost as far.
    assert confirmed > 2 * unsure, said


def test_as_many_samples_as_columns():
    """Of a dense layer's norms on images, whose axes could be taken for the batch."""
    case, net = CASES["dense of images"], network("dense of images")
    x = case.inputs(case.shape[1])
    radii = np.linspace(0.01, 1.0, len(x))
    together = evaluated(net, x, 0, radii).margins.least
    alone = [evaluated(net, x[[i]], 0, radii[[i]]).margins.least[0] for i in range(len(x))]
    np.testing.assert_allclose(together, alone, rtol=1e-9)
