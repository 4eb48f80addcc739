"""Attributes that are computed once: two threads do not wait for each other."""

import threading

import pytest

from keraslip.lockless import cached_property

pytestmark = pytest.mark.any_backend("no backend is used")


class Crossed:
    """Each attribute asks for the other one, of another instance, when both are being computed."""

    def __init__(self, both):
        self.both, self.counts = both, [0, 0]

    @cached_property
    def one(self):
        self.counts[0] += 1
        self.both.wait(20)
        return Crossed(threading.Barrier(1)).two if self.both.parties == 2 else 1

    @cached_property
    def two(self):
        self.counts[1] += 1
        self.both.wait(20)
        return Crossed(threading.Barrier(1)).one if self.both.parties == 2 else 2


def test_two_threads_find_attributes_of_each_other():
    both = threading.Barrier(2)
    first, second = Crossed(both), Crossed(both)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(first.one), daemon=True),
        threading.Thread(target=lambda: found.append(second.two), daemon=True),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(found) == [1, 2]
    assert first.one == 2 and first.counts == [1, 0]  # kept
