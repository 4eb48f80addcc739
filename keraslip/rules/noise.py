"""Rules of layers that are the identity at inference: dropout, noise, augmentation, regularisation."""

from typing import Any

import keras
from keras import ops

from keraslip.rules.interpreter import Form, Interpreter
from keraslip.rules.registry import bare_operation, register_rule
from keraslip.rules.rule import Rule, UnsupportedLayerError
from keraslip.typing import Tensor


@register_rule(
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
)
class DropoutRule(Rule):
    """Identity at inference; while training the very mask that was drawn."""

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        if operation.rate == 0:
            return args[0]
        return context.dropout(args[0], lambda x: self.drawn(operation, x))

    def drawn(self, layer: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        """What a training step multiplies x by, and the largest magnitude of that, `()` or `(batch,)`."""
        growth = 1.0 / (1.0 - layer.rate)
        # Exactly 0 or the growth, which half precision rounds: the norm of the map.
        kept = layer(ops.ones_like(x), training=True) > 0.0
        return growth * ops.cast(kept, x.dtype), ops.convert_to_tensor(growth, x.dtype)


@register_rule(keras.layers.GaussianDropout)
class GaussianDropoutRule(DropoutRule):
    """Identity at inference; while training the very factors that were drawn."""

    def drawn(self, layer: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        factors = ops.cast(layer(ops.ones_like(x), training=True), x.dtype)
        return factors, ops.max(ops.abs(factors), axis=tuple(range(1, len(x.shape))))


@register_rule(keras.layers.GaussianNoise, keras.layers.Identity)
class NoiseRule(Rule):
    """Identity at inference; while training the noise that was drawn is a constant that is added."""

    #: Whether there is a ball around what the layer makes for inputs of the model only.
    of_inputs = False

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        return context.noise(args[0], operation, self.of_inputs)


@register_rule(bare_operation(lambda x: ops.cast(x, "int32")))
class CastRule(Rule):
    """`ops.cast` to float32, as layers cast what they read by themselves."""

    def check(self, operation: Any) -> None:
        super().check(operation)
        if operation.dtype != "float32":
            raise UnsupportedLayerError(
                "it rounds what it reads; cast to float32 alone. "
                f"Received: dtype={operation.dtype!r}"
            )

    def propagate(self, operation: Any, context: Interpreter, *args: Any, **kwargs: Any) -> Form:
        return args[0]


@register_rule(
    keras.layers.AugMix,
    keras.layers.RandAugment,
    keras.layers.RandomBrightness,
    keras.layers.RandomColorDegeneration,
    keras.layers.RandomColorJitter,
    keras.layers.RandomContrast,
    keras.layers.RandomElasticTransform,
    keras.layers.RandomErasing,
    keras.layers.RandomFlip,
    keras.layers.RandomGaussianBlur,
    keras.layers.RandomGrayscale,
    keras.layers.RandomHue,
    keras.layers.RandomInvert,
    keras.layers.RandomPerspective,
    keras.layers.RandomPosterization,
    keras.layers.RandomRotation,
    keras.layers.RandomSaturation,
    keras.layers.RandomSharpness,
    keras.layers.RandomShear,
    keras.layers.RandomTranslation,
    keras.layers.RandomZoom,
)
class AugmentationRule(NoiseRule):
    """Identity at inference; a training step's bound is about the ball around the augmented input."""

    #: Keras writes training=True into every call, and overrides it when the model predicts.
    says_training = True
    of_inputs = True
