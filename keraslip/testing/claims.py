"""What one pass of the bound claims, as NumPy arrays, with norms that have converged."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keraslip.backend import ways_to_run
from keraslip.layers.masked import random_unit_vector
from keraslip.models.robust_step import bound_pass
from keraslip.rules.norm_shapes import WithoutNorms
from keraslip.rules.propagation import Propagation
from keraslip.rules.walk import propagate
from keraslip.typing import Array, Tensor

#: Rows of the first map that points are moved along.
_ROWS = 48
#: Passes of more power iterations than this are compiled: their loops are long.
_WORTH_COMPILING = 20


class FixedVectors:
    """Random starts that depend on the name of the norm alone."""

    def start(self, key: str, linear_map: Any) -> Tensor:
        """See `keraslip.rules.propagation.Vectors`."""
        return _tensor(random_unit_vector(f"test {key}", linear_map.out_shape))


class ExactNorms(Propagation):
    """A pass whose norms are the largest singular values of the masked dense matrices."""

    def _norm(self, index: int, pending: Any, columns: Any, rows: Any, learn: bool = True) -> Any:
        size = int(np.prod(pending.in_shape))
        images = pending.forward(_tensor(np.eye(size).reshape(size, *pending.in_shape)))
        matrix = ops.reshape(images, (1, size, -1))
        if columns is not None:
            matrix = matrix * ops.reshape(columns, (columns.shape[0], size, 1))
        if rows is not None:
            matrix = matrix * ops.reshape(rows, (rows.shape[0], 1, -1))
        return ops.svd(matrix, compute_uv=False)[:, 0]


@dataclass
class Layer:
    """What a pass claims where a form was closed, with the batch axis written out.

    The activation's input and output at the center; radius over epsilon, `(batch,)`; 1.0 for the units that
    may vary; smallest and largest input and output of every unit; some rows of the map before.
    """

    key: str
    before: Array
    after: Array
    gain: Array
    mask: Array
    box_before: tuple[Array, Array]
    box_after: tuple[Array, Array] | None
    rows: Array


@dataclass
class Pass:
    """What one pass claims; one `Layer` for each record of the pass."""

    logits: Array
    worst: Array
    margin: Array
    lipschitz: Array
    label: Array
    layers: list[Layer]

    @property
    def gains(self) -> list[Array]:
        """Radius over epsilon after every layer, `(batch,)`."""
        return [layer.gain for layer in self.layers]

    @property
    def masks(self) -> list[Array]:
        """Which units may vary after every layer."""
        return [layer.mask for layer in self.layers]


def claims(
    model: keras.Model,
    x: Array,
    epsilon: Any,
    mode: str = "local",
    label: Array | None = None,
    power_iterations: int | None = None,
    tight: bool = False,
) -> Pass:
    """One pass of the bound through a small model, whose matrices are written out, outside of any training.

    Margins are of the given labels, or of the largest logits; norms are singular values, or come from power
    iteration. `tight` takes masked row norms of convolutions too.
    """
    known = model.__dict__.setdefault("_passes_of_tests", {})
    key = (mode, power_iterations, tight, label is None)
    if key not in known:
        known[key] = _pass_of(model, mode, power_iterations, tight)
    call, kept = known[key]
    labels = () if label is None else (np.asarray(label, "int32"),)
    found = call(np.asarray(x, "float32"), np.asarray(epsilon, "float32"), *labels)
    logits, worst, margin, lipschitz, chosen = found[:5]
    rest, layers = iter(found[5:]), []
    for path, boxed in kept:
        before, after, gain, mask, low, high, rows = (next(rest) for _ in range(7))
        box = (next(rest), next(rest)) if boxed else None
        layers.append(Layer(path, before, after, gain, mask, (low, high), box, rows))
    return Pass(logits, worst, margin, lipschitz, chosen, layers)


def _pass_of(
    model: keras.Model, mode: str, power_iterations: int | None, tight: bool
) -> tuple[Callable[..., list[Array]], list[tuple[str, bool]]]:
    kept: list[tuple[str, bool]] = []

    def function(x: Tensor, epsilon: Tensor, label: Tensor = None) -> list[Tensor]:
        kind = ExactNorms if power_iterations is None else Propagation
        context = kind(epsilon, FixedVectors(), mode, power_iterations or 1, tight=tight)
        found = bound_pass(model, x, label, context)
        one = ops.ones_like(found.lipschitz)
        out = [found.logits, found.worst, found.margin, found.lipschitz, found.labels.index]
        kept[:] = []
        for record in context.records:
            ball, form = record.ball, record.form
            box = None if ball.box is None else ball.box()
            kept.append((record.key, box is not None))
            mask = ops.ones_like(ball.center)
            mask = mask if ball.varying is None else mask * ball.varying
            pending = form.terms[0][1]
            rows = pending.adjoint(_some_rows(pending.out_shape))
            out += [form.center, ball.center, ball.gain * one, mask, *context._box(form), rows]
            out += [] if box is None else list(box)
        return out

    return plainly(model, function, (power_iterations or 0) > _WORTH_COMPILING), kept


def plainly(
    model: keras.Model, function: Callable[..., list[Tensor]], compiled: bool = False
) -> Any:
    """A function of tensors as one of arrays, compiled or not where the backend has both ways."""
    # Nets are many here and passes few.
    ways = ways_to_run()
    way = ways.get("compiled" if compiled else "eager")
    return (way or next(iter(ways.values())))(model, function)


def _some_rows(shape: tuple[int, ...]) -> Tensor:
    """Basis vectors of some output units, as a batch."""
    size = int(np.prod(shape))
    chosen = np.random.default_rng(1).permutation(size)[:_ROWS]
    return _tensor(np.eye(size)[chosen].reshape(-1, *shape))


def activations(model: keras.Model, points: Array) -> tuple[list[Array], list[Array], Array]:
    """Pre-activations and outputs of every record, and logits, at some points."""
    known = model.__dict__.setdefault("_passes_of_tests", {})
    if "activations" not in known:

        def function(x: Tensor) -> list[Tensor]:
            context = WithoutNorms(_tensor(0.0), FixedVectors(), "global")
            form = propagate(model, x, context)
            pairs = [(record.form.center, record.ball.center) for record in context.records]
            return [form.center, *(side for pair in pairs for side in pair)]

        known["activations"] = plainly(model, function)
    logits, *rest = known["activations"](np.asarray(points, "float32"))
    return rest[::2], rest[1::2], logits


def _tensor(x: Any) -> Tensor:
    return ops.convert_to_tensor(np.asarray(x), "float32")
