"""Calls of every function of an arithmetic, and what NumPy makes of them."""

import inspect
from typing import Any

import numpy as np
from scipy import special

from keraslip.arithmetic import Arithmetic
from tests.arithmetic import windows

A = np.array([[[-2.0, 0.5, 3.0], [4.0, -0.25, 1.5]]])
B = np.array([[[1.0, 0.0, -3.0], [4.0, 2.0, -1.5]]])
#: Name of the function, its arguments, and what they should give.
CALLS: dict[str, tuple[tuple[Any, ...], np.ndarray]] = {
    "constant": ((A,), A),
    "stop_gradient": ((A,), A),
    "abs": ((A,), np.abs(A)),
    "sqrt": ((np.abs(A),), np.sqrt(np.abs(A))),
    "square": ((A,), A**2),
    "exp": ((A,), np.exp(A)),
    "log": ((np.abs(A),), np.log(np.abs(A))),
    "tanh": ((A,), np.tanh(A)),
    "erf": ((2.0 * A,), special.erf(2.0 * A)),
    "maximum": ((A, B), np.maximum(A, B)),
    "minimum": ((A, 0.5), np.minimum(A, 0.5)),
    "relu": ((A,), np.maximum(A, 0.0)),
    "where": ((A > B, A, 0.0), np.where(A > B, A, 0.0)),
    "divide": ((A, B), np.divide(A, B, out=np.full_like(A, 7.0), where=B != 0.0)),
    "indicator": ((A > 0.0, A), np.where(A > 0.0, 1.0, 0.0)),
    "sum": ((A, (1, 2)), A.sum(axis=(1, 2))),
    "mean": ((A, 1, True), A.mean(axis=1, keepdims=True)),
    "max": ((A, 2), A.max(axis=2)),
    "ones": (((1, 2),), np.ones((1, 2))),
    "ones_like": ((A,), np.ones_like(A)),
    "zeros_like": ((A,), np.zeros_like(A)),
    "reshape": ((A, (1, -1)), A.reshape(1, -1)),
    "transpose": ((A, (0, 2, 1)), A.transpose(0, 2, 1)),
    "broadcast_to": ((A, (2, 2, 3)), np.broadcast_to(A, (2, 2, 3))),
    "pad": ((A, ((0, 0), (1, 0), (0, 2))), np.pad(A, ((0, 0), (1, 0), (0, 2)))),
    "flip": ((A, (1, 2)), A[:, ::-1, ::-1]),
    "split": ((A, 3, 2), np.stack(np.split(A, 3, axis=2))),
    "concatenate": (([A, B], -1), np.concatenate([A, B], axis=-1)),
    "take": ((A, [2, 0], 2), A[..., [2, 0]]),
    "sort": ((A, 1), np.sort(A, axis=1)),
    "lookup": ((B[0, 0], np.array([-0.5, np.nan, 0.9, 1.0, 7.0])), B[0, 0, [0, 0, 0, 1, 2]]),
    "matmul": ((A, B[0].T), A @ B[0].T),
    "eye": ((3,), np.eye(3)),
    "einsum": (("bij,kj->bik", A, B[0]), A @ B[0].T),
    **windows.CALLS,
}
FUNCTIONS = [
    name for name, _ in inspect.getmembers(Arithmetic, inspect.isfunction) if name[0] != "_"
]


def called(arithmetic: Any, name: str, tensor: Any, numpy: Any) -> tuple[np.ndarray, np.ndarray]:
    """What an arithmetic makes of a call, and what it should; where nothing is asked they agree."""
    arguments, expected = CALLS[name]

    def given(part: Any) -> Any:
        if isinstance(part, list) and isinstance(part[0], np.ndarray):
            return [tensor(one) for one in part]
        return tensor(part) if isinstance(part, np.ndarray) and name != "constant" else part

    arguments = tuple(map(given, arguments))
    if name == "conv_adjoint":
        y, kernel, *rest = arguments
        arguments = (y, arithmetic.adjoint_kernel(kernel, rest[0], rest[1][2]), *rest)
    if name == "adjoint_kernel":
        return expected, expected
    found = getattr(arithmetic, name)(*arguments)
    found = np.stack([numpy(part) for part in found]) if name == "split" else numpy(found)
    if name == "divide":
        found = np.where(B == 0.0, 7.0, found)
    return found, expected
