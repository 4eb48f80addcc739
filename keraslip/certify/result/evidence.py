"""What `python -m keraslip.certify.check` needs: a small network as plain matrices, some inputs, and what the
backend makes of them."""

import secrets
from typing import TYPE_CHECKING, Any

import numpy as np

from keraslip.certify.bound.network import Network
from keraslip.certify.bound.nodes import ActivationNode, Forward, LinearNode, Node, SumNode
from keraslip.certify.execution import block
from keraslip.certify.execution.attack import INSIDE, attacked
from keraslip.certify.execution.executed import Executed
from keraslip.certify.execution.kept_network import network_of
from keraslip.certify.norms.rounding import UNIT32
from keraslip.checks import check_array

if TYPE_CHECKING:
    from keraslip.certify.result.certificates import Certificates

#: Numbers in all matrices together, at most: the checker takes dense singular values.
_LARGEST = 30_000_000
#: Samples in a batch, and random points of every ball, that are executed.
_BATCH, _POINTS = 64, 2


def evidence(model: Any, x: Any, found: "Certificates", samples: int) -> dict[str, np.ndarray]:
    """The network, some inputs and executed logits as arrays.

    Step k computes `z_k = sum_b M_kb h_b + c_k` and `h_k = activation(z_k)`; h_0 is the input, and the last
    step has no activation. `check_k_matrix_b` is M_kb, `check_k_constant` c_k, `check_k_kind` the activation,
    `check_k_upper` and `check_k_lower` its clips. Of rounding, `check_k_terms` counts the roundings on the
    longest path through the layers of the step, and `check_k_magnitude_b` and `check_k_magnitude` are M_kb
    and c_k of the layers' magnitudes, where these are not the magnitudes of M_kb and c_k.

    `check_points` has points of every ball, the input itself first, and `check_executed` their logits as the
    backend computes them now.

    Args:
        model: The model that was certified.
        x: All inputs that were certified, `(n, *shape)`.
        found: The certificates.
        samples: How many of those with a certificate, or a certified radius, to include, spread over all.

    Returns:
        Arrays by name, for `Certificates.save`.

    Raises:
        ValueError: if the network is too large to be written out, or model or inputs are others.
    """
    if len(x) != len(found):
        raise ValueError(f"There are {len(found)} certificates. Received: {len(x)} inputs")
    network, digest = network_of(model)
    if digest != found.details.get("network"):
        raise ValueError(
            "The model's weights, layers, backend or settings of Keras are not those that were certified; "
            "certify it again."
        )
    x = check_array(x, network.in_shape)
    _check_inputs(found, block.in_float32(x))
    rows = _spread(found, samples)
    steps = list(network.activations.values())
    sources = [step.sources[0] for step in steps] + [network.logits]
    size = sum(op.inputs * op.outputs for node in sources for op in node.terms.values())
    if size > _LARGEST:
        raise ValueError(
            "Only small networks can be written out for the independent checker: this one has "
            f"{size:,} matrix entries, more than {_LARGEST:,}. Save without model and x."
        )
    number = {0: 0, **{step.index: k for k, step in enumerate(steps, start=1)}}
    arrays: dict[str, np.ndarray] = {
        "check_rows": rows,
        "check_x": x[rows].reshape(len(rows), int(np.prod(x.shape[1:]))).astype("float64"),
        "check_network": np.array(digest),
    }
    constants, magnitudes = _Constants(network).values, _Constants(network, True).values
    terms = _Terms(network).values
    for k, node in enumerate(sources, start=1):
        arrays[f"check_{k}_constant"] = constants[node.index].reshape(-1)
        arrays[f"check_{k}_magnitude"] = magnitudes[node.index].reshape(-1)
        arrays[f"check_{k}_terms"] = np.array(terms[node.index])
        absolute = _magnitudes(network, node)
        for ball, operator in node.terms.items():
            basis = np.eye(operator.outputs).reshape(-1, *operator.out_shape)
            matrix = operator.adjoint(basis).reshape(operator.outputs, -1)
            arrays[f"check_{k}_matrix_{number[ball]}"] = matrix
            if not np.allclose(absolute[ball], np.abs(matrix), rtol=1e-9, atol=0.0):
                arrays[f"check_{k}_magnitude_{number[ball]}"] = absolute[ball]
        if k <= len(steps):
            arrays |= {f"check_{k}_{name}": a for name, a in _kind(steps[k - 1]).items()}
    return arrays | _executions(model, x[rows].astype("float32"), rows, found)


def _spread(found: "Certificates", samples: int) -> np.ndarray:
    """Some of the samples that something is claimed of."""
    claimed = found.certified if found.radius is None else found.certified | (found.radius > 0.0)
    rows = np.flatnonzero(claimed)
    return rows[np.linspace(0, len(rows) - 1, min(samples, len(rows))).astype(int)]


