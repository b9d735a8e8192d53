"""Looks which of the running jobs somebody wants cancelled, and has them interrupted.

How a thread is interrupted is in `brake.py`, what becomes of the job in `processor.py`; who asks is `WorkSet.cancel`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError, ResponseError

from jobd.client.connection import Connector, is_readonly
from jobd.client.errors import RedisUnavailable
from jobd.client.keys import Keys
from jobd.client.processes import run_of
from jobd.client.scripts import raw_bytes
from jobd.worker import log
from jobd.worker.crash import jid_of
from jobd.worker.ledger import Fetched

if TYPE_CHECKING:
    from jobd.worker.processor import Processor


class Cancels:
    """What one process asks about them. Safe across threads."""

    def __init__(self, connector: Connector, keys: Keys) -> None:
        self._connector, self._keys, self._reports = connector, keys, log.Reports()

    def among(self, jobs: Sequence[Fetched]) -> list[Fetched]:
        """Those of these jobs whose run is to be cancelled, in one call; none when Redis does not say."""
        try:
            return self._wanted(jobs)
        except (RedisError, RedisUnavailable, OSError):
            return []  # a heartbeat asks again

    def carry_out(self, processors: Iterable[Processor]) -> bool:
        """Interrupt those of the running jobs that are to be; whether there were any. Raises redis-py's errors."""
        running = {item.job: each for each in processors if (item := each.in_progress) and not item.cancelled}
        done = False
        try:
            wanted = self._wanted(list(running))
        except ResponseError as error:
            if is_readonly(error):
                raise
            self._reports.tell(f"jobd:cancel: {error}")
            return False
        for job in wanted:
            if running[job].interrupt(job):
                done = True
                log.event("job.interrupted", level=log.WARNING, jid=jid_of(job.payload), queue=job.queue)
        return done

    def _wanted(self, jobs: Sequence[Fetched]) -> list[Fetched]:
        named = [(job, jid) for job in jobs if (jid := jid_of(job.payload))]
        if not named:
            return []
        client: Any = self._connector.client()
        found = client.mget([raw_bytes(self._keys.cancel(jid)) for _, jid in named])
        return [job for (job, _), run in zip(named, found, strict=True) if run and run == run_of(job.payload)]
