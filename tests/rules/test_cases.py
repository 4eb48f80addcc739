"""Every case in training: sampled points of the ball leave none of its bounds; every rule has a case."""

import keras
import pytest

import keraslip
from keraslip.rules import registry
from keraslip.rules.walk import visits
from tests.cases import CASES, Case
from tests.harness import run_rule_test


@pytest.mark.parametrize("name", CASES)
def test_no_point_of_the_ball_leaves_a_bound_of_training(name):
    case = CASES[name]
    try:
        case.model.predict_on_batch(case.inputs())
    except Exception as error:  # noqa: BLE001 - some builds have no kernel for channels-first images
        if name != "channels first" or keras.backend.backend() != "tensorflow":
            raise
        pytest.skip(f"TensorFlow has no such kernel on this machine: {error!r:.60}")
    run_rule_test(case.model, case.shape, epsilons=(0.1,), pgd=case.attacked)


def without_a_case(cases):
    """Rules of keraslip that no case uses."""
    used = {type(visit.operation) for case in cases for visit in visits(case.model)}
    used |= {keras.layers.InputLayer}
    rules = {kind: rule for kind, rule in registry._RULES.items() if kind not in used}
    return {
        kind.__name__
        for kind, rule in rules.items()
        if type(rule).__module__.startswith(f"{keraslip.__name__}.")
    }


def test_every_rule_has_a_case():
    missing = without_a_case(CASES.values())
    assert not missing, f"add a case to tests/cases.py for {sorted(missing)}"


def test_a_rule_without_a_case_is_found():
    cases = [case for name, case in CASES.items() if not name.startswith("average pooling")]
    cases = [case for case in cases if case not in (CASES["pooled"], CASES["means"])]
    assert without_a_case(cases) == {"AveragePooling1D", "AveragePooling2D"}
    assert "Dense" not in without_a_case([Case((4,), keras.layers.Dense(3))])
