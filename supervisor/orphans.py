"""Names under which dead children may hold jobs, and which living child was told to give those back.

A record that is empty by now is no harm: its recovery finds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from jobd.supervisor.crew import Child
from jobd.worker import log
from jobd.worker.recovery import Orphan


class Orphans:
    """Those of one master, until each is settled."""

    def __init__(self) -> None:
        self._orphans: dict[str, Orphan] = {}
        self._told: dict[str, Child] = {}

    def __len__(self) -> int:
        return len(self._orphans)

    def add(self, orphans: Iterable[Orphan]) -> None:
        """Note names whose process has ended."""
        self._orphans |= {orphan.owner: orphan for orphan in orphans}

    def unclaimed(self) -> list[Orphan]:
        """Those that nobody was told of."""
        return [orphan for owner, orphan in self._orphans.items() if owner not in self._told]

    def claim(self, orphans: Sequence[Orphan], child: Child) -> None:
        """Note that `child` was told of these."""
        self._told |= {orphan.owner: child for orphan in orphans}

    def hand_over(self, siblings: Iterable[Child]) -> None:
        """Tell the first of these living children of all that nobody was told of yet."""
        found = self.unclaimed()
        sibling = next(iter(siblings), None) if found else None
        if sibling is None:
            return
        told = [orphan for orphan in found if sibling.channel.send(do="recover", orphan=orphan.as_json())]
        self.claim(told, sibling)
        log.event("orphans.handed_over", owners=len(told), child=sibling.pid)

    def settle(self, owners: Iterable[str]) -> None:
        """Their jobs are given back."""
        for owner in owners:
            self._orphans.pop(owner, None)
            self._told.pop(owner, None)

    def settle_all_of(self, child: Child) -> None:
        """All that `child` was told at its birth is given back, since it is ready."""
        self.settle([owner for owner, told in self._told.items() if told is child])

    def teller_ended(self, child: Child) -> None:
        """What `child` was told is to be told to another one, for it has ended."""
        self._told = {owner: told for owner, told in self._told.items() if told is not child}
