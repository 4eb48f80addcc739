"""Why some of Keras' layers have no rule, and what to use instead: a sentence each."""

import functools

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
}  # fmt: skip


@functools.cache
def _by_type() -> dict[type, str]:
    found: dict[type, str] = {}
    for reason, names in _REASONS.items():
        found |= {getattr(keras.layers, name): reason for name in names}
    return found


def reason_against(operation: type) -> str | None:
    """Why a type of Keras' layers has no rule, and what to use instead; `None` if nothing is known.

    Args:
        operation: The exact type.
    """
    return _by_type().get(operation)
