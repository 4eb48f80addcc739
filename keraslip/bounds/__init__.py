"""The maths of training: pure functions on `keras.ops`, no layers, no state."""
