"""The one table of cases: every layer, activation and kind of graph that keraslip knows.

A case is a small network, or a part of one, and the shape of its input; `Case.model` puts logits behind it
and gives it seeded weights. Every case runs through training (`tests/rules/test_cases.py`), certificates and
the independent checker (`tests/certify/test_cases.py`) and the exported graph (`tests/export/test_cases.py`).

Whoever adds a rule adds a line to `LAYERS`: `tests/rules/test_cases.py` fails for a rule that no case uses.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import initializers, layers, ops

import keraslip
from keraslip.rules.activations import FUNCTIONS
from tests.harness import model_of

Tensor = Any
IMAGE, STEPS, FLAT = (5, 4, 2), (6, 2), (6,)
aol = keraslip.layers.AOLConv2D
ClippedReLU, ClippedMaxMin = keraslip.layers.ClippedReLU, keraslip.layers.ClippedMaxMin
MaxMin = keraslip.layers.MaxMin


@dataclass(frozen=True)
class Case:
    """A network but for its logits.

    Args:
        shape: Shape of one input.
        build: From the input tensor to what the logits read.
        attacked: Whether the bounds of training are searched by attacks too, which takes longer.
    """

    shape: tuple[int, ...]
    build: Callable[[Tensor], Tensor]
    attacked: bool = False

    @functools.cached_property
    def model(self) -> keraslip.LocalLipschitzModel:
        """The network with seeded weights, built once; not to be changed."""
        return model_of(self.build, self.shape)

    def inputs(self, count: int = 3) -> np.ndarray:
        """Some inputs in [0, 1], float32."""
        return np.random.default_rng(5).uniform(size=(count, *self.shape)).astype("float32")


# --- Parts -----------------------------------------------------------------------------------------


def dense(units: int = 8, **kwargs: Any) -> Any:
    return keraslip.layers.MaskedLipschitzDense(units, **kwargs)


def conv(filters: int = 4, size: Any = 3, **kwargs: Any) -> Any:
    return keraslip.layers.MaskedLipschitzConv2D(filters, size, **{"padding": "same", **kwargs})


def theta(x: Tensor, value: float = 0.6) -> Tensor:
    return ClippedReLU(value)(x)


def between(layer: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Some layer of images behind a clipped activation and in front of another linear map."""
    return lambda x: theta(conv()(layer(theta(conv()(x)))))


