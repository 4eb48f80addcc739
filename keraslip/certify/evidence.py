"""What `python -m keraslip.certify.check` needs: a small network as plain matrices, and some inputs."""

from typing import Any

import numpy as np

from keraslip.certify.kept_network import network_of
from keraslip.certify.network import ActivationNode, LinearNode, Network, Node, SumNode
from keraslip.certify.slopes import ProvedClippedReLU, ProvedMaxMin

#: Numbers in all matrices together, at most: the checker takes dense singular values.
_LARGEST = 30_000_000


def evidence(model: Any, x: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The network and some inputs as arrays.

    Step k computes `z_k = sum_b M_kb h_b + c_k` and `h_k = activation(z_k)`; h_0 is the input, and the last
    step has no activation. `check_k_matrix_b` is M_kb, `check_k_constant` c_k, `check_k_kind` the activation,
    `check_k_upper` and `check_k_lower` its clips.

    Args:
        model: The model that was certified.
        x: All inputs that were certified, `(n, *shape)`.
        rows: Which of them to include.

    Returns:
        Arrays by name, for `Certificates.save`.

    Raises:
        ValueError: if the network is too large to be written out.
    """
    network, digest = network_of(model)
    steps = [node for node in network.nodes if isinstance(node, ActivationNode)]
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
    constants = _constants(network)
    for k, node in enumerate(sources, start=1):
        arrays[f"check_{k}_constant"] = constants[node.index].reshape(-1)
        for ball, operator in node.terms.items():
            basis = np.eye(operator.outputs).reshape(-1, *operator.out_shape)
            matrix = operator.adjoint(basis).reshape(operator.outputs, -1)
            arrays[f"check_{k}_matrix_{number[ball]}"] = matrix
        if k <= len(steps):
            arrays |= {f"check_{k}_{name}": a for name, a in _kind(steps[k - 1]).items()}
    return arrays


def _constants(network: Network) -> dict[int, np.ndarray]:
    """The value of every step where all balls are zero."""
    values: dict[int, np.ndarray] = {}
    for node in network.nodes:
        if node.is_ball:
            values[node.index] = np.zeros((1, *node.shape))
        elif isinstance(node, LinearNode):
            value = node.operator.forward(values[node.sources[0].index])
            values[node.index] = value if node.bias is None else value + node.bias
        elif isinstance(node, SumNode):
            total = sum(values[source.index] for source in node.sources)
            values[node.index] = np.asarray(
                total if node.constant is None else total + node.constant
            )
    return {
        index: np.broadcast_to(value, (1, *_shape(network, index)))
        for index, value in values.items()
    }


def _shape(network: Network, index: int) -> tuple[int, ...]:
    return next(node.shape for node in network.nodes if node.index == index)


def _kind(node: Node) -> dict[str, np.ndarray]:
    """An activation as flat arrays; of MaxMin also which entries make a pair."""
    assert isinstance(node, ActivationNode)
    activation = node.activation
    if isinstance(activation, ProvedClippedReLU):
        upper = np.broadcast_to(activation.threshold, (1, *node.shape)).reshape(-1)
        return {"kind": np.array("clipped_relu"), "upper": upper}
    assert isinstance(activation, ProvedMaxMin)
    places = np.arange(np.prod(node.shape)).reshape(1, *node.shape)
    first, second = np.split(places, 2, axis=activation.axis)
    clips = {
        name: np.broadcast_to(clip, first.shape).reshape(-1)
        for name, clip in (("upper", activation.upper), ("lower", activation.lower))
    }
    pairs = np.stack([first.reshape(-1), second.reshape(-1)])
    return {"kind": np.array("maxmin"), "pairs": pairs, **clips}
