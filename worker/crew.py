"""The threads of one capsule: as many as are wanted, which may be changed while they run.

Threads that are too many end when they have nothing to do, or after their job; none is interrupted. How a thread gets
its jobs is in `fetcher.py`, what it does with them in `processor.py`. Who asks for another number is up to the process.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from jobd.worker.processor import Processor


@dataclass(frozen=True, slots=True)
class Staff:
    """The threads of a process for its heartbeat.

    `concurrency` tells those of capsules [as configured]; `resize` hears of a wish for others, for which there is
    `room` in all [0: it takes none].
    """

    concurrency: Callable[[], Mapping[str, int]] = dict
    resize: Callable[[int, str], object] = lambda threads, capsule: False
    room: int = 0


class Crew:
    """Started and changed by one thread at a time; anybody may look at `processors`."""

    def __init__(self, threads: int, make: Callable[[int, int], Processor], numbers: Iterator[int]) -> None:
        """`make` makes a thread with a number within the process, of `numbers`, and its place within the capsule."""
        self._make, self._places = make, itertools.count(1)
        self.processors: tuple[Processor, ...] = tuple(self._made(numbers, threads))
        self.wanted = threads

    def start(self) -> None:
        """Have its threads take jobs."""
        for processor in self.processors:
            processor.start()

    def resize(self, threads: int, numbers: Iterator[int]) -> None:
        """Have so many threads; those that are missing get `numbers`.

        Raises RuntimeError when the system gives no more threads, or there are too few numbers as those that were to
        be kept are just ending; `wanted` is how many there are then.
        """
        working = [each for each in self.processors if each.is_alive and not each.is_leaving]
        # Those without a job first: they end at once.
        idle_first = sorted(working, key=lambda each: each.in_progress is not None)
        for processor in idle_first[: max(len(working) - threads, 0)]:
            processor.dismiss()
        self.wanted = min(len(working), threads)
        leaving = [each for each in self.processors if each.is_leaving]
        while leaving and self.wanted < threads:
            self.wanted += leaving.pop().keep()
        self.processors = tuple(each for each in self.processors if each.is_alive)
        for processor in self._made(numbers, threads - self.wanted):
            processor.start()
            self.processors = (*self.processors, processor)
            self.wanted += 1

    def _made(self, numbers: Iterator[int], count: int) -> Iterator[Processor]:
        for _ in range(count):
            if (number := next(numbers, None)) is None:
                raise RuntimeError("threads that are just ending have the last places; ask again")
            yield self._make(number, next(self._places))
