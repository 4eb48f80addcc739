"""A hash of values that is the same in every process: of numbers, arrays, configurations, operators."""

import copyreg
import functools
import hashlib
import itertools
import types
from collections.abc import Mapping, Set
from functools import cached_property
from typing import Any

import keras
import numpy as np

from keraslip.rules.code import closure, home, is_fixed, is_near, is_python, members, named

#: Arguments of layers that say nothing of what they compute; the type they compute in is looked up.
_LEFT_OUT = ("name", "trainable", "dtype", "seed", "activity_regularizer")
_LEFT_OUT_ENDS = ("_initializer", "_regularizer", "_constraint")
#: What code of a package may name that is followed: numbers and words.
_NUMBERS = (bool, int, float, str, bytes, np.ndarray, np.number)
#: Objects inside objects are followed so far; beyond, they are not known.
_DEPTH = 50
#: A tensor whose numbers cannot be read.
_HIDDEN: Any = object()
#: What cannot be described is equal to nothing, not even to itself.
_unknown = itertools.count()


def content(value: Any) -> str:
    """Hexadecimal SHA-256 of a value.

    Two values have one hash if they mean the same in a computation: `(1, 1)`, `[1.0, 1.0]` and arrays of
    these numbers, for a file of a model makes one of another. Objects are their type and attributes, and what
    the code of a user's own type says; what has neither numbers nor attributes gets a hash of its own every
    time.
    """
    writer = _Writer()
    writer.write(value)
    return writer.hash.hexdigest()


class _Writer:
    def __init__(self) -> None:
        self.hash = hashlib.sha256()
        self.above: set[int] = set()
        #: Code that was written, by its place, and kept, so that nothing else takes that; and the first of
        #: it, which says whose code is followed.
        self.known: dict[int, tuple[int, Any]] = {}
        self.first: Any = None

    def _tag(self, *parts: Any) -> None:
        self.hash.update(f"({' '.join(map(str, parts))})".encode())

    def write(self, value: Any) -> None:
        if value is None or value is Ellipsis or isinstance(value, str | bool | bytes):
            self._tag(type(value).__name__, repr(value))
        elif isinstance(value, np.bool_):
            self.write(bool(value))
        elif isinstance(value, keras.KerasTensor):
            self._tag("unknown", next(_unknown))
        elif (array := _array_of(value)) is _HIDDEN:
            self._tag("unknown", next(_unknown))
        elif (numbers := _standard(array)) is not None:
            self._array(numbers)
        elif id(value) in self.above:
            self._tag("inside itself")
        else:
            self.above.add(id(value))
            if array is not None and array.dtype.kind in "OSU" and hasattr(value, "__array__"):
                self._tag("words", array.shape)
                self.write(array.tolist())
            else:
                self._compound(value)
            self.above.discard(id(value))

    def _array(self, array: np.ndarray) -> None:
        if array.dtype.kind == "f":
            with np.errstate(over="ignore"):
                small = array.astype("float32", copy=False)
            # A number is the same in every type that holds it.
            array = small if (small == array).all() else array.astype("float64")
        array = array + 0  # no negative zeros
        self._tag("numbers", array.shape, array.dtype)
        self.hash.update(raw(array))

    def _compound(self, value: Any) -> None:
        if isinstance(value, Mapping):
            self._tag("mapping", len(value))
            for key in sorted(value, key=repr):
                self.write(key)
                self.write(value[key])
        elif isinstance(value, list | tuple):
            self._tag("sequence", len(value))
            for part in value:
                self.write(part)
        elif isinstance(value, slice):
            self._tag("slice")
            self.write([value.start, value.stop, value.step])
        elif isinstance(value, Set):
            self._tag("set", sorted(map(content, value)))
        elif isinstance(value, types.FunctionType | type):
            self._code(value)
        elif isinstance(value, keras.Operation):
            self.write(_parts(value))
        elif isinstance(value, types.MethodType):
            self._tag("method")
            self.write([value.__func__, value.__self__])
        elif isinstance(value, functools.partial):
            self._tag("partial")
            self.write([value.func, value.args, value.keywords])
        elif isinstance(value, types.ModuleType):
            self._tag("module", value.__name__)
        elif isinstance(value, types.BuiltinFunctionType | np.ufunc):
            self._tag("built in", getattr(value, "__module__", ""), value.__name__)
        else:
            self._object(value)

    def _code(self, value: Any) -> None:
        self._tag("code", keras.saving.get_registered_name(value))
        self.first = self.first or value
        if id(value) in self.known:
            self._tag("again", self.known[id(value)][0])
            return
        self.known[id(value)] = len(self.known), value
        if not is_near(value, self.first):
            self._tag("of", home(value))
        elif isinstance(value, type):
            self.write(code_of(value))
        if isinstance(value, types.FunctionType):
            said: list[Any] = []
            if is_near(value, self.first):
                said = [said_by(value.__code__), named(value)]
            elif not is_python(value):
                # A package's, such as a base of the user's class: what it says, and numbers, no further.
                numbers = {n: v for n, v in named(value).items() if isinstance(v, _NUMBERS)}
                said = [said_by(value.__code__), numbers]
            self.write([said, value.__defaults__, value.__kwdefaults__, closure(value)])

    def _object(self, value: Any) -> None:
        kind = type(value)
        if isinstance(value, keras.DTypePolicy):
            self._tag("policy", value.name)
        elif len(self.above) > _DEPTH:
            self._tag("unknown", next(_unknown))
        elif isinstance(wrapped := getattr(value, "__wrapped__", None), types.FunctionType):
            self.write(wrapped)
        elif hasattr(value, "__qualname__") and is_fixed(value):
            self._tag("of", home(value), value.__qualname__)  # a package's function, wrapped
        elif hasattr(value, "__dict__"):
            self._tag("object", keras.saving.get_registered_name(kind))
            # Those are computed from the others, whenever someone asks.
            computed = {
                n for n in vars(value) if isinstance(getattr(kind, n, None), cached_property)
            }
            self.write({n: part for n, part in vars(value).items() if n not in computed})
            if own := code_of(kind):
                self.write(own)
        else:
            self._reduced(value)

    def _reduced(self, value: Any) -> None:
        """What `pickle` would keep of an object without attributes: of a pattern, a path, a dtype, slots."""
        keep = copyreg.dispatch_table.get(type(value), lambda value: value.__reduce_ex__(4))
        try:
            kept = keep(value)
        except (TypeError, RuntimeError):
            kept = None
        if kept is None or _is_type_alone(kept, type(value)):
            self._tag("unknown", next(_unknown))
        else:
            self._tag("reduced", keras.saving.get_registered_name(type(value)))
            self.write(kept)


