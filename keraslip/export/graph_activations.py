"""Anchored slopes of activations as TensorFlow operations in float64; see `keraslip.certify.slopes`."""

from typing import Any

import tensorflow as tf

from keraslip.certify.slopes import PAD, ProvedClippedReLU, ProvedMaxMin
from keraslip.export.graph_operators import Constants

Tensor = Any


def _slope(away: Tensor, reach: Tensor, constant: Tensor) -> Tensor:
    divisor = tf.where(constant, tf.ones_like(reach), reach)
    soft = tf.minimum((1.0 - away / divisor) * (1.0 + PAD) + PAD, 1.0)
    return tf.where(constant, tf.zeros_like(soft), soft)


def clipped_relu(
    activation: ProvedClippedReLU, z: Tensor, rho: Tensor, constants: Constants
) -> tuple[Tensor, Tensor]:
    """See `ProvedClippedReLU.slopes`.

    Args:
        activation: The activation.
        z: Its input `(batch, *shape)`.
        rho: How far each entry may be from it.
        constants: Where thresholds are stored.

    Returns:
        The output, and the slopes.
    """
    theta = constants(activation.threshold)
    away = tf.maximum(tf.maximum(-z, z - theta), 0.0)
    constant = (rho <= away) | (theta <= 0.0)
    soft = _slope(away, tf.minimum(rho, theta + away), constant)
    inside = (z > 0.0) & (z < theta) & ~constant
    high = tf.where(inside, tf.ones_like(soft), soft)
    return tf.minimum(tf.maximum(z, 0.0), theta), high


def maxmin(
    activation: ProvedMaxMin, z: Tensor, rho: Tensor, constants: Constants
) -> tuple[Tensor, Tensor, Tensor]:
    """See `ProvedMaxMin.slopes`.

    Args:
        activation: The activation.
        z: Its input `(batch, *shape)`.
        rho: How far each entry may be from it.
        constants: Where thresholds are stored.

    Returns:
        The output, and the weights of rows and of columns.
    """
    axis = activation.axis
    p, q = tf.split(z, 2, axis=axis)
    rho_p, rho_q = tf.split(rho, 2, axis=axis)
    p_first, q_first = p - q >= rho_p + rho_q, q - p >= rho_p + rho_q
    reach = tf.maximum(rho_p, rho_q)
    reach_max = tf.where(p_first, rho_p, tf.where(q_first, rho_q, reach))
    reach_min = tf.where(p_first, rho_q, tf.where(q_first, rho_p, reach))
    upper, lower = constants(activation.upper), constants(activation.lower)
    largest, smallest = tf.maximum(p, q), tf.minimum(p, q)
    weights = []
    for beyond, rho_of in ((largest - upper, reach_max), (lower - smallest, reach_min)):
        away = tf.maximum(beyond, 0.0)
        weights.append(_slope(away, rho_of, (rho_of <= away) | (rho_of <= 0.0)))
    high, low = weights
    pair = tf.maximum(high, low)
    rows_p = tf.where(p_first, high, tf.where(q_first, low, pair))
    rows_q = tf.where(p_first, low, tf.where(q_first, high, pair))
    # Where nothing varies both parts are zero, whatever they are divided by.
    divisor = tf.where(pair == 0.0, tf.ones_like(pair), pair)
    columns = []
    for part in weights:
        alone = tf.where(part > 0.0, tf.ones_like(part), part)
        mixed = tf.minimum(part / divisor * (1.0 + PAD), 1.0)
        columns.append(tf.where(p_first | q_first, alone, mixed))
    output = [tf.minimum(largest, upper), tf.maximum(smallest, lower)]
    return (
        tf.concat(output, axis),
        tf.concat([rows_p, rows_q], axis),
        tf.concat(columns, axis),
    )
