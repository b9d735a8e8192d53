"""Takes the samples of a measure: its cases in turn, round by round, and again those that somebody disturbed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from bench.load import DISTURBED
from bench.results import Cases, Figures, Found


def say(text: str) -> None:
    """Tell whoever waits."""
    print(text, file=sys.stderr, flush=True)


def run(cases: Cases, rounds: int, repeats: int) -> dict[str, Found]:
    """A B C, A B C, …; a case that fails is left out of the later rounds."""
    found = {label: Found() for label in cases}
    for number in range(1, rounds + 1):
        for label, take in cases.items():
            if not found[label].failure:
                _sample(found[label], take, repeats)
                say(f"  {number}/{rounds} {label}: {found[label].failure or _line(found[label])}")
    return found


def _sample(found: Found, take: Callable[[], Figures], repeats: int) -> None:
    """The first undisturbed sample, else the least disturbed one of all."""
    taken: list[Figures] = []
    while len(taken) <= repeats:
        try:
            taken.append(take())
        except Exception as error:  # the other systems are measured all the same
            found.failure = f"{type(error).__name__}: {error}"
            return
        if taken[-1].get("others", 0.0) <= DISTURBED:
            break
        if len(taken) <= repeats:
            pause(len(taken))
    found.samples.append(min(taken, key=lambda sample: sample.get("others", 0.0)))
    found.repeated += len(taken) - 1


def pause(taken: int) -> None:
    """Whoever disturbs may be done after a while: 2, 4, 8, 10, … seconds."""
    time.sleep(min(2.0**taken, 10.0))


def _line(found: Found) -> str:
    figures = found.samples[-1]
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