def _check_inputs(found: "Certificates", given: block.Block) -> None:
    """Raises for inputs that are not those that were certified; joined certificates do not tell."""
    for number, known in enumerate(found.details.get("blocks", [])):
        rows = slice(number * block.SIZE, (number + 1) * block.SIZE)
        # Whether labels were given is not kept.
        asked = [block.Block(given.x[rows], y, given.off[rows]) for y in (None, found.label[rows])]
        if known not in [part.digest(found.epsilon[rows]) for part in asked]:
            raise ValueError(
                "These inputs are not those that were certified. "
                f"Received: others among samples {rows.start} to {min(rows.stop, len(found)) - 1}"
            )


def _executions(
    model: Any, x: np.ndarray, rows: np.ndarray, found: "Certificates"
) -> dict[str, np.ndarray]:
    """The backend's logits at some points of every ball: the input, random ones, one that is attacked."""
    if not len(x):
        return {}
    epsilon, label, rng = found.epsilon[rows], found.label[rows], np.random.default_rng()
    if found.radius is not None:
        radius = INSIDE * found.radius[rows]
        epsilon = np.where(np.isfinite(radius), np.maximum(radius, epsilon), epsilon)
    points = [x]
    for _ in range(_POINTS):
        d = rng.standard_normal(x.shape)
        length = (
            epsilon * rng.uniform(0.5, 1.0, len(x)) / np.linalg.norm(d.reshape(len(x), -1), axis=1)
        )
        points.append((x + d * length.reshape(-1, *(1,) * (x.ndim - 1))).astype("float32"))
    seed = secrets.randbits(32)
    points.append(attacked(model, x, label, epsilon, _BATCH, valid=False, seed=seed))
    some = np.stack(points, axis=1)
    logits = Executed(model, _BATCH).logits(some.reshape(-1, *x.shape[1:]))
    shape = len(x), len(points), -1
    return {"check_points": some.reshape(shape), "check_executed": logits.reshape(shape)}


class _Terms:
    """Roundings on the longest path from the last activations to every step; a `Visitor`."""

    def __init__(self, network: Network) -> None:
        self.values = {0: 0.0}
        for node in network.steps:
            self.values[node.index] = node.visit(self)

    def linear(self, node: LinearNode) -> float:
        # Products, a bias, the coefficients' own rounding.
        own = node.operator.terms + 4.0 + node.operator.slack / UNIT32
        return self._before(node) + (0.0 if node.operator.copies else own)

    def sum(self, node: SumNode) -> float:
        return self._before(node) + len(node.sources) + 1.0

    def activate(self, node: ActivationNode) -> float:
        return 0.0

    def _before(self, node: Node) -> float:
        return max(self.values[source.index] for source in node.sources)


def _magnitudes(network: Network, last: Node) -> dict[int, np.ndarray]:
    """The matrix from every ball to a step, if each layer in between took magnitudes."""
    size = int(np.prod(last.shape))
    back: dict[int, Any] = {last.index: np.eye(size).reshape(-1, *last.shape)}
    found: dict[int, np.ndarray] = {}
    for node in reversed(network.nodes):
        rows = back.pop(node.index, None)
        if rows is None:
            continue
        if node.is_ball:
            found[node.index] = rows.reshape(size, -1)
            continue
        for source in node.sources:
            moved = node.operator.absolute.adjoint(rows) if isinstance(node, LinearNode) else rows
            back[source.index] = back.get(source.index, 0.0) + moved
    return found


class _Constants(Forward):
    """The value of every step where all balls are zero; of the numbers, or of their magnitudes."""

    def __init__(self, network: Network, magnitudes: bool = False) -> None:
        super().__init__({0: np.zeros((1, *network.in_shape))})
        self.magnitudes = magnitudes
        for node in network.steps:
            value = node.visit(self)
            self.values[node.index] = np.broadcast_to(value, (1, *node.shape))

    def linear(self, node: LinearNode) -> np.ndarray:
        operator = node.operator.absolute if self.magnitudes else node.operator
        return self._plus(operator.forward(self.values[node.sources[0].index]), node.bias)

    def sum(self, node: SumNode) -> np.ndarray:
        total = np.add.reduce([self.values[source.index] for source in node.sources])
        return self._plus(np.asarray(total), node.constant)

    def activate(self, node: ActivationNode) -> np.ndarray:
        return np.zeros((1, *node.shape))

    def _plus(self, value: np.ndarray, number: np.ndarray | None) -> np.ndarray:
        if number is None:
            return value
        return value + (np.abs(number) if self.magnitudes else number)


def _kind(node: ActivationNode) -> dict[str, np.ndarray]:
    """An activation as flat arrays; a ValueError if the checker does not know it."""
    arrays = node.activation.plain(node.shape)
    if arrays is None:
        raise ValueError(
            f"The independent checker does not know the activation of {node.name!r}. Save without model and "
            f"x, or describe it by `plain`. Received: {type(node.activation).__name__}"
        )
    return {name: np.asarray(array) for name, array in arrays.items()}