def behind(layer: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """An activation behind a linear map, twice: of the input, and of what it made of that."""
    return lambda x: layer(dense()(layer(dense()(x))))


def before(layer: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A layer that scales or moves the input."""
    return lambda x: theta(conv()(layer(x)))


def normalization(axis: tuple[int, ...], shape: tuple[int, ...], invert: bool = False) -> Any:
    r = np.random.default_rng(0)
    size = [shape[i - 1] for i in axis]
    return layers.Normalization(
        axis=axis or None,
        mean=r.normal(size=size) if axis else 0.4,
        variance=r.uniform(0.05, 2.0, size=size) if axis else 0.1,
        invert=invert,
    )


def batch_norm(**kwargs: Any) -> Any:
    """With statistics and a gamma that inference notices, some of it negative."""
    draw = keras.initializers.RandomUniform
    seeded = {"beta_initializer": draw(-1.0, 1.0, 1), "gamma_initializer": draw(-2.0, 2.0, 2)}
    seeded |= {"moving_mean_initializer": draw(-0.5, 0.5, 3)}
    seeded |= {"moving_variance_initializer": draw(0.05, 2.0, 4)}
    return layers.BatchNormalization(**seeded, **kwargs)


def augmented(x: Tensor) -> Tensor:
    """Every augmentation that is the identity at inference."""
    some = [
        "Brightness",
        "ColorDegeneration",
        "Contrast",
        "Erasing",
        "GaussianBlur",
        "Grayscale",
        "Hue",
    ]
    some += [
        "Invert",
        "Perspective",
        "Rotation",
        "Saturation",
        "Sharpness",
        "Shear",
        "ElasticTransform",
    ]
    for name in some:
        kind = getattr(layers, f"Random{name}")
        takes = inspect.signature(kind.__init__).parameters
        x = kind(**({"factor": 0.2} if "factor" in takes else {}))(x)
    x = layers.RandomColorJitter()(layers.RandomPosterization(4)(layers.RandomFlip()(x)))
    x = layers.RandomTranslation(0.1, 0.1)(layers.RandomZoom(0.1)(x))
    return layers.AugMix()(layers.RandAugment()(x))


# --- Layers: one line or more for every rule ----------------------------------------------------------

LAYERS = {
    # Linear layers.
    "dense": Case(FLAT, lambda x: theta(layers.Dense(12)(x))),
    "dense without bias": Case(FLAT, lambda x: theta(dense(use_bias=False)(x))),
    "dense of images": Case(IMAGE, lambda x: theta(dense(5)(theta(dense(6)(x))))),
    "dense, nothing between": Case(FLAT, lambda x: theta(dense()(dense(5)(theta(dense()(x)))))),
    "conv": Case(IMAGE, between(layers.Conv2D(4, 2, padding="same"))),
    "conv, valid": Case(IMAGE, between(layers.Conv2D(4, (3, 2)))),
    "conv, strides": Case(IMAGE, between(conv(4, 4, strides=2))),
    "conv, groups": Case(IMAGE, between(conv(6, (3, 2), groups=2)), attacked=True),
    "conv, dilation": Case(IMAGE, between(conv(4, 2, dilation_rate=2))),
    "conv, nothing between": Case(IMAGE, lambda x: theta(conv()(conv()(x)))),
    "depthwise": Case(
        IMAGE, between(layers.DepthwiseConv2D(3, 2, "same", depth_multiplier=2)), attacked=True
    ),
    "depthwise, dilation": Case(IMAGE, between(layers.DepthwiseConv2D(2, dilation_rate=(2, 1)))),
    "average pooling": Case(IMAGE, between(layers.AveragePooling2D(2))),
    "average pooling, same": Case(IMAGE, between(layers.AveragePooling2D(2, padding="same"))),
    "average pooling, overlap": Case(
        IMAGE, between(layers.AveragePooling2D(3, strides=1, padding="same"))
    ),
    "global pooling": Case(IMAGE, lambda x: layers.GlobalAveragePooling2D()(theta(conv()(x)))),
    "global pooling, kept": Case(IMAGE, between(layers.GlobalAveragePooling2D(keepdims=True))),
    "max pooling": Case(IMAGE, between(layers.MaxPooling2D(2))),
    "max pooling, same": Case(IMAGE, between(layers.MaxPooling2D(2, padding="same"))),
    "max pooling, overlap": Case(
        (5, 7, 2), between(layers.MaxPooling2D(3, strides=2)), attacked=True
    ),
    "global max pooling": Case(IMAGE, lambda x: layers.GlobalMaxPooling2D()(conv()(x))),
    "global max pooling, kept": Case(IMAGE, between(layers.GlobalMaxPooling2D(keepdims=True))),
    "rescaling": Case(IMAGE, before(layers.Rescaling(1 / 0.3, offset=-1.5))),
    "rescaling behind": Case(
        FLAT, lambda x: theta(dense()(layers.Rescaling(-2.0)(theta(dense()(x)))))
    ),
    "normalization": Case(IMAGE, before(normalization((3,), IMAGE))),
    "normalization, one": Case(IMAGE, before(normalization((), IMAGE))),
    "normalization, all": Case(IMAGE, before(normalization((1, 2, 3), IMAGE))),
    "normalization, rows": Case(IMAGE, before(normalization((1,), IMAGE))),
    "normalization, inverse": Case(
        FLAT, lambda x: theta(dense()(normalization((1,), FLAT, True)(x)))
    ),
    "rescaling of channels": Case(
        IMAGE, lambda x: theta(layers.Rescaling([1.0, -2.0])(theta(dense(2)(x))))
    ),
    "conv transposed": Case(
        IMAGE, between(layers.Conv2DTranspose(3, 3, strides=2, padding="same"))
    ),
    "conv transposed, valid": Case(IMAGE, between(layers.Conv2DTranspose(3, (2, 3), (3, 2)))),
    "upsampling": Case(IMAGE, between(layers.UpSampling2D((2, 3)))),
    "batch normalization": Case(IMAGE, lambda x: theta(batch_norm()(conv()(x)))),
    "batch normalization in front": Case(
        FLAT, lambda x: theta(dense()(batch_norm(center=False)(theta(dense()(x)))))
    ),
    "batch normalization, rows": Case(
        IMAGE, before(batch_norm(axis=1, scale=False)), attacked=True
    ),
    "separable": Case(IMAGE, between(layers.SeparableConv2D(4, 3, 2, "same", depth_multiplier=2))),
    "einsum": Case(
        IMAGE,
        lambda x: theta(
            layers.EinsumDense("abcd,def->abcef", (5, 4, 3, 2), bias_axes="e")(theta(conv(2)(x)))
        ),
    ),
    "einsum over two axes": Case(
        IMAGE,
        lambda x: theta(
            layers.EinsumDense("...b,cb->...c", 3, bias_axes="c")(
                layers.EinsumDense("abcd,dec->aeb", (3, 5), activation="relu")(x)
            )
        ),
    ),
    "almost-orthogonal dense": Case(
        FLAT, lambda x: theta(keraslip.layers.AOLDense(4)(theta(keraslip.layers.AOLDense(8)(x))))
    ),
    "almost-orthogonal conv": Case(
        IMAGE,
        between(lambda x: theta(aol(6, 3, padding="same")(x))),
        attacked=True,
    ),
    "almost-orthogonal conv, strides": Case(
        IMAGE, lambda x: theta(aol(4, (2, 3), strides=2)(theta(aol(4, 2, groups=2)(x))))
    ),
    # Linear layers of sequences.
    "depthwise of sequences": Case(
        STEPS,
        lambda x: theta(
            layers.DepthwiseConv1D(3, 2, "same", depth_multiplier=2)(theta(dense(3)(x)))
        ),
    ),
    "separable of sequences": Case(
        STEPS, lambda x: theta(layers.SeparableConv1D(3, 2, padding="same")(theta(dense(3)(x))))
    ),
    "conv transposed of sequences": Case(
        STEPS, lambda x: theta(layers.Conv1DTranspose(3, 3, 2, "same")(theta(dense(3)(x))))
    ),
    "conv of sequences": Case(STEPS, lambda x: theta(layers.Conv1D(4, 3, 2, padding="same")(x))),
    "conv, causal": Case(
        STEPS,
        lambda x: theta(
            layers.Conv1D(4, 2, dilation_rate=2, padding="causal")(theta(layers.Conv1D(4, 3)(x)))
        ),
    ),
    "average pooling of sequences": Case(
        STEPS, lambda x: theta(dense(4)(layers.AveragePooling1D(3, 2, "same")(theta(dense(4)(x)))))
    ),
    "max pooling of sequences": Case(
        STEPS, lambda x: theta(dense(4)(layers.MaxPooling1D(3, 2, "same")(dense(4)(x))))
    ),
    "global max pooling of sequences": Case(
        STEPS, lambda x: layers.GlobalMaxPooling1D()(theta(dense(4)(x)))
    ),
    "max pooling of volumes": Case(
        (3, 2, 2, 2), lambda x: dense(4)(layers.MaxPooling3D((2, 2, 1))(theta(dense(2)(x))))
    ),
    "global max pooling of volumes": Case(
        (2, 3, 2, 2), lambda x: layers.GlobalMaxPooling3D()(theta(dense(2)(x)))
    ),
    "average pooling of volumes": Case(
        (3, 4, 2, 2),
        lambda x: dense(4)(layers.AveragePooling3D((2, 3, 1), (1, 2, 1))(theta(dense(2)(x)))),
    ),
    "average pooling of volumes, same": Case(
        (3, 2, 4, 1),
        lambda x: theta(layers.AveragePooling3D((2, 2, 3), (2, 1, 2), "same")(theta(dense(2)(x)))),
    ),
    "global pooling of volumes": Case(
        (2, 3, 2, 2), lambda x: layers.GlobalAveragePooling3D()(theta(dense(2)(x)))
    ),
    "global pooling of volumes, kept": Case(
        (2, 3, 2, 2),
        lambda x: dense(3)(layers.GlobalAveragePooling3D(keepdims=True)(theta(dense(2)(x)))),
    ),
    "global pooling of sequences": Case(
        STEPS, lambda x: layers.GlobalAveragePooling1D()(theta(dense(4)(x)))
    ),
    "global pooling of sequences, kept": Case(
        STEPS,
        lambda x: theta(dense(4)(layers.GlobalAveragePooling1D(keepdims=True)(theta(dense(4)(x))))),
    ),
    "upsampling of sequences": Case(
        STEPS, lambda x: theta(dense(4)(layers.UpSampling1D(2)(theta(dense(4)(x)))))
    ),
    # Layers that move entries.
    "cropping": Case(IMAGE, between(layers.Cropping2D(((1, 0), (0, 2))))),
    "cropping, pending": Case(IMAGE, lambda x: theta(layers.Cropping2D(1)(conv()(x)))),
    "cropping of sequences": Case(STEPS, lambda x: theta(dense(4)(layers.Cropping1D((1, 2))(x)))),
    "zero padding of sequences": Case(
        STEPS, lambda x: theta(dense(4)(layers.ZeroPadding1D((1, 2))(theta(dense(4)(x)))))
    ),
    "flatten": Case(IMAGE, layers.Flatten()),
    "flatten behind": Case(IMAGE, lambda x: dense()(layers.Flatten()(theta(conv()(x))))),
    "reshape": Case(IMAGE, between(layers.Reshape((2, 10, 4)))),
    "reshape with -1": Case(IMAGE, lambda x: theta(layers.Reshape((5, -1))(theta(conv()(x))))),
    "permute": Case(IMAGE, between(layers.Permute((2, 1, 3)))),
    "permute of channels": Case(IMAGE, lambda x: layers.Permute((3, 1, 2))(theta(conv()(x)))),
    "permute, pending": Case(IMAGE, lambda x: theta(layers.Permute((3, 2, 1))(conv()(x)))),
    "zero padding": Case(IMAGE, between(layers.ZeroPadding2D(((1, 2), (0, 1))))),
    "zero padding, pending": Case(IMAGE, lambda x: theta(layers.ZeroPadding2D(1)(conv()(x)))),
    "dropout": Case(FLAT, lambda x: theta(dense()(layers.Dropout(0.5)(theta(dense()(x)))))),
    "dropout, pending": Case(FLAT, lambda x: theta(layers.Dropout(0.5)(dense()(x)))),
    "noise": Case(
        FLAT,
        lambda x: layers.Identity()(
            layers.GaussianDropout(0.3)(theta(dense()(layers.GaussianNoise(0.1)(x))))
        ),
    ),
    "spatial dropout of sequences": Case(
        STEPS, lambda x: layers.SpatialDropout1D(0.3)(theta(dense(3)(x)))
    ),
    "spatial dropout": Case(IMAGE, lambda x: theta(layers.SpatialDropout2D(0.3)(conv()(x)))),
    "spatial dropout of volumes": Case(
        (2, 3, 2, 2), lambda x: layers.SpatialDropout3D(0.3)(theta(dense(2)(x)))
    ),
    "augmentation": Case((4, 5, 3), lambda x: theta(conv()(augmented(layers.Rescaling(2.0)(x))))),
    # Activations.
    "linear": Case(FLAT, lambda x: layers.Activation("linear")(theta(dense()(x)))),
    "activation relu": Case(FLAT, behind(layers.Activation("relu"))),
    "fused relu of conv": Case(IMAGE, layers.Conv2D(3, 3, activation="relu")),
    "relu layer": Case(FLAT, behind(layers.ReLU())),
    "relu with a limit": Case(FLAT, behind(layers.ReLU(max_value=0.5))),
    "leaky relu": Case(FLAT, behind(layers.LeakyReLU(0.3))),
    "steep leaky relu": Case(FLAT, behind(layers.LeakyReLU(2.0))),
    "falling leaky relu": Case(FLAT, behind(lambda x: ops.leaky_relu(x, -0.5)), attacked=True),
    "leaky relu with a limit": Case(FLAT, behind(layers.ReLU(0.5, negative_slope=0.1))),
    "fused leaky relu of conv": Case(IMAGE, layers.Conv2D(3, 3, activation="leaky_relu")),
    "relu with all": Case(FLAT, behind(lambda x: keras.activations.relu(x, 0.2, 0.7))),
    "relu6": Case(FLAT, behind(lambda x: layers.Activation("relu6")(9.0 * x))),
    "prelu": Case(FLAT, behind(layers.PReLU(initializers.RandomUniform(seed=1)))),
    "prelu of channels": Case(
        IMAGE, between(layers.PReLU(initializers.RandomNormal(0.0, 2.0, 1), shared_axes=[1, 2]))
    ),
    "hard tanh": Case(FLAT, behind(layers.Activation("hard_tanh"))),
    "hard sigmoid": Case(FLAT, behind(lambda x: layers.Activation("hard_sigmoid")(3.0 * x))),
    "fused hard sigmoid": Case(FLAT, layers.Dense(6, activation="hard_sigmoid")),
    "elu layer": Case(FLAT, behind(layers.ELU(0.5))),
    "selu of images": Case(IMAGE, between(layers.Activation("selu"))),
    "fused gelu": Case(FLAT, behind(layers.Dense(6, activation="gelu")), attacked=True),
    "fused silu of conv": Case(IMAGE, layers.Conv2D(3, 3, activation="silu")),
    "tanh twice": Case(FLAT, behind(lambda x: layers.Activation("tanh")(3.0 * x)), attacked=True),
    "fused hard silu of conv": Case(IMAGE, layers.Conv2D(3, 3, activation="hard_silu")),
    "fused mish": Case(FLAT, layers.Dense(6, activation="mish")),
    "maxmin of rows": Case(IMAGE, between(MaxMin(axis=2))),
    "group sort": Case(FLAT, behind(keraslip.layers.GroupSort(4))),
    "group sort of columns": Case(
        IMAGE, between(keraslip.layers.GroupSort(2, axis=2)), attacked=True
    ),
    "clipped relu of images": Case(IMAGE, lambda x: ClippedReLU(0.5)(conv()(ClippedReLU(0.5)(x)))),
    "clipped maxmin of images": Case(
        IMAGE, lambda x: ClippedMaxMin(0.4, -0.4)(conv()(ClippedMaxMin(0.4, -0.4)(conv()(x))))
    ),
    "activation of an activation": Case(FLAT, lambda x: ClippedMaxMin()(theta(dense()(x)))),
    "activation of the input": Case(FLAT, lambda x: theta(x, 0.5)),
    # Sums.
    "add": Case(FLAT, lambda x: theta(layers.Add()([x, dense(6)(x)]))),
    "concatenate": Case(
        IMAGE, lambda x: theta(conv()(layers.Concatenate()([x, theta(conv()(x)), conv(2)(x)])))
    ),
    "ops.concatenate": Case(
        IMAGE, lambda x: theta(ops.concatenate([x, theta(conv(2)(x)), theta(conv(2)(x))], axis=1))
    ),
    "concatenated twice": Case(
        FLAT,
        lambda x: theta(
            batch_norm()(layers.Concatenate()([layers.Concatenate()([x, theta(dense(3)(x))]), x]))
        ),
    ),
    # Bare operations.
    "reshaped": Case(
        IMAGE,
        lambda x: theta(
            conv()(ops.reshape(ops.transpose(theta(conv()(x)), (0, 3, 1, 2)), (-1, 5, 8, 2)))
        ),
    ),
    "axes moved": Case(
        IMAGE,
        lambda x: theta(ops.moveaxis(ops.swapaxes(ops.expand_dims(conv()(x), 2), 1, 4), -1, 2)),
    ),
    "squeezed": Case(
        IMAGE, lambda x: dense(3)(ops.squeeze(theta(conv(2, (5, 1), padding="valid")(x)), 1))
    ),
    "flipped": Case(IMAGE, between(lambda x: ops.flip(x, (1, -1)))),
    "repeated": Case(STEPS, lambda x: theta(dense(3)(ops.repeat(theta(dense(2)(x)), 2, axis=1)))),
    "tiled": Case(STEPS, lambda x: theta(dense(3)(ops.tile(theta(dense(2)(x)), (2, 1))))),
    "rolled": Case(IMAGE, between(lambda x: ops.roll(x, (3, -1), axis=(1, -1)))),
    "stacked": Case(
        FLAT, lambda x: theta(dense(4)(ops.stack([x, 2 * x, theta(dense(6)(x))], axis=-1)))
    ),
    "taken": Case(IMAGE, between(lambda x: ops.take(x, [[0, -1], [2, 2]], axis=1)[:, 1])),
    "repeated vector": Case(
        FLAT, lambda x: theta(dense(3)(layers.RepeatVector(2)(theta(dense()(x)))))
    ),
    "a sum that is broadcast": Case(
        IMAGE, between(lambda x: x - ops.mean(x, axis=(1, 2), keepdims=True))
    ),
    "ops.max": Case(IMAGE, lambda x: dense(3)(ops.max(conv()(x), axis=(1, -2))), attacked=True),
    "ops.min": Case(IMAGE, lambda x: dense(3)(ops.min(ops.amax(conv()(x), axis=1), axis=1))),
    "ops.amin": Case(IMAGE, lambda x: theta(conv(2)(ops.amin(conv()(x), axis=-1, keepdims=True)))),
    "ops.cast": Case(FLAT, lambda x: theta(dense()(ops.cast(x, "float32")))),
    "sliced": Case(IMAGE, between(lambda x: x[:, None, 1:, ::2, :3][:, 0])),
    "sliced, pending": Case(IMAGE, lambda x: theta(conv()(x)[..., 1])),
    "ops.pad": Case(
        IMAGE, between(lambda x: ops.pad(x, ((0, 0), (1, 0), (0, 2), (0, 0)), constant_values=0.5))
    ),
    "ops.pad, reflected": Case(
        IMAGE, between(lambda x: ops.pad(x, ((0, 0), (2, 0), (1, 1), (0, 0)), mode="reflect"))
    ),
    "ops.mean": Case(IMAGE, lambda x: dense(4)(ops.mean(theta(conv()(x)), axis=(1, 2)))),
    "ops.mean, kept": Case(
        IMAGE, lambda x: theta(conv(2)(ops.mean(conv()(x), axis=1, keepdims=True)))
    ),
    "ops.sum": Case(IMAGE, lambda x: theta(dense(4)(ops.sum(theta(conv()(x)), axis=2)))),
    "ops.clip": Case(FLAT, behind(lambda x: ops.clip(x, -0.3, 0.4))),
    "ops.maximum": Case(FLAT, behind(lambda x: ops.maximum(x, 0.0))),
    "ops.minimum": Case(FLAT, behind(lambda x: ops.minimum(x, 0.2))),
    "maximum of branches": Case(
        FLAT, lambda x: layers.Maximum()([x, dense(6)(x), theta(dense(6)(x))])
    ),
    "minimum of branches": Case(
        FLAT, lambda x: dense(3)(layers.Minimum()([theta(dense(6)(x)), x]))
    ),
    "subtract": Case(FLAT, lambda x: theta(layers.Subtract()([x, dense(6)(x)]))),
    "average": Case(FLAT, lambda x: theta(layers.Average()([x, dense(6)(x), theta(dense(6)(x))]))),
    "negative": Case(FLAT, lambda x: theta(dense()(-theta(dense()(x))))),
    "minus a branch": Case(FLAT, lambda x: theta(x - dense(6)(x))),
    "minus a constant": Case(FLAT, lambda x: theta(dense()(theta(dense()(x)) - ops.arange(8.0)))),
    "a constant minus": Case(FLAT, lambda x: theta(dense()(1 - theta(dense()(x))))),
    "times a constant": Case(IMAGE, lambda x: theta(conv()(x * ops.array([2.0, -0.5])))),
    "a constant times": Case(FLAT, lambda x: theta(dense()(3 * theta(dense()(x))))),
    "divided by a constant": Case(FLAT, lambda x: theta(dense()(x / 0.3))),
    "ops.divide": Case(FLAT, lambda x: theta(dense()(ops.divide(theta(dense()(x)), 3.0)))),
    "plus a constant": Case(FLAT, lambda x: theta(dense()(theta(dense()(x)) + 0.7))),
    "a constant plus": Case(FLAT, lambda x: theta(dense()(0.3 + theta(dense()(x))))),
    "plus a tensor": Case(FLAT, lambda x: theta(dense()(theta(dense()(x)) + ops.arange(8.0)))),
    "plus a constant, flattened": Case(
        IMAGE, lambda x: dense()(layers.Flatten()(theta(conv()(x)) + 2.0))
    ),
    "plus a constant, activated": Case(FLAT, lambda x: theta(theta(dense()(x)) + 0.3)),
    "plus a constant, dropped out": Case(
        FLAT, lambda x: layers.Dropout(0.1)(theta(dense()(x)) + 1.0)
    ),
}

#: Functions of `keras.activations` and `keras.ops` as bare operations; fused ones are above.
LAYERS |= {
    f"bare {name}": Case(FLAT, behind(getattr(ops, name)))
    for name in FUNCTIONS
    if hasattr(ops, name)
}


# --- Networks: what the thorough tests of certificates run on -------------------------------------------


def relu(x: Tensor) -> Tensor:
    return layers.Dense(8, activation="relu")(layers.Dense(8, activation="relu")(x))


def clipped(x: Tensor) -> Tensor:
    return ClippedReLU(0.5)(layers.Dense(8)(ClippedReLU(0.5)(layers.Dense(8)(x))))


def deep(x: Tensor) -> Tensor:
    for _ in range(5):
        x = ClippedReLU(0.4)(layers.Dense(6)(x))
    return x


def maxmin(x: Tensor) -> Tensor:
    return MaxMin()(layers.Dense(8)(MaxMin()(layers.Dense(8)(x))))


def clipped_maxmin(x: Tensor) -> Tensor:
    return ClippedMaxMin(0.3, -0.3)(layers.Dense(8)(ClippedMaxMin(0.3, -0.3)(layers.Dense(8)(x))))


def mixed(x: Tensor) -> Tensor:
    x = ClippedReLU(0.5)(layers.Dense(8)(x))
    return layers.ReLU()(layers.Dense(8)(ClippedMaxMin(0.3, -0.3)(layers.Dense(8)(x))))


def skip(x: Tensor) -> Tensor:
    """Logits from two balls; MaxMin reads one of them."""
    x = ClippedReLU(0.5)(layers.Dense(8)(x))
    return x + ClippedMaxMin(0.3, -0.3)(layers.Dense(8)(x))


def input_to_logits(x: Tensor) -> Tensor:
    return ClippedReLU(0.7)(layers.Dense(6)(x)) + 0.5 + x


def plain_conv(filters: int = 4, size: Any = 3, **kwargs: Any) -> Any:
    return layers.Conv2D(filters, size, **{"padding": "same", **kwargs})


def residual(x: Tensor) -> Tensor:
    x = ClippedReLU(0.8)(plain_conv()(x))
    x = ClippedReLU(0.8)(x + plain_conv()(x))
    return ClippedReLU(0.8)(x + plain_conv()(ClippedReLU(0.5)(plain_conv()(x))))


def pooled(x: Tensor) -> Tensor:
    x = ClippedReLU(0.5)(plain_conv()(x))
    return ClippedMaxMin(0.3, -0.3)(layers.AveragePooling2D(3, 2, padding="same")(x))


def means(x: Tensor) -> Tensor:
    """Linear layers one after the other, with and without an activation between."""
    x = ClippedReLU(0.5)(layers.AveragePooling2D(2, 1)(plain_conv()(x)))
    return layers.GlobalAveragePooling2D()(plain_conv(5, 1)(x))


def channels_first(x: Tensor) -> Tensor:
    x = layers.Permute((3, 1, 2))(x)
    # Another number of filters than columns, which TensorFlow would take for each other.
    x = ClippedMaxMin(0.3, -0.3, data_format="channels_first")(
        plain_conv(6, data_format="channels_first")(x)
    )
    return ClippedReLU(0.5)(plain_conv(data_format="channels_first", strides=2)(x))


def normalised(x: Tensor) -> Tensor:
    x = layers.Normalization(mean=[0.4, 0.6], variance=[0.04, 0.25])(x)
    return ClippedReLU(0.5)(plain_conv(strides=2)(x))


def rescaled(x: Tensor) -> Tensor:
    x = layers.Rescaling(-3.0, 1.0)(x)
    return ClippedReLU(0.5)(layers.Dense(6)(ClippedReLU(0.5)(layers.Dense(6)(x))))


def padded(x: Tensor) -> Tensor:
    x = layers.ZeroPadding2D(((1, 2), (0, 1)))(ClippedReLU(0.5)(plain_conv(4, groups=2)(x)))
    return ClippedReLU(0.5)(plain_conv(4, (3, 2), padding="valid", strides=(2, 1))(x))


NETS = {
    "nothing": Case(FLAT, lambda x: x),
    "relu": Case(FLAT, relu),
    "clipped": Case(FLAT, clipped),
    "deep": Case(FLAT, deep),
    "maxmin": Case(FLAT, maxmin),
    "clipped maxmin": Case(FLAT, clipped_maxmin, attacked=True),
    "mixed": Case(FLAT, mixed),
    "skip": Case(FLAT, skip),
    "input to logits": Case(FLAT, input_to_logits),
    "rescaled": Case(FLAT, rescaled),
    "residual": Case(IMAGE, residual),
    "pooled": Case(IMAGE, pooled),
    "means": Case(IMAGE, means),
    "channels first": Case(IMAGE, channels_first),
    "normalised": Case(IMAGE, normalised),
    "padded": Case(IMAGE, padded),
}


# --- Graphs: nested, shared, summed, moved ----------------------------------------------------------------


def nested(x: Tensor) -> Tensor:
    inside = keras.Input(x.shape[1:])
    inner = keras.Model(inside, ClippedReLU(0.6)(layers.Dense(8)(inside)), name="inner")
    stack = keras.Sequential([layers.Dense(7), ClippedReLU(0.6), layers.Dense(6)], name="stack")
    return layers.ReLU()(stack(inner(x)))


def nested_twice(x: Tensor) -> Tensor:
    stack = keras.Sequential([layers.Dense(6), ClippedReLU(0.6)], name="stack")
    return stack(stack(x))


def shared(x: Tensor) -> Tensor:
    layer = layers.Dense(6, name="shared")
    act = ClippedReLU(0.7, name="act")
    return act(layer(act(layer(x))))


def shared_fused(x: Tensor) -> Tensor:
    layer = layers.Dense(6, activation="relu", name="shared")
    return layer(layer(x))


def three_branches(x: Tensor) -> Tensor:
    x = ClippedReLU(0.7)(layers.Dense(8)(x))
    return ClippedReLU(0.7)(layers.Add()([x, layers.Dense(8)(x), layers.Dense(8)(x)]))


def different_balls(x: Tensor) -> Tensor:
    one = ClippedReLU(0.7, name="one")(layers.Dense(8)(x))
    other = ClippedMaxMin(0.3, -0.3, name="other")(layers.Dense(8)(x))
    return ClippedReLU(0.7)(one + layers.Dense(8)(other))


def branches_to_the_logits(x: Tensor) -> Tensor:
    return ClippedReLU(0.7)(layers.Dense(8)(x)) + layers.Dense(8)(x)


def flattened_branches(x: Tensor) -> Tensor:
    x = ClippedReLU(0.7)(plain_conv(2)(x))
    return layers.Flatten()(x) + layers.Flatten()(plain_conv(2)(x))


def moved_then_summed(x: Tensor) -> Tensor:
    x = ClippedReLU(0.7)(layers.Dense(8)(x))
    return ClippedReLU(0.4)((x + 0.5) + layers.Dense(8)(x + 1.0))


GRAPHS = {
    "nested": Case(FLAT, nested),
    "nested twice": Case(FLAT, nested_twice),
    "shared": Case(FLAT, shared),
    "shared fused": Case(FLAT, shared_fused),
    "three branches": Case(FLAT, three_branches),
    "different balls": Case(FLAT, different_balls),
    "branches to the logits": Case(FLAT, branches_to_the_logits),
    "flattened branches": Case(IMAGE, flattened_branches),
    "moved then summed": Case(FLAT, moved_then_summed),
}

CASES = {**LAYERS, **NETS, **GRAPHS}
assert len(CASES) == len(LAYERS) + len(NETS) + len(GRAPHS), "two cases have one name"
