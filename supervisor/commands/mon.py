"""`jobd mon`: the cluster on one screen, once or again and again."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from jobd.client.errors import RedisRefused, RedisUnavailable
from jobd.client.version import VERSION
from jobd.supervisor.commands.address import Address, redis_options
from jobd.supervisor.commands.output import Style, emit, emit_json, json_option
from jobd.supervisor.status_text import printable

if TYPE_CHECKING:
    from jobd.client.processes import Process
    from jobd.client.push import Client
    from jobd.client.stats import Stats

SECTIONS = ("version", "overview", "processes", "queues")
_ENTER, _LEAVE = "\033[?1049h\033[?25l", "\033[?25h\033[?1049l"
"""To the terminal's second screen without its cursor, and back."""
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\033[H", "\033[K", "\033[J"


@click.command()
@click.argument("section", type=click.Choice(["all", *SECTIONS]), default="all", metavar="[SECTION]")
@click.option(
    "--watch",
    type=click.FloatRange(0.1, 3600),
    is_flag=False,
    flag_value=2.0,
    metavar="[SECONDS]",
    help="Look again every SECONDS until Ctrl-C. [2]",
)
@json_option
@redis_options
def mon(section: str, watch: float | None, as_json: bool, address: Address) -> None:
    """Show what the cluster does: version, overview, processes and queues, or one of these.

    \b
    jobd mon
    jobd mon queues
    jobd mon --watch
    jobd mon --watch 0.5 -C config.yml
    """
    wanted = SECTIONS if section == "all" else (section,)
    if watch is not None and (as_json or not sys.stdout.isatty()):
        problem = "--json is printed once" if as_json else "standard output is no terminal"
        raise click.UsageError(
            f"--watch refreshes a terminal, and {problem}; leave it out", click.get_current_context()
        )
    with address.client() as client:
        if watch is not None:
            _watch(client, wanted, watch)
        elif as_json:
            emit_json(Snapshot.read(client, wanted).document(wanted))
        else:
            emit(Snapshot.read(client, wanted).text(wanted, Style.of(sys.stdout)))


@dataclass(frozen=True)
class Snapshot:
    """What the sections show, read at `now` (epoch seconds by the server's clock); what is not wanted is None."""

    now: float
    server: str
    address: str
    stats: Stats | None
    processes: list[Process] | None

    @classmethod
    def read(cls, client: Client, wanted: tuple[str, ...]) -> Snapshot:
        """Ask Redis. Raises RedisUnavailable."""
        from jobd.client.access import Access
        from jobd.client.processes import ProcessSet
        from jobd.client.server import read_facts
        from jobd.client.stats import Stats

        access = Access(client)
        facts = access.read(read_facts)
        return cls(
            time.time() + facts.skew,
            f"{facts.name} {facts.version}",
            client.connector.address.shown,
            Stats(client) if {"overview", "queues"} & set(wanted) else None,
            list(ProcessSet(client)) if "processes" in wanted else None,
        )

    def document(self, wanted: tuple[str, ...]) -> dict[str, Any]:
        """For programs."""
        from jobd.supervisor.commands.cluster_views import process_document, totals_document

        found: dict[str, Any] = {"now": self.now}
        if "version" in wanted:
            found |= {"version": VERSION, "server": self.server, "redis_url": self.address}
        if self.stats is not None:
            totals = totals_document(self.stats)
            queues = totals.pop("queues")
            found |= {"overview": totals} if "overview" in wanted else {}
            found |= {"queues": queues} if "queues" in wanted else {}
        if self.processes is not None:
            found["processes"] = [process_document(process) for process in self.processes]
        return found

    def text(self, wanted: tuple[str, ...], style: Style, before: Snapshot | None = None) -> str:
        """For people, with rates when it was read `before`."""
        parts = {
            "version": self._version,
            "overview": lambda style: self._overview(style, before),
            "processes": self._processes,
            "queues": self._queues,
        }
        return "\n\n".join(parts[name](style) for name in wanted)

    def _version(self, style: Style) -> str:
        moment = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.now))
        return style.bold(f"jobd {VERSION}") + printable(f", {self.server} at {self.address}, {moment}")

    def _overview(self, style: Style, before: Snapshot | None) -> str:
        from jobd.supervisor.commands.cluster_views import totals

        assert self.stats
        return f"{style.bold('Overview')}\n{totals(self.stats, self._rates(before))}"

    def _rates(self, before: Snapshot | None) -> dict[str, float] | None:
        if before is None or before.stats is None or self.stats is None or self.now <= before.now:
            return None
        seconds = self.now - before.now
        names = ("processed", "failed")
        # Somebody may have set the counters back.
        return {name: max(getattr(self.stats, name) - getattr(before.stats, name), 0) / seconds for name in names}

    def _processes(self, style: Style) -> str:
        from jobd.supervisor.commands.cluster_views import process_table

        assert self.processes is not None
        busy, threads = (sum(getattr(each, name) for each in self.processes) for name in ("busy", "concurrency"))
        title = style.bold(f"Processes ({len(self.processes)}, {busy} of {threads} threads busy)")
        return f"{title}\n{process_table(self.processes, self.now, style)}"

    def _queues(self, style: Style) -> str:
        from jobd.supervisor.commands.cluster_views import queue_table

        assert self.stats
        title = style.bold(f"Queues ({len(self.stats.queues)})")
        return f"{title}\n{queue_table(self.stats.queues, {}, self.now, style)}"


def _watch(client: Client, wanted: tuple[str, ...], pause: float) -> None:
    """Until Ctrl-C or TERM. While Redis is away it says so, and goes on."""
    style, before = Style.of(sys.stdout), None
    before_watching = signal.signal(signal.SIGTERM, signal.default_int_handler)  # the terminal is to be put right
    sys.stdout.write(_ENTER)
    try:
        while True:
            try:
                found = Snapshot.read(client, wanted)
                text, before = found.text(wanted, style, before), found
            except (RedisUnavailable, RedisRefused) as error:
                text, before = style.warning(printable(str(error))), None
            draw(text, sys.stdout.write)
            sys.stdout.flush()
            time.sleep(pause)
    except KeyboardInterrupt:
        return
    finally:
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()
        signal.signal(signal.SIGTERM, before_watching)


def draw(text: str, write: Callable[[str], object]) -> None:
    """Put `text` in the place of what the terminal shows, without a moment of emptiness; what does not fit is cut."""
    columns, rows = shutil.get_terminal_size()
    lines = [clip(line, columns) for line in text.split("\n")[:rows]]
    write(_HOME + "\r\n".join(line + _REST_OF_LINE for line in lines) + _REST_OF_SCREEN)


def clip(line: str, columns: int) -> str:
    """At most `columns` visible characters of a line in which codes for colours may stand."""
    shown, visible, inside = "", 0, False
    for char in line:
        if char == "\033":
            inside = True
        elif not inside:
            if visible == columns:
                continue
            visible += 1
        shown += char
        inside = inside and char != "m"
    return shown
