"""Takes the samples of a measure: its cases in turn, round by round, and again those that somebody disturbed."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.load import DISTURBED
from bench.results import Cases, Figures, Found


def say(text: str) -> None:
    """Tell whoever waits."""
    print(text, file=sys.stderr, flush=True)


@dataclass
class Repeats:
    """How often a disturbed sample is taken again, and how many seconds a whole run has for that."""

    most: int
    seconds: float = math.inf

    def allow(self, taken: int) -> bool:
        """Whether one of which so many samples were taken may be taken again."""
        return taken <= self.most and self.seconds > 0


def run(cases: Cases, rounds: int, repeats: Repeats, once_from: float = math.inf) -> dict[str, Found]:
    """A B C, A B C, …; a case that fails, or takes `once_from` seconds, is left out of the later rounds."""
    found = {label: Found() for label in cases}
    left = list(cases)
    for number in range(1, rounds + 1):
        for label in tuple(left):
            seconds = _sample(found[label], cases[label], repeats)
            if found[label].failure or seconds >= once_from:
                left.remove(label)
            say(f"  {number}/{rounds} {label}: {found[label].failure or _line(found[label])}")
    return found


def _sample(found: Found, take: Callable[[], Figures], repeats: Repeats) -> float:
    """The first undisturbed sample, else the least disturbed one of all; returns how long the last one took."""
    taken: list[Figures] = []
    while True:
        started = time.monotonic()
        try:
            taken.append(take())
        except Exception as error:  # the other systems are measured all the same
            found.failure = f"{type(error).__name__}: {error}"
            return 0.0
        seconds = time.monotonic() - started
        repeats.seconds -= seconds if len(taken) > 1 else 0.0
        if taken[-1].get("others", 0.0) <= DISTURBED or not repeats.allow(len(taken)):
            break
        repeats.seconds -= pause(len(taken))
    found.samples.append(min(taken, key=lambda sample: sample.get("others", 0.0)))
    found.repeated += len(taken) - 1
    return seconds


def pause(taken: int) -> float:
    """Whoever disturbs may be done after a while: 2, 4, 8, 10, … seconds, which are returned."""
    seconds = min(2.0**taken, 10.0)
    time.sleep(seconds)
    return seconds


def _line(found: Found) -> str:
    figures = found.samples[-1]
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
