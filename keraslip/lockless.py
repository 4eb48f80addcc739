"""Attributes that are computed once, without a lock."""

import functools
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeVar

T = TypeVar("T")


class cached_property(functools.cached_property[T]):  # noqa: N801 - named as what it is
    """`functools.cached_property` as it is from Python 3.12 on.

    Before, all instances share a lock for each attribute, and two threads that find attributes of each other
    could hold one lock each and wait for ever. Without, both may compute the same thing.
    """

    def __init__(self, func: Callable[[Any], T]) -> None:
        super().__init__(func)
        self.lock = nullcontext()
