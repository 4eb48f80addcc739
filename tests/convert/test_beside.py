"""What a model does beside its layers is not in the converted one, and refused."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keraslip
from keraslip.rules import MismatchError, UnsupportedLayerError


def ends_in(last, **said):
    """A model whose third logit is the largest where its last feature is large, and nowhere near 0."""
    start, dense = keras.Input((4,)), layers.Dense(3)
    model = keras.Model(start, last(dense(start), **said))
    kernel = np.zeros((4, 3), "float32")
    kernel[0, 0], kernel[1, 1], kernel[3, 2] = 1.0, 1.0, 30.0
    dense.set_weights([kernel, np.array([20.0, 0.0, -20.0])])
    return model


def test_a_softmax_that_leaves_classes_out_is_refused():
    """Where random inputs are, the class that is left out has no probability anyway."""
    model = ends_in(layers.Softmax(), mask=np.array([True, True, False]))
    x = np.array([[0.0, 0.0, 0.0, 3.0]], "float32")
    plain = keraslip.from_keras(ends_in(layers.Softmax()))
    assert plain.predict(x, verbose=0).argmax() == 2 and model.predict(x, verbose=0).argmax() == 0
    with pytest.raises(UnsupportedLayerError, match="'softmax.*has a mask.*Received: mask="):
        keraslip.from_keras(model)
    assert not keraslip.convert.check_plain(model)


LEFT_OUT = {
    "identity": layers.Identity,
    "dropout": lambda: layers.AlphaDropout(0.5),
    "folded": layers.BatchNormalization,
    "softmax": layers.Softmax,
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_call_that_is_replaced_on_what_is_left_out_is_refused(name):
    layer = LEFT_OUT[name]()
    model = ends_in(layer)
    own = layer.call
    layer.call = lambda x, training=None, mask=None: own(ops.where(x > 50.0, -x, x))
    x = np.array([[60.0, 0.0, 0.0, 0.0]], "float32")
    assert model.predict(x, verbose=0).argmax() != 0
    with pytest.raises(MismatchError, match="at '.*': its call was replaced on the layer itself"):
        keraslip.from_keras(model)
    assert not keraslip.convert.check_plain(model)
    del layer.call
    assert keraslip.from_keras(model).predict(x, verbose=0).argmax() == 0


def test_a_layer_of_ones_own_may_be_called_softmax():
    """What makes no probabilities of logits by that name is not left off."""

    class Softmax(layers.Layer):
        axis = -1

        def call(self, x):
            return -ops.convert_to_tensor(ops.convert_to_numpy(ops.softmax(x)))

        def compute_output_spec(self, x):
            return keras.KerasTensor(x.shape, x.dtype)

    with pytest.raises(UnsupportedLayerError, match="No rule carries .* Softmax at 'softmax"):
        keraslip.from_keras(ends_in(Softmax()))
