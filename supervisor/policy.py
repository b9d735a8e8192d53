"""What the master decides, as functions of what it knows: when to start, kill, replace or give up. Nothing acts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

HEALTHY_AFTER = 60.0
"""Seconds after which a child's death no longer counts as one of a series."""
FIRST_DELAY, MAX_DELAY = 0.5, 30.0
JITTER = 0.25
"""Part by which a pause is made longer or shorter, so that the slots of many servers do not start in step."""
MAX_JOBS_SPREAD = 0.1
"""Part of `max_jobs` that is added at random, so that not all children are due at once."""
OVERSLEPT = 5.0
"""A turn of the main loop that took more seconds shows that the master itself was stopped."""

Life = Literal["fine", "silent", "hung"]


def restart_delay(failures: int, chance: float) -> float:
    """Seconds before a child is started again after so many deaths in a row; `chance` is from 0 up to 1.

    The first death costs no pause: most are alone.
    """
    if failures == 0:
        return 0.0
    return min(FIRST_DELAY * 2.0 ** (failures - 1), MAX_DELAY) * (1 - JITTER + 2 * JITTER * chance)


def failures_after(failures: int, lived: float) -> int:
    """How long a series of deaths is after one more, of a child that lived for so many seconds."""
    return 1 if lived >= HEALTHY_AFTER else failures + 1


def gives_up(ever_ready: bool, failed_boots: Iterable[int]) -> bool:
    """Whether a start is hopeless: no child has ever been ready, and in each slot at least one has failed."""
    return not ever_ready and all(count > 0 for count in failed_boots)


def job_limit(max_jobs: int | None, chance: float) -> int | None:
    """After how many jobs one child is replaced; `chance` is from 0 up to 1."""
    return None if max_jobs is None else max_jobs + int(max_jobs * MAX_JOBS_SPREAD * chance)


def life_of(silence: float, hang_timeout: float) -> Life:
    """What to think of a child that has given no sign of life for so many seconds."""
    if silence >= hang_timeout:
        return "hung"
    return "silent" if silence >= hang_timeout / 2 else "fine"


def was_asleep(turn: float, hang_timeout: float) -> bool:
    """Whether a turn of the main loop of so many seconds means that the master can judge nobody now."""
    return turn > min(OVERSLEPT, hang_timeout / 2)
