"""What may be asked of a running master, by a signal or through the control socket, but for the stop.

Each order is begun at once; whether it is done by now is looked at in each turn of the main loop.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from jobd.client.errors import JobdError
from jobd.supervisor.config import Config
from jobd.supervisor.crew import Crew
from jobd.supervisor.notify import Notifier
from jobd.supervisor.reload import Change, plan
from jobd.supervisor.report import Report
from jobd.supervisor.request import Promises, Refused, Request
from jobd.supervisor.turnover import Turnover
from jobd.worker import log

if TYPE_CHECKING:  # it needs megabytes, and not every master has it
    from jobd.supervisor.metrics import Metrics

_LOG_KEYS = {"logformat", "log_level"}


class Orders:
    """Carries out orders on one crew."""

    def __init__(
        self,
        crew: Crew,
        turnover: Turnover,
        report: Report,
        notifier: Notifier,
        read_config: Callable[[], Config],
    ) -> None:
        """`read_config` reads the configuration anew; it raises JobdError."""
        self._crew, self._turnover, self._report = crew, turnover, report
        self._notifier, self._read_config = notifier, read_config
        self.figures: Metrics | None = None
        self.promises = Promises()

    def carry_out(self, name: str, count: int | None) -> Request:
        """Begin the order of this name. Raises Refused."""
        match name:
            case "quiet":
                return self.quiet()
            case "resume":
                return self.resume()
            case "restart":
                return self.restart()
            case "reload":
                return self.reload()
            case "scale" if count:
                return self.scale(count)
            case _:
                raise Refused(f"jobd cannot do {name!r}")

    def quiet(self) -> Request:
        """Take no more jobs."""
        if not self._crew.quiet:
            self._crew.quiet = True
            log.event("master.quiet", hint="no new jobs; kill -STOP suspends instead")
            self._crew.tell(do="quiet")
        return self.promises.make("quiet: no more jobs are taken", self._is_idle, "quiet, and no job runs any more")

    def resume(self) -> Request:
        """Take jobs again, in all processes."""
        self._crew.quiet = False
        log.event("master.resumed")
        self._crew.tell((child for child in self._crew if not child.asked), do="resume")
        return self.promises.make("jobs are taken again", self._all_take_jobs, "all processes take jobs")

    def scale(self, count: int) -> Request:
        """Have `count` processes from now on."""
        before = len(self._crew.slots)
        self._crew.resize(count)
        log.event("master.scaled", before=before, processes=count)
        text = f"{count} worker processes instead of {before}"
        return self.promises.make(text, lambda: self._crew.is_complete, f"{count} worker processes are ready")

    def restart(self) -> Request:
        """Replace all processes by new ones, which import the application anew. Raises Refused."""
        if self._crew.config.preload:
            raise Refused(
                "with preload: true the master holds the code, and new processes would run the old one; "
                "stop jobd and start it again"
            )
        return self._turnover.restart()

    def reload(self) -> Request:
        """Read the configuration anew and do what follows from it; a wrong one changes nothing."""
        self._notifier.reloading()
        self.reopen_logs()
        try:
            change = plan(self._crew.config, self._read_config())
            if not _LOG_KEYS.isdisjoint(change.rolling):
                log.install(change.config.logformat, change.config.log_level, change.config.logfile)
        except JobdError as error:
            log.event("config.refused", level=log.ERROR, error=error, hint="the old configuration stays in force")
            request = Request()
            request.end(False, f"the old configuration stays in force: {error}")
        else:
            request = self._apply(change)
        if self.figures:
            self.figures.reloaded(bool(request.answer and request.answer.ok), time.time())
        self._notifier.reloaded(self._report.line())
        return request

    def reopen_logs(self) -> None:
        """Open the log file anew, in every process."""
        log.reopen()
        self._crew.signal(signal.SIGUSR1)
        for pid in self._crew.beside:
            os.kill(pid, signal.SIGUSR1)

    def _apply(self, change: Change) -> Request:
        self._crew.config = change.config
        live, rolling, waiting = map(_list, (change.live, change.rolling, change.waiting))
        log.event("config.reloaded", live=live, rolling=rolling, waiting=waiting)
        text = "the configuration was read"
        if waiting:
            hint = "they hold only after jobd was stopped and started again"
            log.event("config.waits", level=log.WARNING, keys=waiting, hint=hint)
            text += f"; only after a new start: {waiting}"
        if "processes" in change.live:
            self._crew.resize(change.config.processes)
        if not rolling:
            return self.promises.make(text, lambda: self._crew.is_complete, text)
        request = self._turnover.restart()
        request.accept(f"{text}; new processes follow for {rolling}")
        return request

    def _is_idle(self) -> bool:
        return self._report.busy == 0 and all(child.page.is_quiet for child in self._crew if child.ready_at)

    def _all_take_jobs(self) -> bool:
        return all(slot.child and slot.child.takes_jobs for slot in self._crew.slots)


def _list(names: Sequence[str]) -> str | None:
    return ", ".join(names) or None
