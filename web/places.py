"""Where jobs are that can be listed: the three sets and the queues, for searches, exports and changes of many alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from jobd.client import bulk, defaults, moves, scripts
from jobd.client.access import Access
from jobd.client.bulk import BulkResult
from jobd.client.cursor import Cursor
from jobd.client.entry import JobEntry
from jobd.client.push import Client
from jobd.client.queues import Queue, QueueEntry
from jobd.client.scripts import DeadLimits
from jobd.client.sets import DeadSet, JobSet, RetrySet, ScheduledSet, SetEntry
from jobd.web.filters import Filter, Subject
from jobd.web.masking import Masker
from jobd.web.reach import Reach

Kind: TypeAlias = Literal["retries", "scheduled", "dead"]

ACTIONS: dict[Kind, tuple[str, ...]] = {
    "retries": ("retry", "reschedule", "kill", "delete"),
    "scheduled": ("enqueue", "reschedule", "kill", "delete"),
    "dead": ("retry", "delete"),
}
QUEUE_ACTIONS = ("delete", "front", "move", "copy")
RIGHTS = {"front": "move", "copy": "enqueue"}
"""What a user must be allowed to do for an action that has no right of its own name."""
TITLES: dict[Kind, str] = {"retries": "Retries", "scheduled": "Scheduled", "dead": "Dead"}
STATES: dict[Kind, str] = {"retries": "retry", "scheduled": "scheduled", "dead": "dead"}


def set_of(kind: Kind, client: Client) -> JobSet:
    """The set of this name."""
    kinds: dict[Kind, type[JobSet]] = {"retries": RetrySet, "scheduled": ScheduledSet, "dead": DeadSet}
    return kinds[kind](client)


@dataclass(frozen=True, slots=True)
class SetPlace:
    """One of the sets."""

    kind: Kind
    owner: JobSet
    portion: int = 200
    """Entries that are changed at once: Redis takes about two milliseconds for them."""
    together: int = 1
    """Pages whose entries are gathered until there are so many."""

    @property
    def name(self) -> str:
        """What a user types to confirm that all of it is meant."""
        return TITLES[self.kind].lower()

    @property
    def access(self) -> Access:
        """Its Redis."""
        return self.owner.access

    def size(self) -> int:
        """How many entries it has; 0 when it is no sorted set."""
        return self.access.read_all(lambda pipeline: pipeline.zcard(self.owner.key))[0] or 0

    def subject(self, entry: JobEntry, masker: Masker, now: float) -> Subject:
        """An entry, as filters look at it."""
        assert isinstance(entry, SetEntry)
        return Subject(entry, masker, STATES[self.kind], entry.score, self.owner.entered(entry), now)

    def entered(self, entry: JobEntry) -> float | None:
        """When an entry came into the set, as far as that can be told, in epoch seconds."""
        assert isinstance(entry, SetEntry)
        return self.owner.entered(entry)

    def pages(self) -> Iterator[list[SetEntry]]:
        """All entries by pages of 1,000, from the earliest on; each that stays comes once."""
        for page in Cursor(self.access, self.owner.key).pages(defaults.API_PAGE):
            yield self.owner.entries(page)

    def change(
        self, action: str, limits: DeadLimits | None, at: float | None, to: str = ""
    ) -> Callable[[Sequence[Any]], BulkResult]:
        """What carries out an action on up to 300 entries at once."""
        owner = self.owner
        match action:
            case "retry":
                return lambda page: bulk.requeue_page(owner, page, moves.as_retried)
            case "enqueue":
                return lambda page: bulk.requeue_page(owner, page, moves.as_added)
            case "kill" if limits is not None:
                return lambda page: bulk.kill_page(owner, page, limits)
            case "reschedule" if at is not None:
                return lambda page: bulk.reschedule_page(owner, page, at)
            case "delete":
                return lambda page: bulk.delete_page(owner, page)
        raise AssertionError(action)


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """A queue."""

    owner: Queue
    portion: int = defaults.API_STRIKES
    together: int = 5

    @property
    def name(self) -> str:
        """As for a set."""
        return scripts.raw_bytes(self.owner.name).decode("utf-8", "replace")

    @property
    def access(self) -> Access:
        """Its Redis."""
        return self.owner.access

    def size(self) -> int:
        """How many jobs wait; 0 when it is no list."""
        return self.access.read_all(lambda pipeline: pipeline.llen(self.owner.key))[0] or 0

    def subject(self, entry: JobEntry, masker: Masker, now: float) -> Subject:
        """A job, as filters look at it."""
        since = entry.waits_since
        return Subject(entry, masker, "enqueued", since, since, now)

    def entered(self, entry: JobEntry) -> float | None:
        """When a job came into the queue, as far as that can be told, in epoch seconds."""
        return entry.waits_since

    def pages(self) -> Iterator[list[QueueEntry]]:
        """All jobs by pages of 1,000, the next to be taken first."""
        return self.owner.pages()

    def change(
        self, action: str, limits: DeadLimits | None, at: float | None, to: str = ""
    ) -> Callable[[Sequence[Any]], BulkResult]:
        """What carries out an action on jobs of one page at once."""
        match action:
            case "delete":
                return self.owner.delete_all
            case "front":
                return self.owner.move_to_front
            case "move":
                return lambda page: self.owner.move_all(page, to)
            case "copy":
                return self.owner.copy_all
        raise AssertionError(action)


Place: TypeAlias = SetPlace | QueuePlace


def matching(
    place: Place, wanted: Filter, masker: Masker, until: float, reach: Reach
) -> Iterator[tuple[list[JobEntry], int]]:
    """All entries within reach that pass a filter and were there at `until` (the server's clock).

    For each page that is looked at: those of it, and how many it held. A queue ends where it did at the beginning,
    since pushes could otherwise go on ahead for ever.
    """
    begun, seen, size = place.access.now(), 0, place.size()
    for page in place.pages():
        meant = (entry for entry in page if _is_meant(place, entry, wanted, masker, until, begun))
        yield [entry for entry in meant if reach.takes_job(entry)], len(page)
        seen += len(page)
        if isinstance(place, QueuePlace) and seen >= size:
            return


def _is_meant(place: Place, entry: JobEntry, wanted: Filter, masker: Masker, until: float, begun: float) -> bool:
    if not wanted.may_pass(entry.raw):
        return False
    entered = place.entered(entry)
    # What a change of many puts into a queue bears a time from then on, and may come back while that still goes on.
    if isinstance(place, SetPlace) and (enqueued_at := entry.enqueued_at) is not None and enqueued_at >= begun:
        return False
    if entered is not None and entered > until:
        return False
    return not wanted or wanted.passes(place.subject(entry, masker, begun))
