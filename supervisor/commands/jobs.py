"""`jobd jobs`: lists the jobs of a queue or of a set, or does something with those that match."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import click

from jobd.supervisor import exits
from jobd.supervisor.commands.address import Address, redis_options
from jobd.supervisor.commands.confirm import confirm, yes_option
from jobd.supervisor.commands.output import Style, emit, emit_json, json_option, plural, table
from jobd.supervisor.status_text import printable

if TYPE_CHECKING:
    from jobd.client.bulk import BulkResult
    from jobd.client.push import Client
    from jobd.client.queues import Queue, QueueEntry
    from jobd.client.sets import JobSet, SetEntry
    from jobd.supervisor.commands.job_views import Where

LISTED = 25
"""Jobs that are listed unless `--limit` is given."""
Action = Literal["retry", "delete", "kill"]
_DONE = {"retry": "put into their queues:", "delete": "deleted", "kill": "moved to the dead set:"}


@click.command()
@click.argument(
    "where", type=click.Choice(["retry", "dead", "scheduled", "queue"]), metavar="retry|dead|scheduled|queue"
)
@click.argument("name", required=False, metavar="[QUEUE]")
@click.option(
    "--grep", metavar="TEXT", help="Only jobs whose payload holds TEXT: a class, an id, an argument, an error."
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help=f"Not more than N. [{LISTED}; no limit to act on]")
@click.option("--retry", "action", flag_value="retry", help="Put them into their queues now.")
@click.option("--delete", "action", flag_value="delete", help="Delete them for good, after a question.")
@click.option("--kill", "action", flag_value="kill", help="Move them to the dead set, after a question.")
@yes_option
@json_option
@redis_options
def jobs(
    where: Where,
    name: str | None,
    grep: str | None,
    limit: int | None,
    action: Action | None,
    yes: bool,
    as_json: bool,
    address: Address,
) -> None:
    """List jobs, or retry, delete or kill those that match.

    \b
    jobd jobs retry                              what failed and when it runs again
    jobd jobs dead --grep Timeout --retry        run those once more
    jobd jobs queue low --limit 100 --json
    jobd jobs scheduled --grep SendNewsletter --delete
    """
    _check(where, name, grep, action)
    with address.client() as client:
        selection = Selection.of(client, where, name, grep, limit)
        if action is None:
            _list(selection, as_json)
        else:
            _act(selection, client, action, yes=yes, as_json=as_json)


def _check(where: Where, name: str | None, grep: str | None, action: Action | None) -> None:
    problem = None
    if (where == "queue") != (name is not None):
        problem = "queue takes the name of one" if name is None else f"{where} takes no name, and got {name!r}"
    elif grep == "":
        problem = "--grep is empty, which every job matches; leave it out if all are meant"
    elif where == "queue" and action == "retry":
        problem = "what is in a queue runs anyhow; --retry is for retry, dead and scheduled"
    elif where == "dead" and action == "kill":
        problem = "what is in the dead set is killed already"
    if problem:
        raise click.UsageError(problem, click.get_current_context())


@dataclass(frozen=True)
class Selection:
    """Jobs of a place: all, or those whose payload holds `text`, and not more than `limit` of them."""

    where: Where
    place: JobSet | Queue
    text: str | None
    limit: int | None

    @classmethod
    def of(cls, client: Client, where: Where, name: str | None, text: str | None, limit: int | None) -> Selection:
        """What the command line asks for."""
        from jobd.client.queues import Queue
        from jobd.client.sets import DeadSet, RetrySet, ScheduledSet

        if where == "queue":
            return cls(where, Queue(name or "", client), text, limit)
        kinds: dict[str, type[JobSet]] = {"retry": RetrySet, "dead": DeadSet, "scheduled": ScheduledSet}
        return cls(where, kinds[where](client), text, limit)

    @property
    def title(self) -> str:
        """The place in words."""
        from jobd.client.queues import Queue

        name = f"the queue {self.place.name}" if isinstance(self.place, Queue) else f"the {self.where} set"
        return name if self.text is None else f"{name} that hold {self.text!r}"

    def entries(self, limit: int | None) -> Iterator[Any]:
        """At most `limit` of the jobs; of the dead set the latest first, else the next to run."""
        from jobd.client.sets import DeadSet

        if self.text is not None:
            found: Iterator[Any] = self.place.scan(self.text)
        elif isinstance(self.place, DeadSet):
            found = reversed(self.place)
        else:
            found = iter(self.place)
        return islice(found, limit)

    def first(self, limit: int) -> list[SetEntry | QueueEntry]:
        """At most `limit` of the jobs, in order even where a search has found them in none."""
        from jobd.client.queues import Queue
        from jobd.client.sets import DeadSet

        found = list(self.entries(limit))
        if not isinstance(self.place, Queue):
            found.sort(key=lambda entry: entry.score, reverse=isinstance(self.place, DeadSet))
        return found

    def count(self) -> int:
        """How many jobs are meant now."""
        if self.text is None:
            size = self.place.size
            return size if self.limit is None else min(size, self.limit)
        return sum(1 for _ in self.entries(self.limit))


def _list(selection: Selection, as_json: bool) -> None:
    from jobd.supervisor.commands.job_views import HEADINGS, document, row

    limit, where = selection.limit or LISTED, selection.where
    found = selection.first(limit)
    size = selection.place.size
    if as_json:
        emit_json({"size": size, "jobs": [document(entry) for entry in found]})
        return
    now = selection.place.access.server_now()
    if found:
        rows = [row(where, entry, now) for entry in found]
        emit(table(HEADINGS[where], rows, Style.of(sys.stdout), right=("failures", "waits")))
    shown = f"{len(found):,} of {plural(size, 'job')} in {selection.title}"
    exits.complain(printable(shown + ("; --limit shows more" if len(found) == limit < size else "")))


def _act(selection: Selection, client: Client, action: Action, *, yes: bool, as_json: bool) -> None:
    count = selection.count()
    what = f"{plural(count, 'job')} in {selection.title}"
    if not count:
        exits.complain(printable(f"no job in {selection.title}"))
    elif action == "retry":
        exits.complain(printable(f"retrying {what}"))
    else:
        confirm(printable(f"{action.capitalize()} {what}?{_cost(client, action, count)}"), yes=yes)
    result = _recorded(selection, action, count)
    if as_json:
        emit_json({"action": action, "matched": count, **asdict(result)})
    else:
        emit(describe(action, result))


def _cost(client: Client, action: Action, count: int) -> str:
    """What a kill would drop from the dead set."""
    from jobd.client.sets import DeadSet

    if action != "kill":
        return " They are gone for good then."
    room = DeadSet(client).room()
    dropped = room.would_drop(count)
    if not dropped:
        return ""
    return (
        f" The dead set keeps {room.max_jobs:,} and has room for {room.free:,}: its oldest {dropped:,} will be dropped."
    )


def _recorded(selection: Selection, action: Action, count: int) -> BulkResult:
    """Carry it out, and leave a record of that."""
    from jobd.client import audit
    from jobd.client.bulk import BulkResult
    from jobd.client.queues import Queue

    if not count:
        return BulkResult()
    limited = "" if selection.limit is None else f"the first {selection.limit:,}"
    meant = ", ".join(filter(None, (selection.text, limited))) or "all"
    name = selection.place.name if isinstance(selection.place, Queue) else ""
    page = f"jobs {selection.where}"
    with audit.of_command(selection.place.access, action, page, target=name, selection=meant) as counted:
        result = _carry_out(selection, action, count)
        counted({each: getattr(result, each) for each in ("moved", "gone", "malformed", "dropped")})
    return result


def _carry_out(selection: Selection, action: Action, count: int) -> BulkResult:
    from jobd.client.queues import Queue
    from jobd.client.sets import DeadSet, RetrySet, ScheduledSet

    place = selection.place
    if isinstance(place, Queue):
        return _from_queue(selection, place, action, count)
    only = (
        None if selection.limit is None else [(entry.score, entry.jid) for entry in selection.entries(selection.limit)]
    )
    text = selection.text if only is None else None
    match place:
        case RetrySet() | ScheduledSet() if action == "kill":
            return place.kill_all(text=text, only=only, drop=True)
        case RetrySet() | DeadSet() if action == "retry":
            return place.retry_all(text=text, only=only)
        case ScheduledSet() if action == "retry":
            return place.add_all_to_queue(text=text, only=only)
        case _:
            return place.delete_all(text=text, only=only)


def _from_queue(selection: Selection, queue: Queue, action: Action, count: int) -> BulkResult:
    """One job after the other, since a queue has no other way; all of them at once if they are to be deleted."""
    from jobd.client.bulk import BulkResult
    from jobd.client.sets import DeadSet

    if action == "delete" and selection.text is None and selection.limit is None:
        return BulkResult(queue.clear())
    limits = DeadSet(queue.access.client).limits()
    moved = gone = dropped = 0
    for entry in selection.entries(count):
        if action == "delete":
            done = entry.delete()
        else:
            killed = entry.kill(limits)
            done, dropped = bool(killed), dropped + killed.dropped
        moved, gone = moved + done, gone + (not done)
    return BulkResult(moved, gone, dropped=dropped)


def describe(action: Action, result: BulkResult) -> str:
    """What came of it, in words."""
    parts = [f"{_DONE[action]} {plural(result.moved, 'job')}"]
    if result.gone:
        parts.append(f"{result.gone:,} gone by then")
    if result.malformed:
        parts.append(f"{result.malformed:,} left, which are no jobs: --kill or --delete them")
    if result.dropped:
        parts.append(f"the dead set dropped its oldest {result.dropped:,}")
    if result.note:
        parts.append(result.note.rstrip("; "))
    return printable("; ".join(parts))
