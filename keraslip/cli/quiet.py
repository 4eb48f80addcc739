"""The log lines that TensorFlow and XLA write on standard error from C++, kept off a command's terminal."""

import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

#: Level of the C++ log, read when TensorFlow or XLA starts; what matters reaches Python as an exception.
LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_LOG = re.compile(
    rb"WARNING: All log messages before absl|[IWE]\d{4} [\d.:]+ |\d{4}-\d\d-\d\d [\d.:]+: [IWE] "
    rb"|To enable the following instructions: "
)


def hush() -> None:
    """Silences the C++ logs of this process, unless the user has set their level.

    While it is imported, TensorFlow logs whatever the level is.
    """
    if LEVEL not in os.environ:
        os.environ[LEVEL] = "3"
        sys.meta_path.insert(0, _Finder())


@contextmanager
def log_lines_dropped() -> Iterator[None]:
    """Inside the block nothing is written on standard error; after it all but log lines is."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as caught:
        terminal = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
            caught.seek(0)
            os.write(2, b"".join(line for line in caught if not _LOG.match(line)))


class _Finder(MetaPathFinder):
    """Finds TensorFlow, to be imported without its log lines."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name == "tensorflow" else None
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self.loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__loader__ = module.__spec__.loader = self.loader
        with log_lines_dropped():
            self.loader.exec_module(module)
