"""What almost-orthogonal layers share: a trained kernel, and the one rescaled from it that is applied."""

import hashlib
from typing import Any

import keras
import numpy as np
from keras import ops

from keraslip.arithmetic import float64, training
from keraslip.linear.almost_orthogonal import almost_orthogonal
from keraslip.rules.bases import LinearRule
from keraslip.rules.derived import DerivedWeights
from keraslip.rules.interpreter import Form, Interpreter
from keraslip.rules.linear import full_precision
from keraslip.typing import Tensor

#: How far, as a share of its largest entry, an applied kernel is from the exact one by rounding.
_ROUNDING = 1e-5


class AlmostOrthogonal(DerivedWeights):
    """Mixin of a layer of Keras with a kernel: that is trained, and applied is what it is rescaled to.

    The applied kernel is a weight. Training computes it in the graph, with gradients, and stores it;
    inference applies the one that is stored, as any layer does its kernel. So certificates are about stored
    numbers, not about sums that every backend rounds in its own way. As `W^T W` cancels, the worst case of
    these is 3e-4 to 5e-3 of an applied kernel, ten times what a layer itself rounds and more.
    """

    _self_settled = (
        b""  # no part of what a layer computes: signatures leave out names that begin so
    )

    def build(self: Any, input_shape: Any) -> None:
        """See `keras.layers.Layer`."""
        super().build(input_shape)  # type: ignore[misc]
        self._applied = self.add_weight(
            name="applied_kernel",
            shape=self._kernel.shape,
            initializer=lambda shape, dtype=None: ops.cast(self._rescaled(), dtype),
            trainable=False,
            aggregation="only_first_replica",
        )

    @property
    def raw_kernel(self: Any) -> Any:
        """The weight that is trained. Whoever assigns to it calls `settle` before the layer."""
        return self._kernel

    @property
    def kernel(self: Any) -> Any:
        """The kernel that is applied, a weight: its map has a norm of at most 1."""
        return self._applied

    def kernel_in(self: Any, training: Any) -> Tensor:
        """The kernel to apply: while training one with gradients, which is stored as well."""
        if not (training and self.trainable):
            return ops.convert_to_tensor(self._applied)
        kernel = self._rescaled()
        self._applied.assign(ops.cast(ops.stop_gradient(kernel), self._applied.dtype))
        return kernel

    def call(self: Any, inputs: Tensor, training: Any = None) -> Tensor:
        """As Keras' layer, with the applied kernel."""
        kernel = ops.cast(self.kernel_in(training), self.compute_dtype)
        return super().call.__func__(WithKernel(self, kernel), inputs)  # type: ignore[misc]

    def settle(self: Any) -> None:
        """Rescales the trained kernel anew, in float64, if the applied one is more than rounding away.

        Every method of keraslip, `evaluate`, `predict` and saving do so themselves.
        """
        if not self.built or self._digest() == self._self_settled:
            return
        raw, applied = (
            np.asarray(ops.convert_to_numpy(w), "float64") for w in (self._kernel, self._applied)
        )
        with np.errstate(all="ignore"):
            exact = almost_orthogonal(float64, raw, *self._geometry())
            near = np.abs(applied - exact) <= _ROUNDING * np.abs(exact).max()
        if not near.all():
            self._applied.assign(exact)
        self._self_settled = self._digest()

    def save_own_variables(self: Any, store: Any) -> None:
        """Both kernels and the bias, settled."""
        self.settle()
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self: Any, store: Any) -> None:
        """What `save_own_variables` saved."""
        keras.layers.Layer.load_own_variables(self, store)

    def enable_lora(self: Any, rank: int, *args: Any, **kwargs: Any) -> None:
        """Refused."""
        raise NotImplementedError(
            "LoRA adds to a kernel that is no longer rescaled then; train the layer's own kernel, or use "
            f"keraslip.layers.MaskedLipschitzDense. Received: rank={rank}"
        )

    def _geometry(self) -> tuple[Any, ...]:
        """Strides and groups of a convolution."""
        return ()

    def _rescaled(self: Any) -> Tensor:
        return almost_orthogonal(training, full_precision(self._kernel), *self._geometry())

    def _digest(self: Any) -> bytes:
        found = hashlib.sha256()
        for weight in (self._kernel, self._applied):
            found.update(np.asarray(ops.convert_to_numpy(weight)).tobytes())
        return found.digest()


class WithKernel:
    """A layer as it is, but for its kernel."""

    def __init__(self, layer: Any, kernel: Tensor) -> None:
        self._layer, self.kernel = layer, kernel

    def __getattr__(self, name: str) -> Any:
        return getattr(self._layer, name)


class AlmostOrthogonalRule(LinearRule):
    """Mixin of a rule: a training step follows the kernel that it computes, all else the stored one."""

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        applied = WithKernel(operation, operation.kernel_in(context.training))
        return super().propagate(applied, context, *args, **kwargs)
