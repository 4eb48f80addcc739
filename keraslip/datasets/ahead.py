"""One item is made in a thread while the one before it is in use."""

from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


class Ahead(Generic[Key, Item]):
    """Makes the item that is likely to be asked for next before it is asked for.

    A wrong guess costs time and changes nothing: an item depends on its key alone, and two threads may make
    items at once.
    """

    def __init__(self, make: Callable[[Key], Item]) -> None:
        self._make = make
        self._lock = Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: tuple[Key, Future[Item]] | None = None

    def __call__(self, key: Key, following: Key) -> Item:
        """The item of a key, while the following one is begun."""
        with self._lock:
            guess = self._waiting
            known = guess[1] if guess is not None and guess[0] == key else None
            if self._pool is None:
                self._pool = ThreadPoolExecutor(1, "keraslip-batches")
            if known is None:
                known = self._pool.submit(self._make, key)
            self._waiting = (following, self._pool.submit(self._make, following))
        return known.result()

    def __reduce__(self) -> tuple[type, tuple[Callable[[Key], Item]]]:
        return type(self), (self._make,)  # a copy or another process begins anew
