"""One pass of the bound through a network: epsilon, masks, norms, and what is learnt on the way."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, reduce
from typing import Any, Protocol

from keras import ops
from keras.backend import standardize_dtype

from keraslip.activations import Activation
from keraslip.bounds.ball import AffineForm, Ball, add_forms, dropped, moved
from keraslip.bounds.spectral import masked_norm
from keraslip.linear import LinearMap
from keraslip.rules.box import Box, masks
from keraslip.rules.locality import Closing, Locality
from keraslip.rules.records import LayerRecord
from keraslip.rules.rule import UnsupportedLayerError
from keraslip.typing import Tensor

#: Names of the ways to bound, in the order of the documentation.
BOUNDS = ("local", "global", "paper")


class Vectors(Protocol):
    """Where the power iterations start."""

    def start(self, key: str, linear_map: LinearMap) -> Tensor:
        """A vector `(1, *out_shape)` for the norm called `key`."""


@dataclass
class Propagation:
    """The settings of one pass and what it gathers."""

    epsilon: Tensor  #: L2 radius of the input ball in raw input units, `()` or `(batch,)`.
    vectors: Vectors  #: Where power iterations start.
    #: `"local"`: masked norms, boxes from the local ball. `"global"`: no masks. `"paper"`: masked norms,
    #: boxes from interval propagation and global norms, iterations with gradients.
    bound: str = "local"
    power_iterations: int = 1  #: Iterations for every norm.
    uniform_iterations: int | None = None  #: Iterations for norms without masks, if others.
    #: Which norms leave constant units out; all of them if `None`.
    locality: Locality | None = None
    training: bool = False  #: Whether dropout is active and warm starts are gathered.
    penalized: bool = False  #: Whether the sparsity penalty is wanted.
    #: Masked row norms of convolutions too, at the cost of one more convolution each.
    tight: bool = False
    learning: bool = False  #: Whether warm starts are gathered outside of training, too.
    key: str = ""
    next_starts: dict[str, Tensor] = field(default_factory=dict)
    penalty: Tensor = 0.0
    records: list[LayerRecord] = field(default_factory=list)
    announced: list[Closing] = field(default_factory=list)

    @property
    def masked(self) -> bool:
        """Whether constant units are left out of the norms."""
        return self.bound != "global"

    def linear(
        self, form: AffineForm, linear_map: LinearMap, bias: Tensor | None = None
    ) -> AffineForm:
        """The form after a linear layer: its map stays pending."""
        center = linear_map.forward(form.center)
        center = center if bias is None else center + bias
        return form.mapped(center, linear_map, self.key)

    def move(self, form: AffineForm, linear_map: LinearMap) -> AffineForm:
        """The form after entries were moved: a closed ball stays closed."""
        if form.ball is None:
            return self.linear(form, linear_map)
        return AffineForm.closed(moved(form.ball, linear_map.forward))

    def add(self, forms: list[AffineForm], disjoint: bool = False) -> AffineForm:
        """The sum of forms of one shape."""
        center = forms[0].center
        for form in forms[1:]:
            center = center + form.center
        return add_forms(center, forms, disjoint)

    def shift(self, form: AffineForm, constant: Tensor) -> AffineForm:
        """The form after a constant was added."""
        return form.shifted(form.center + ops.cast(constant, standardize_dtype(form.center.dtype)))

    def dropout(
        self, form: AffineForm, drawn: Callable[[Tensor], tuple[Tensor, Tensor]]
    ) -> AffineForm:
        """Identity at inference; while training a product with the very numbers that were drawn."""
        if not self.training:
            self._announce(form)
            return form
        ball = self.close(form)
        return AffineForm.closed(dropped(ball, *drawn(ball.center)))

    def noise(self, form: AffineForm, layer: Any, of_inputs: bool) -> AffineForm:
        """The same ball around another center while training."""
        if of_inputs and any(ball.source for ball, _ in form.terms):
            raise UnsupportedLayerError(
                "it changes what an activation returns, not an input, and a training step knows no ball "
                "around that; put augmentation in front of all other layers, or into the data"
            )
        if not self.training:
            return form
        return form.shifted(ops.cast(layer(form.center, training=True), form.center.dtype))

    def statistics(self, form: AffineForm, layer: Any) -> tuple[Tensor, Tensor] | None:
        """Those of the batch while training; the layer takes note of them, as in Keras."""
        if not (self.training and layer.trainable):
            return None
        layer(form.center, training=True)
        axes = [
            axis
            for axis in range(len(form.shape) + 1)
            if axis != layer.axis % (len(form.shape) + 1)
        ]
        mean, variance = ops.moments(form.center, axes, synchronized=layer.synchronized)
        return mean, variance

    def activate(self, form: AffineForm, activation: Activation) -> AffineForm:
        """Closes a form by an activation: the closed form of the output."""
        local = self._is_local

        @cache
        def box() -> Box:
            return self._box(form, local)

        def output_box() -> tuple[Tensor, Tensor]:
            return activation.range(*box())

        if self.penalized:
            self.penalty = self.penalty + activation.sparsity(*box())
        center, most = activation.call(form.center), activation.lipschitz
        if not self._wants_masks:
            return self._closed(form, center, most=most)
        if not activation.masks:
            return self._closed(form, center, box=output_box, most=most)
        slopes = masks(activation, box())
        # The published algorithm drops no rows of what mixes units.
        rows = slopes.rows if self.bound != "paper" or activation.is_elementwise else None
        return self._closed(form, center, rows, slopes.columns, output_box, most)

    def close(self, form: AffineForm) -> Ball:
        """The ball of a form, with no activation; free if nothing is pending."""
        if form.ball is not None:
            return form.ball
        gain, uniform = self._gain(form, None), self._global_gain(form)
        ball = Ball(form.center, gain, global_gain=uniform, source=self._name())
        self.records.append(LayerRecord(self._name(), form, ball))
        return ball

    def _announce(self, form: AffineForm) -> None:
        """Names the norms that closing a form here would take, for a layer that closes in training only.

        Warm starts are made for the norms of a pass at inference: they must know these too.
        """
        if form.ball is None:
            self.announced.append(Closing.of(self._name(), form))
            for index, (_, pending) in enumerate(form.terms):
                self.vectors.start(self._key_of(index), pending)

    def lipschitz(self, form: AffineForm) -> Tensor:
        """Bound on the Lipschitz constant of a form inside the ball, `(batch,)` or `(1,)`."""
        return self._gain(form, None)

    def _known(self, form: AffineForm, gain: Tensor) -> Tensor:
        """The gain, or NaN for a sample with a pre-activation that is not finite.

        Some backends make NaN finite in relu, and clipping makes infinity finite: neither may certify.
        """
        # The sum is finite only if all its terms are.
        finite = ops.isfinite(ops.sum(form.center, axis=tuple(range(1, len(form.shape) + 1))))
        return ops.where(finite, gain, ops.full_like(gain, float("nan")))

    def _closed(
        self,
        form: AffineForm,
        center: Tensor,
        rows: Tensor | None = None,
        varying: Tensor | None = None,
        box: Any = None,
        most: Any = 1.0,
    ) -> AffineForm:
        """The ball after an activation with these slopes, or none larger than `most`, as a form."""
        name = self._name()
        gain = self._known(form, self._gain(form, rows, most))
        ball = Ball(center, gain, varying, box, self._global_gain(form, most), name)
        self.records.append(LayerRecord(name, form, ball))
        return AffineForm.closed(ball)

    @property
    def _wants_masks(self) -> bool:
        """Whether the units that an activation here keeps constant are left out of any norm."""
        return self._chosen("masks")

    @property
    def _is_local(self) -> bool:
        """Whether the norms taken here leave constant units out."""
        return self._chosen("norms")

    def _chosen(self, part: str) -> bool:
        if self.bound == "local" and self.locality is not None:
            return self._name() in getattr(self.locality, part)
        return self.masked

    def _gain(self, form: AffineForm, rows: Tensor | None, most: Any = 1.0) -> Tensor:
        rows = rows if self._is_local else None
        gains = [
            ball.gain * self._norm(index, pending, ball.varying, rows)
            for index, (ball, pending) in enumerate(form.terms)
        ]
        gain = reduce(form.together, gains)
        return gain * most if rows is None else gain

    def _global_gain(self, form: AffineForm, most: Any = 1.0) -> Tensor | None:
        if self.bound != "paper":
            return None
        gains = [
            ball.global_gain * self._norm(index, pending, None, None, learn=False)
            for index, (ball, pending) in enumerate(form.terms)
        ]
        return reduce(form.together, gains) * most

    def _name(self) -> str:
        """What closes a form now; unlike any path of a layer where it is not the first in its layer."""
        closed = sum(record.key.split("//")[0] == self.key for record in self.records)
        return f"{self.key}//{closed + 1}" if closed else self.key

    def _key_of(self, index: int) -> str:
        return self._name() if index == 0 else f"{self._name()}//+{index}"

    def _norm(
        self,
        index: int,
        pending: LinearMap,
        columns: Tensor | None,
        rows: Tensor | None,
        learn: bool = True,
    ) -> Tensor:
        key = self._key_of(index)
        start = self.vectors.start(key, pending)
        if not self._is_local:
            columns = None
        uniform = columns is None and rows is None
        count = self.uniform_iterations if uniform else None
        sigma, reached = masked_norm(
            pending, start, columns, rows, count or self.power_iterations, self.bound == "paper"
        )
        if learn and (self.training or self.learning):
            self.next_starts[key] = reached
        return sigma

    def _box(self, form: AffineForm, local: bool = True) -> Box:
        """Where every unit can be."""
        masked = self.bound == "local" and local
        return Box.around(form, self.epsilon, masked, self.tight, self.bound == "paper")
