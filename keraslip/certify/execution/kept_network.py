"""The network of a model as the certifier sees it, with the norms that were proved for it."""

import hashlib
from typing import Any, NamedTuple

import keras
import numpy as np

from keraslip.certify.bound.network import Network
from keraslip.certify.execution.content import raw
from keraslip.certify.execution.fingerprint import fingerprint
from keraslip.certify.execution.precision import check_precision, check_weights
from keraslip.certify.execution.probe import probe
from keraslip.rules.bounded import check_bounded
from keraslip.rules.derived import settle
from keraslip.rules.kept import NETWORK, PROBED
from keraslip.rules.signature import Signature, signature


class _Kept(NamedTuple):
    """A network with its norms, and what it is the network of."""

    network: Network
    #: Of what is computed.
    fingerprint: str
    #: Of everything about the model, what no configuration shows included.
    signature: Signature
    #: Of the values of its weights.
    weights: str


def network_of(model: Any) -> tuple[Network, str]:
    """The network of a model as it is now, with the norms proved for it before if it is the same.

    The model is written down anew at every call, so that no change of a layer can go unseen; only norms are
    kept, which follow from what is written.

    Returns:
        The network and its fingerprint.

    Raises:
        ValueError: for weights that are not finite, or less precision than float32.
        UnsupportedLayerError: at a layer that no certificate can pass.
        MismatchError: at a layer that computes something else than its rule says.
    """
    settle(model)
    values = _values(model)
    check_bounded(model)
    check_precision(model)
    check_weights(model)
    network = Network(model)
    digest = fingerprint(model, network)
    now = signature(model)
    kept: _Kept | None = model.__dict__.get(NETWORK)
    if kept is not None and (kept.fingerprint, kept.signature) == (digest, now):
        # Weights of the model's own, epsilon and warm starts, are no part of the network.
        if kept.weights != values:
            model.__dict__[NETWORK] = _Kept(kept.network, digest, now, values)
        return kept.network, digest
    # Here for the first time, or changed in any way since.
    if model.__dict__.get(PROBED) != (digest, now):
        probe(model, network)
        model.__dict__[PROBED] = digest, now
    if kept is not None and kept.fingerprint == digest:
        network = kept.network
    model.__dict__[NETWORK] = _Kept(network, digest, now, values)
    return network, digest


def unchanged(model: Any, digest: str) -> bool:
    """Whether a model is still what `network_of` found, with that fingerprint."""
    kept: _Kept | None = model.__dict__.get(NETWORK)
    if kept is None or kept.fingerprint != digest or kept.weights != _values(model):
        return False
    return kept.signature == signature(model)


def _values(model: Any) -> str:
    """A hash of all weights, those that no step shows included."""
    found = hashlib.sha256()
    for weight in model.weights:
        found.update(raw(np.asarray(keras.ops.convert_to_numpy(weight))))
    return found.hexdigest()