def _is_type_alone(kept: Any, kind: type) -> bool:
    """Whether what `pickle` would keep says nothing but the type."""
    if isinstance(kept, str):
        return False
    return len(kept[1]) == 1 and kept[1][0] is kind and all(part is None for part in kept[2:])


def raw(array: np.ndarray) -> memoryview:
    """The bytes of an array of any type, copied only if they do not lie in a row."""
    return np.ascontiguousarray(array).reshape(-1).view("uint8").data


def code_of(kind: type) -> list[Any]:
    """What the methods of a user's own type say, with all that they name; nothing of packages.

    A number in the code of an activation or a layer is in no attribute of it.
    """
    return list(members(kind))


def said_by(code: types.CodeType) -> list[Any]:
    """Instructions, names and constants of some code, inner functions included."""
    inside = [said_by(c) if isinstance(c, types.CodeType) else c for c in code.co_consts]
    return [code.co_code, list(code.co_names), inside]


def _parts(operation: Any) -> list[Any]:
    """What an operation computes with, and of a user's own what its code says."""
    weights = list(getattr(operation, "weights", []))
    dtypes = [getattr(operation, name, None) for name in ("compute_dtype", "variable_dtype")]
    name = keras.saving.get_registered_name(type(operation))
    own = code_of(type(operation))
    held = [vars(operation)[key] for key in sorted(vars(operation))]
    own += [f for f in held if isinstance(f, types.FunctionType) and is_near(f)]
    return [name, dtypes, _config(operation), weights, *([own] if own else [])]


def _config(operation: Any) -> Any:
    try:
        config = operation.get_config()
    except NotImplementedError:
        # A layer of the user's that cannot be saved.
        config = {key: value for key, value in vars(operation).items() if key[0] != "_"}
    return _without_names(config)


def _without_names(config: Any) -> Any:
    """A configuration without what computes nothing; layers inside layers included."""
    if isinstance(config, list | tuple):
        return [_without_names(entry) for entry in config]
    if not isinstance(config, Mapping):
        return config
    return {
        key: _without_names(value)
        for key, value in config.items()
        if key not in _LEFT_OUT and not str(key).endswith(_LEFT_OUT_ENDS)
    }


def _array_of(value: Any) -> Any:
    """A number, tensor, or list of numbers as an array; `None` if it is none of these.

    `_HIDDEN` for a tensor that says nothing of what it holds, such as TensorFlow's of data sets and tables.
    """
    if isinstance(value, int | float | complex | np.number):
        return np.asarray(value)
    if hasattr(value, "shape") and hasattr(value, "dtype") and not isinstance(value, type):
        try:
            return np.asarray(keras.ops.convert_to_numpy(value))
        except Exception:  # every backend has one of its own for this
            return _HIDDEN
    if isinstance(value, list | tuple) and value:
        if all(isinstance(part, int | float | np.number) for part in value):
            return np.asarray(value)
    return None


def _standard(array: np.ndarray | None) -> np.ndarray | None:
    """An array of numbers, whole ones as float64 where that holds them; `None` if it has none."""
    if array is None or array.dtype.kind not in "iubfc":
        return None
    if array.dtype.kind in "iub" and (np.abs(array.astype("float64")) < 2**53).all():
        return array.astype("float64")
    return array
