"""The independent checker confirms what is right and contradicts what is not."""

import functools
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import keraslip
from keraslip.certify import check
from keraslip.certify.bound.network import Network
from keraslip.certify.operators import prove
from keraslip.certify.result import evidence
from tests.certify.nets import weights_alone

pytestmark = weights_alone

EPSILON = 0.03


def build(activation):
    """A small network with a branch."""
    inputs = keras.Input((5, 5, 1))
    x = keraslip.layers.MaskedLipschitzConv2D(4, 3, padding="same")(inputs)
    x = activation()(x)
    x = keras.layers.Add()([x, keraslip.layers.MaskedLipschitzConv2D(4, 3, padding="same")(x)])
    x = activation()(x)
    x = keras.layers.Flatten()(x)
    x = keraslip.layers.MaskedLipschitzDense(8)(x)
    x = activation()(x)
    outputs = keraslip.layers.MaskedLipschitzDense(3)(x)
    model = keraslip.LocalLipschitzModel(inputs, outputs)
    model.compile("sgd", epsilon=EPSILON)
    return model


NETS = {
    "clipped_relu": lambda: keraslip.layers.ClippedReLU(0.4),
    "relu": keras.layers.ReLU,
    "clipped_maxmin": lambda: keraslip.layers.ClippedMaxMin(0.3, -0.3),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """By the name of a net: the model, its certificates, and the file for the checker."""

    @functools.cache
    def make(name):
        keras.utils.set_random_seed(2)
        model = build(NETS[name])
        x = np.random.default_rng(0).uniform(size=(40, 5, 5, 1)).astype("float32")
        options = {"arithmetic": "float64", "radius": True, "verbose": False}
        certificates = model.certify(x, batch_size=16, **options)
        path = tmp_path_factory.mktemp("check") / "certificates.npz"
        certificates.save(path, model=model, x=x, samples=14)
        return model, x, certificates, path

    return make


@pytest.fixture(params=NETS)
def saved(request, made):
    """Every net."""
    return made(request.param)


@pytest.fixture
def one(made):
    """One of them, where activations do not matter."""
    return made("clipped_relu")


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the checker; returns status, output and errors."""

    def call(*arguments, points=20):
        words = ["check", *map(str, arguments), "--points", str(points)]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as done:
            check.main()
        return done.value.code, *capsys.readouterr()

    return call


def changed(path, drop=(), **arrays):
    """A copy of the file with other arrays."""
    with np.load(path) as stored:
        content = {name: stored[name] for name in stored.files if name not in drop}
    other = path.with_name("changed.npz")
    np.savez(other, **{**content, **arrays})
    return other


def rows(path):
    with np.load(path) as stored:
        return stored["check_rows"]


def test_certified_samples_and_radii_are_confirmed(saved, run):
    _, _, certificates, path = saved
    chosen = rows(path)
    count, positive = certificates.certified[chosen].sum(), (certificates.radius[chosen] > 0).sum()
    assert count >= 3 and positive == len(chosen) == 14
    status, out, _ = run(path)
    assert status == 0
    words = "Confirmed for the ideal network: the label in"
    assert f"{words} {count} balls of epsilon, {positive} certified radii" in out
    assert "The backend's logits at 4 points of each agree with it: off by at most" in out
    assert "14 confirmed, 0 not confirmed, 0 contradicted" in out.splitlines()[-1]
    assert run(path, "--strict")[0] == 0


def test_a_part_is_looked_at_and_the_rest_is_not_confirmed(one, run, monkeypatch):
    path = one[-1]
    status, out, said = run(path, "--limit", 3)
    assert status == 0 and "3 confirmed, 0 not confirmed, 0 contradicted" in out and said == ""
    assert out.splitlines()[-1] == "11 not looked at, because of --limit 3"
    assert run(path, "--limit", 3, "--strict")[0] == 1
    assert run(path, "--limit", 0)[0] == 2
    # A terminal shows how far it is.
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert "sample 2 of 2 ..." in run(path, "--limit", 2)[2]


def test_a_wrong_label_is_contradicted(saved, run):
    _, _, certificates, path = saved
    status, out, _ = run(changed(path, label=(certificates.label + 1) % 3))
    assert status == 1 and "CONTRADICTED: another label" in out


@pytest.mark.parametrize(
    ("name", "factor", "words"),
    [
        ("lipschitz", 1e-3, "logits move faster than the Lipschitz bound"),
        ("margin", 100.0, "where .* is claimed"),
        ("radius", 1000.0, "another label within its certified radius"),
        ("epsilon", 1000.0, "another label within epsilon"),
    ],
)
def test_claims_that_are_too_strong_are_contradicted(saved, run, name, factor, words):
    _, _, certificates, path = saved
    number = int(rows(path)[certificates.certified[rows(path)].argmax()])
    array = getattr(certificates, name).copy()
    array[number] *= factor
    status, out, _ = run(changed(path, **{name: array}))
    assert status == 1 and f"sample {number}: CONTRADICTED" in out
    (line,) = (line for line in out.splitlines() if "CONTRADICTED" in line)
    assert re.search(words, line)


def test_a_radius_that_the_bounds_do_not_reach_is_not_confirmed(saved, run):
    """One in between: no bound confirms it, and no search contradicts it."""
    _, _, certificates, path = saved
    model, steps = saved[0], check.read(str(path))[0]
    number = int(rows(path)[certificates.certified[rows(path)].argmax()])
    x, label = saved[1][number].reshape(-1).astype("float64"), int(certificates.label[number])
    radius = certificates.radius.copy()
    while check.largest_margin(steps, x, label, radius[number]) > 0:
        radius[number] *= 1.02
    other = changed(path, radius=radius)
    for options, status in (((), 0), (("--strict",), 1)):
        code, out, _ = run(other, *options)
        assert code == status and f"sample {number}: not confirmed at radius" in out, model.name
    assert f"{len(rows(path)) - 1} confirmed, 1 not confirmed, 0 contradicted" in out


def test_nothing_confirmed_is_a_failure(one, run):
    certificates, path = one[2], one[3]
    none = changed(path, certified=0 * certificates.certified, radius=0 * certificates.radius)
    status, out, _ = run(none)
    assert status == 1 and "0 confirmed, 0 not confirmed, 0 contradicted" in out


@pytest.mark.parametrize("certifier", ["scaled", "as it is"])
def test_a_network_that_is_not_what_runs_is_contradicted(
    one, run, tmp_path, monkeypatch, certifier
):
    """The file holds the certifier's matrices and the backend's logits: a wrong rule shows."""
    model, x, certificates, _ = one
    network, digest = evidence.network_of(model)
    if certifier == "scaled":
        network = Network(model)
        last = network.logits
        scaled = prove(last.operator.map.each(lambda part: part * (1 + 1e-3)))
        object.__setattr__(last, "operator", scaled)
        (ball,) = last.terms
        last.terms[ball] = scaled  # the branch flows through an activation
    monkeypatch.setattr(evidence, "network_of", lambda model: (network, digest))
    certificates.save(tmp_path / "c.npz", model=model, x=x, samples=5)
    status, out, _ = run(tmp_path / "c.npz")
    assert status == (1 if certifier == "scaled" else 0)
    assert ("another network runs" in out) == (certifier == "scaled")


def test_executed_logits_are_held_against_what_float32_may_round(one, run):
    path = one[3]
    with np.load(path) as stored:
        executed = stored["check_executed"]
    assert executed.shape[:2] == (len(rows(path)), 4)
    for point in (0, 3):  # the input, and the attacked one
        wrong = executed.copy()
        wrong[5, point, 1] += 1e-3
        status, out, _ = run(changed(path, check_executed=wrong))
        assert status == 1 and f"sample {rows(path)[5]}: CONTRADICTED: executed logits" in out
    wrong[5] = np.nan
    assert run(changed(path, check_executed=wrong))[0] == 1


def test_an_executed_label_that_is_not_the_one_certified_is_contradicted(one, run):
    """Within what float32 may round the ideal network may have a label that what runs does not have."""
    _, _, certificates, path = one
    with np.load(path) as stored:
        executed, meta = stored["check_executed"].copy(), str(stored["meta"])
    chosen = int(certificates.certified[rows(path)].argmax())
    label = certificates.label[rows(path)[chosen]]
    other = (label + 1) % 3
    # As if float32 brought both logits to one number, and an allowance that lets it.
    executed[chosen, 0, other] = executed[chosen, 0, label]
    wide = {f"check_{k}_terms": np.array(2.0**21) for k in (1, 2, 3, 4)}
    assert '"arithmetic": "float64"' in meta
    ideal = changed(path, check_executed=executed, **wide)
    assert run(ideal)[0] == 0  # the ideal network is not what runs
    meta = np.array(meta.replace('"arithmetic": "float64"', '"arithmetic": "float32"'))
    status, out, _ = run(changed(path, check_executed=executed, meta=meta, **wide))
    assert status == 1 and f"sample {rows(path)[chosen]}: CONTRADICTED: executed logits have" in out
    executed[chosen, 0, other] -= 1e-6
    status, out, _ = run(changed(path, check_executed=executed, meta=meta, **wide))
    assert status == 1 and "CONTRADICTED: an executed margin of" in out


def test_an_allowance_without_end_confirms_no_execution(one, run):
    path = one[3]
    endless = changed(path, check_2_terms=np.array(2.0**30))
    status, out, _ = run(endless)
    assert status == 1 and "float32 may round without end" in out and "0 confirmed, 14 not" in out


def test_what_is_no_larger_than_rounding_is_not_confirmed():
    """0.1 + 0.2 is not 0.3 in float64; the gap of these logits is none."""
    steps = check.network(
        {
            "check_x": np.ones((1, 3)),
            "check_1_constant": np.zeros(2),
            "check_1_matrix_0": np.array([[0.1, 0.2, -0.3], [0.0, 0.0, 0.0]]),
        }
    )
    x = np.ones(3)
    assert check.logits(steps, x)[0] > 0.0
    assert not check.bound(steps, x, 0, 0.0)[0] > 0.0
    assert check.bound(steps, 2.0 * x * [1.0, 1.0, 0.5], 0, 0.01)[0] > 0.0


def test_a_number_that_is_none_confirms_nothing():
    """Rows that overflow give NaN for one class, and a margin for another."""
    big = 1e308
    steps = check.network(
        {
            "check_x": np.ones((1, 2)),
            "check_1_constant": np.array([5.0, 0.0, 0.0]),
            "check_1_matrix_0": np.array([[0.0, 0.0], [0.0, 0.0], [big, -big]]),
        }
    )
    with np.errstate(all="ignore"):
        assert not check.bound(steps, np.array([10.0, 10.0]), 0, 0.1)[0] > 0.0


def test_an_execution_in_bfloat16_is_contradicted(one, run):
    path = one[3]
    with np.load(path) as stored:
        bits = stored["check_executed"].view("uint32") & np.uint32(0xFFFF0000)
    status, out, _ = run(changed(path, check_executed=bits.view("float32")))
    assert status == 1 and "another network runs" in out


def test_files_of_before_are_confirmed_without_their_execution(one, run):
    path = one[3]
    with np.load(path) as stored:
        new = [n for n in stored.files if n.endswith("terms") or "magnitude" in n]
    old = changed(path, drop=[*new, "check_points", "check_executed", "radius"])
    status, out, _ = run(old)
    assert status == 0 and "The execution was not checked" in out
    assert " 0 not confirmed, 0 contradicted" in out
    assert run(old, "--strict")[0] == 1  # it is left unconfirmed


def test_radii_that_ctrl_c_came_before_are_left_out(one, run):
    certificates, path = one[2], one[3]
    status, out, _ = run(changed(path, radius=np.full(len(certificates), np.nan)))
    assert status == 0 and "0 certified radii" in out
    assert f"{certificates.certified[rows(path)].sum()} confirmed, 0 not" in out


def test_certificates_load_with_the_evidence_beside_them(one):
    _, _, certificates, path = one
    loaded = keraslip.Certificates.load(path)
    np.testing.assert_array_equal(loaded.margin, certificates.margin)


def broken(one, tmp_path):
    """Files that cannot be checked, by what is said of them."""
    path = one[3]
    whole = path.read_bytes()
    one[2].save(tmp_path / "plain.npz")
    (tmp_path / "text.npz").write_text("no certificates")
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    damaged = bytearray(whole)
    for place in range(len(whole) // 4, len(whole) // 2):
        damaged[place] ^= 0x55
    (tmp_path / "damaged.npz").write_bytes(damaged)
    np.save(tmp_path / "array.npy", np.zeros(3))
    with np.load(path) as stored:
        constant, matrix = stored["check_2_constant"], stored["check_1_matrix_0"]
    odd = {
        "missing": {"drop": ["check_2_constant"]},
        "shorter": {"check_2_constant": constant[1:]},
        "infinite": {"check_1_matrix_0": np.inf * (1 + matrix)},
        "few": {"label": one[2].label[:3]},
        "beyond": {"label": one[2].label + 3},
        "negative": {"label": one[2].label - 3},
        "fractions": {"label": one[2].label + 0.0},
        "twice": {"check_rows": np.repeat(rows(path)[:7], 2)},
        "before": {"check_rows": rows(path) - 40},
    }
    for name, arguments in odd.items():
        changed(path, **arguments).rename(tmp_path / f"{name}.npz")
    return {
        tmp_path / "nowhere.npz": "No such file",
        tmp_path: "directory",
        tmp_path / "plain.npz": "model=model",
        tmp_path / "text.npz": "damaged",
        tmp_path / "half.npz": "damaged",
        tmp_path / "damaged.npz": "damaged",
        tmp_path / "array.npy": "damaged",
        **{tmp_path / f"{name}.npz": "belong together" for name in odd},
    }


def test_what_cannot_be_checked_is_one_line_and_status_2(one, run, tmp_path):
    for path, words in broken(one, tmp_path).items():
        status, out, err = run(path)
        assert status == 2 and out == "", path
        assert len(err.splitlines()) == 1 and words in err and str(path) in err, err


@pytest.mark.parametrize("arguments", [(), ("a", "b"), ("a", "--pointes", "3")])
def test_wrong_arguments_are_one_line_and_status_2(run, arguments):
    status, out, err = run(*arguments)
    assert status == 2 and out == "" and len(err.splitlines()) == 1 and "error" in err


@pytest.mark.parametrize("points", ["0", "-3", "many"])
def test_a_number_of_points_is_one_at_least(run, points):
    status, _, err = run("a.npz", points=points)
    assert status == 2 and len(err.splitlines()) == 1 and f"Received: {points}" in err


def test_other_weights_are_refused(one, tmp_path):
    _, x, certificates, _ = one
    other = build(NETS["relu"])
    with pytest.raises(ValueError, match="not those that were certified"):
        certificates.save(tmp_path / "c.npz", model=other, x=x)
    assert list(tmp_path.iterdir()) == []


def test_other_inputs_are_refused(one, tmp_path):
    model, x, certificates, path = one
    other = x.copy()
    other[-1, 0, 0, 0] += 1e-6
    for wrong in (other, x.astype("float64") + 1e-12, x[::-1]):
        with pytest.raises(ValueError, match="not those that were certified.* samples 0 to 39"):
            certificates.save(tmp_path / "c.npz", model=model, x=wrong)
    certificates.save(tmp_path / "c.npz", model=model, x=x.astype("float64").tolist(), samples=2)
    labelled = model.certify(x, certificates.label, epsilon=0.01, verbose=False)
    labelled.save(tmp_path / "c.npz", model=model, x=x, samples=2)
    # Joined certificates do not say of what they were made.
    joined = keraslip.Certificates.join([certificates])
    joined.save(tmp_path / "c.npz", model=model, x=x, samples=2)


def test_large_networks_are_refused(one, tmp_path, monkeypatch):
    model, x, certificates, _ = one
    monkeypatch.setattr(evidence, "_LARGEST", 1000)
    with pytest.raises(ValueError, match="small networks"):
        certificates.save(tmp_path / "c.npz", model=model, x=x)


def test_the_checker_shares_no_code():
    source = Path(check.__file__).read_text()
    imports = [line for line in source.splitlines() if line.startswith(("import", "from"))]
    assert imports == [
        "import argparse",
        "import json",
        "import sys",
        "from typing import Any",
        "import numpy as np",
    ]


HEAVY = ("keras", "tensorflow", "jax", "torch", "scipy", "rich")
#: Runs a module or a file, then says which of those packages it imported.
AROUND = """
import runpy, sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {{*sys.stdlib_module_names, "numpy", *{allowed}}}:
            raise ImportError(name)
if {refuse}:
    sys.meta_path.insert(0, Refused())
sys.argv = [{name!r}, {path!r}, "--points", "5"]
try:
    runpy.{how}({name!r}, run_name="__main__")
except SystemExit as done:
    print("status", done.code, [name for name in {heavy} if name in sys.modules])
"""


@pytest.mark.parametrize("as_file", [True, False])
def test_the_checker_needs_numpy_alone(one, as_file):
    path = str(one[3])
    if as_file:
        words = {"how": "run_path", "name": check.__file__, "refuse": True, "allowed": ()}
        code = AROUND.format(path=path, heavy=HEAVY, **words)
        command = [sys.executable, "-c", code]
    else:
        command = [sys.executable, "-X", "importtime", "-m", "keraslip.certify.check", path]
    done = subprocess.run(command, capture_output=True, text=True)
    if as_file:
        assert done.stdout.splitlines()[-1] == "status 0 []", done.stderr
        return
    assert done.returncode == 0 and "confirmed" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "numpy" in imported and not imported.intersection(HEAVY)
