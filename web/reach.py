"""Whose jobs a user may change: patterns of names of queues, and the one judgement that each change asks for. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from jobd.client.entry import JobEntry
from jobd.client.errors import ConfigError
from jobd.client.queues import QueueEntry
from jobd.web.patterns import ANY, fits


@dataclass(frozen=True, slots=True)
class Reach:
    """The queues in which a user may change something, by `patterns` of their names; None is everything.

    In a pattern `*` stands for any characters, or none; all others are themselves, and the whole name must fit.
    """

    patterns: tuple[str, ...] | None = None

    @classmethod
    def of(cls, patterns: Iterable[str] | None) -> Reach:
        """Those of these patterns: everything with `*`, nothing without any. Raises `ConfigError`."""
        given = (patterns,) if isinstance(patterns, str) else tuple(patterns or ())
        if wrong := [each for each in given if not isinstance(each, str) or not each]:
            raise ConfigError(f"queues: {wrong[0]!r} is no pattern; give names such as mail, or mail:*")
        return cls() if ANY in given else cls(tuple(dict.fromkeys(given)))

    @property
    def limited(self) -> bool:
        """Whether there is something that is out of reach."""
        return self.patterns is not None

    @property
    def shown(self) -> str:
        """The patterns for people; empty for everything."""
        return "" if self.patterns is None else ", ".join(self.patterns) or "–"

    def takes(self, *names: str) -> bool:
        """Whether what is of all these queues is within reach; what is of none, or of one without a name, rarely is."""
        if self.patterns is None:
            return True
        return bool(names) and all(
            name and any(fits(name, each.split(ANY)) for each in self.patterns) for name in names
        )

    def takes_job(self, entry: JobEntry) -> bool:
        """The same of a job."""
        return self.patterns is None or self.takes(*queues_of(entry))


NOWHERE = Reach(())


def queues_of(entry: JobEntry) -> tuple[str, ...]:
    """The queues that a job is of: the one that it names, "" for none, and the one in which it waits."""
    named = entry.payload.get("queue")
    name = named if isinstance(named, str) else ""
    return (name, entry.owner.name) if isinstance(entry, QueueEntry) else (name,)


def audited(chosen: str, reach: Reach) -> str:
    """What was chosen of a list, as the activity tells it: of which queues alone it was taken."""
    return f"{chosen}, of {reach.shown}" if reach.limited else chosen
