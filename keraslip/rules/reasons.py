"""Why some of Keras' layers and operations have no rule, and what to use instead: a sentence each."""

import functools
from typing import Any

import keras

_REASONS = {
    "it multiplies tensors that both move, so that no Lipschitz constant bounds it; use convolutions, or an "
    "EinsumDense along the axis": (
        "Attention", "AdditiveAttention", "GroupQueryAttention", "MultiHeadAttention",
    ),
    "it divides by the size of what it reads, which can be near zero, so that no useful constant bounds it; "
    "use BatchNormalization, whose numbers are fixed at inference": (
        "GroupNormalization", "LayerNormalization", "RMSNormalization", "UnitNormalization",
    ),
    "the product of two branches has no bound: it is linear in neither; multiply by a constant, or add": (
        "Dot", "Multiply",
    ),
    "what its function computes is not seen; write it with keras.ops": (
        "Lambda",
    ),
    "it reads whole numbers, which have no ball around them; certify from the vectors on, "
    "keras.Model(vectors, logits)": ("Embedding",),
    "no bound is carried from step to step; use Conv1D(padding='causal')": (
        "Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "GRU", "LSTM", "RNN", "SimpleRNN",
    ),
    "it hides the layer in it; use that layer itself, or dense layers, which work along the last axis": (
        "TimeDistributed",
    ),
    "a training step would not see its loss; leave it out, or use compile(sparsity=...)": (
        "ActivityRegularization",
    ),
    "it shifts the units that it drops; use Dropout": ("AlphaDropout",),
    "it resizes images; use Cropping2D or UpSampling2D, or do it to the data": (
        "CenterCrop", "RandomCrop", "Resizing",
    ),
    "it mixes samples, or changes images by their own values; do it to the data": (
        "AutoContrast", "CutMix", "Equalization", "MixUp", "Solarization",
    ),
    "it jumps from one number to the next, so that no Lipschitz constant bounds it; do it to the data": (
        "CategoryEncoding", "Discretization", "HashedCrossing", "Hashing",
    ),
    "it leaves out steps by their values, which jumps; cut or pad the series before the model": ("Masking",),
    "it has a rule along the classes at the end alone, where keraslip.from_keras leaves it off; use another "
    "activation": (
        "Softmax",
    ),
    "it squares what it reads; do it to the data": ("MelSpectrogram", "STFTSpectrogram"),
    "it scales the kernel anew in each training step; use the layer in it, whose norm is bounded as it is, "
    "or keraslip.layers.AOLDense and AOLConv2D": ("SpectralNormalization",),
    "volumes have rules of pooling and dense layers alone; move one axis into the channels with Permute and "
    "Reshape, and use a layer of images": (
        "Conv3D", "Conv3DTranspose", "Cropping3D", "UpSampling3D", "ZeroPadding3D",
    ),
}  # fmt: skip

#: The same of bare operations, by the names of their classes.
_OF_OPERATIONS = {
    "it has several results; take them as slices, x[:, :3] and x[:, 3:]": ("ArraySplit", "Split", "Unstack"),
    "its slope grows without bound; use an activation with a Lipschitz constant": (
        "Cosh", "Exp", "Exp2", "Expm1", "Exponential", "Log", "Log10", "Log1p", "Log2", "Power", "Prod",
        "Reciprocal", "Rsqrt", "Sinh", "Sqrt", "Square", "Std", "Tan", "Var",
    ),
    "it jumps, so that no Lipschitz constant bounds it; use relu, hard_tanh or hard_sigmoid": (
        "Argmax", "Argmin", "Ceil", "Floor", "FloorDivide", "HardShrink", "Heaviside", "Mod", "OneHot",
        "Round", "Sign", "Threshold", "Trunc",
    ),
    "it chooses by a condition; use ops.maximum, ops.minimum, relu or leaky_relu": (
        "Equal", "Greater", "GreaterEqual", "Less", "LessEqual", "NotEqual", "Select", "Where",
    ),
    "it multiplies by a matrix that no layer holds; use Dense, or EinsumDense": (
        "Dot", "Einsum", "Inner", "Matmul", "Outer", "Tensordot",
    ),
    "it is a layer's work; use the layer of that name": (
        "AveragePool", "BatchNorm", "Conv", "ConvTranspose", "DepthwiseConv", "MaxPool", "Resize",
        "SeparableConv",
    ),
    "it divides by the size of what it reads, which can be near zero; use BatchNormalization": (
        "LayerNorm", "Normalize", "RMSNorm",
    ),
    "it sorts; use keraslip.layers.GroupSort": ("Argsort", "Median", "Quantile", "Sort", "TopK"),
    "it multiplies two halves of what it reads; use silu or MaxMin": ("Glu",),
    "it moves or adds up entries in a way of its own; use slices, x[:, 1:] - x[:, :-1], and ops.sum, "
    "ops.mean, ops.flip, ops.transpose or ops.concatenate": (
        "Average", "BroadcastTo", "Cumsum", "Diff", "Hstack", "Rot90", "Slice", "TakeAlongAxis",
        "Vstack",
    ),
    "it changes no number; leave it out": ("Copy", "StopGradient"),
    "its slope depends on all it reads; use ops.max, or an activation": ("Logsumexp", "Norm", "Sparsemax"),
    "it has a rule along the classes at the end alone, where keraslip.from_keras leaves it off; use another "
    "activation": (
        "LogSoftmax", "Softmax",
    ),
}  # fmt: skip


@functools.cache
def _by_type() -> dict[type, str]:
    found: dict[type, str] = {}
    for reason, names in _REASONS.items():
        found |= {getattr(keras.layers, name): reason for name in names}
    return found


@functools.cache
def _by_name() -> dict[str, str]:
    return {name: reason for reason, names in _OF_OPERATIONS.items() for name in names}


def reason_against_function(function: Any) -> str | None:
    """The same of a function of Keras' that is an `activation`."""
    if not str(getattr(function, "__module__", "")).startswith("keras."):
        return None
    words = str(getattr(function, "__name__", "")).split("_")
    return _by_name().get("".join(word.capitalize() for word in words))


def reason_against(operation: type) -> str | None:
    """Why an exact type of Keras' layers or operations has no rule, and what to use instead, if known."""
    bare = operation.__module__.startswith("keras.") and not issubclass(
        operation, keras.layers.Layer
    )
    return _by_name().get(operation.__name__) if bare else _by_type().get(operation)
