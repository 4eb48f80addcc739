"""Every case on every backend: no sampled point leaves a bound of training; proofs are of what runs.

Every rule has a case.
"""

import keras
import numpy as np
import pytest

import keraslip
from keraslip.certify.bound.network import Network
from keraslip.rules import registry
from keraslip.rules.activations import _BY_SPELLING
from keraslip.rules.walk import visits
from tests.cases import CASES, Case
from tests.certify.nets import forward
from tests.harness import run_rule_test

#: All bounds on PyTorch; elsewhere the local one, for which a backend computes all that a rule says.
MODES = ("local", "global", "paper") if keras.backend.backend() == "torch" else ("local",)
#: Every pass is compiled for batches of this size.
SAMPLES = 2


@pytest.mark.parametrize("name", CASES)
def test_bounds_of_training_hold_and_the_certifier_knows_what_runs(name):
    case = CASES[name]
    try:
        case.model.predict_on_batch(case.inputs(SAMPLES))
    except Exception as error:  # noqa: BLE001 - some builds have no kernel for channels-first images
        if name != "channels first" or keras.backend.backend() != "tensorflow":
            raise
        pytest.skip(f"TensorFlow has no such kernel on this machine: {error!r:.60}")
    run_rule_test(case.model, case.shape, epsilons=(0.1,), modes=MODES, pgd=case.attacked)
    # The certifier knows the network that runs, here compiled as before: the same numbers.
    x = case.inputs(SAMPLES)
    network = Network(case.model)
    executed = case.model.predict_on_batch(x)
    np.testing.assert_allclose(
        forward(network, x)[network.logits.index], executed, rtol=1e-5, atol=1e-5
    )


def without_a_case(cases):
    """Rules of keraslip that no case uses; of a function's spellings one is enough."""
    operations = [visit.operation for case in cases for visit in visits(case.model)]
    used = {type(operation) for operation in operations} | {keras.layers.InputLayer}
    used |= {getattr(operation, "activation", None) for operation in operations}
    seen = {kind for spelling, kind in _BY_SPELLING.items() if spelling in used}
    used |= {spelling for spelling, kind in _BY_SPELLING.items() if kind in seen}
    rules = {**registry._RULES, **registry._FUNCTIONS}
    return {
        kind.__name__
        for kind, rule in rules.items()
        if kind not in used and type(rule).__module__.startswith(f"{keraslip.__name__}.")
    }


def test_every_rule_has_a_case():
    missing = without_a_case(CASES.values())
    assert not missing, f"add a case to tests/cases.py for {sorted(missing)}"


def test_a_rule_without_a_case_is_found():
    cases = [case for name, case in CASES.items() if not name.startswith("average pooling")]
    cases = [case for case in cases if case not in (CASES["pooled"], CASES["means"])]
    assert without_a_case(cases) == {f"AveragePooling{rank}D" for rank in (1, 2, 3)}
    assert "Dense" not in without_a_case([Case((4,), keras.layers.Dense(3))])
    cases = [case for name, case in CASES.items() if "mish" not in name]
    assert without_a_case(cases) == {"mish"}
