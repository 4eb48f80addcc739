"""What code holds and names, and whose it is."""

import dis
import functools
import io
import logging
import sys
import sysconfig
import threading
import types
from collections.abc import Iterator
from typing import Any

#: Packages whose code does not change while a program runs.
_FIXED = ("keras", "keraslip", "tensorflow", "jax", "torch", "numpy", "builtins")
#: Objects that compute nothing, and hold what changes with use.
_SILENT: tuple[type, ...] = (
    types.ModuleType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)
_SILENT += (logging.Logger, io.IOBase, type(threading.Lock()), type(threading.RLock()))
#: Instructions that read a global, or import. An attribute of the same name is none.
_READING = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS", "IMPORT_NAME")
#: Where attributes of a class have their function.
_INSIDE: dict[type, str] = {staticmethod: "__func__", classmethod: "__func__", property: "fget"}
_INSIDE[functools.cached_property] = "func"
#: Methods by which a layer is called; the second one is PyTorch's.
_WAYS = ("__call__", "forward")
#: Methods that Keras itself wraps in every layer.
_WRAPPED = {"build", "quantize"}


def closure(function: types.FunctionType) -> list[Any]:
    """What a function holds of the function around it."""
    found = []
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:
            found.append(None)  # not filled yet
    return found


def named(function: types.FunctionType) -> dict[str, Any]:
    """Globals that a function's code names, and what it names of the user's modules, by their names."""
    (loaded, imports), names = _loaded(function.__code__), _names(function.__code__)
    known, package = function.__globals__, function.__globals__.get("__package__")
    found = {name: known[name] for name in loaded if name in known}
    for name in imports:
        found[name] = sys.modules.get(name, sys.modules.get(f"{package}.{name}".rstrip(".")))
    queue = list(found.items())
    seen: set[int] = set()
    for place, module in queue:  # which grows
        if isinstance(module, types.ModuleType) and id(module) not in seen:
            seen.add(id(module))
            followed = is_near(module, function)
            inside = {f"{place}.{n}": vars(module)[n] for n in names if n in vars(module)}
            found |= inside if followed else {}
            queue += inside.items() if followed else ()
    return {name: value for name, value in found.items() if not isinstance(value, _SILENT)}


@functools.lru_cache(maxsize=1024)
def _loaded(code: types.CodeType) -> tuple[list[str], list[str]]:
    """Names of globals that code reads, and of modules that it imports when it runs; inner code included."""
    names: tuple[list[str], list[str]] = ([], [])
    for i in dis.get_instructions(code):
        if i.opname in _READING:
            names[i.opname == "IMPORT_NAME"].append(i.argval)
    inside = [_loaded(part) for part in code.co_consts if isinstance(part, types.CodeType)]
    globals_, imports = zip(names, *inside, strict=True)
    return [n for part in globals_ for n in part], [n for part in imports for n in part]


@functools.lru_cache(maxsize=1024)
def _names(code: types.CodeType) -> tuple[str, ...]:
    """All names in code, those of attributes among them."""
    inside = [_names(part) for part in code.co_consts if isinstance(part, types.CodeType)]
    return tuple(dict.fromkeys([*code.co_names, *(name for part in inside for name in part)]))


def members(kind: type) -> Iterator[tuple[str, Any]]:
    """Functions and data of a user's type and its bases, by name; nothing of packages."""
    for base in kind.__mro__:
        if is_python(base):
            continue
        for name, value in sorted(vars(base).items()):
            inside = _INSIDE.get(type(value))
            value = getattr(value, inside) if inside else value
            # Other names between underscores are Python's own.
            own = name[:2] != "__" and name != "_abc_impl" and not isinstance(value, _SILENT)
            if own or isinstance(value, types.FunctionType):
                yield name, value


def replaced(thing: Any) -> list[str]:
    """Methods that were replaced on an object itself, past its class, by name."""
    kind: Any = type(thing)
    known = _methods(kind)
    return [name for name, value in vars(thing).items() if name in known and callable(value)]


def calls_alone(thing: Any) -> bool:
    """Whether calling a layer or model does nothing beside its `call` but what Keras does."""
    kind = type(thing)
    ways = (getattr(kind, name, None) for name in _WAYS)
    return all(way is None or is_fixed(way) for way in ways) and not {*_WAYS} & vars(thing).keys()


@functools.lru_cache(maxsize=1024)
def _methods(kind: type) -> frozenset[str]:
    """Names of the methods of a class and its bases."""
    kinds = (types.FunctionType, staticmethod, classmethod)
    held = (item for base in kind.__mro__ for item in vars(base).items())
    return frozenset(name for name, value in held if isinstance(value, kinds)) - _WRAPPED


def is_near(thing: Any, other: Any = None) -> bool:
    """Whether code is the user's: of no installed package, but for that of another thing of the user's."""
    place = home(thing)
    first = place.split(".")[0]
    if is_python(thing):
        return False
    file = str(getattr(sys.modules.get(place), "__file__", None))
    return not file.startswith(_installed()) or first == home(other).split(".")[0]


@functools.cache
def _installed() -> tuple[str, ...]:
    return tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})


def is_python(thing: Any) -> bool:
    """Whether code is fixed, or Python's own."""
    return is_fixed(thing) or home(thing).split(".")[0] in sys.stdlib_module_names


def is_fixed(thing: Any) -> bool:
    """Whether code belongs to a package, and does not change while a program runs."""
    return home(thing).split(".")[0] in _FIXED


def home(thing: Any) -> str:
    """The module of a function, class or object: `functools.wraps` names that of another one."""
    if isinstance(thing, types.ModuleType):
        return thing.__name__
    if isinstance(thing, types.FunctionType):
        return str(thing.__globals__.get("__name__", ""))
    return str(getattr(thing, "__module__", ""))
