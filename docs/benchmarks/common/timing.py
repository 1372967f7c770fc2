"""Times of calls that take turns, so that what else the machine does meets all of them alike."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

Name = TypeVar("Name")


def alternating(
    calls: Mapping[Name, Callable[[], object]],
    rounds: int,
    *,
    warm: int = 0,
    clock: Callable[[], float] = time.process_time,
    generator: random.Random | None = None,
) -> dict[Name, list[float]]:
    """Seconds of every call in every round; in a round all calls run once, one after the other.

    Args:
        calls: name -> what to time. Results are dropped; a call that has one to keep stores it itself.
        rounds: how many times are returned for every call, at least 1.
        warm: rounds before those, whose times are dropped: a first run may compile.
        clock: seconds now: `time.process_time`, that of this process on all its threads, without what others do
            meanwhile, or `time.perf_counter`, that on the wall, for calls with more than one thread.
        generator: draws another order of the calls for every round, where one changes what the next finds in the cache;
            without it, the order is that of ``calls``.

    Returns:
        name -> ``rounds`` times, in the order of the rounds: the i-th times of two calls are neighbours.

    >>> from statistics import median
    >>> seconds = alternating({"sum": lambda: sum(range(10_000)), "nothing": lambda: None}, rounds=9, warm=1)
    >>> len(seconds["sum"]), median(seconds["sum"]) > median(seconds["nothing"])
    (9, True)
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, not {rounds}")
    if warm < 0:
        raise ValueError(f"warm must be at least 0, not {warm}")
    seconds: dict[Name, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for i in range(warm + rounds):
        for name in generator.sample(names, len(names)) if generator else names:
            call = calls[name]
            begin = clock()
            call()
            passed = clock() - begin
            if i >= warm:
                seconds[name].append(passed)
    return seconds
