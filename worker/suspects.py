"""Follows jobs that ran when a process crashed, until they come to an end. Costs nothing while there are none.

`fetch` says whether Redis knows any; only then are these functions asked, once for all jobs of a fetch. Who is
suspected is decided in `crash.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.exceptions import RedisError, ResponseError

from jobd.client import scripts
from jobd.client.connection import Connector
from jobd.client.errors import RedisUnavailable
from jobd.client.keys import Keys
from jobd.worker import log
from jobd.worker.crash import jid_of
from jobd.worker.ledger import Fetched


class Suspects:
    """What one process asks about them. Safe across threads; never raises, since the counts expire by themselves."""

    def __init__(self, connector: Connector, keys: Keys) -> None:
        self._connector, self._keys, self._reports = connector, keys, log.Reports()

    def among(self, jobs: Sequence[Fetched]) -> list[Fetched]:
        """Those of these jobs that are suspected, in one call; all that have an id when Redis does not say."""
        jids = [jid_of(job.payload) for job in jobs]
        try:
            client: Any = self._connector.client()
            found = client.smismember(self._keys.suspects, jids)
        except (RedisError, RedisUnavailable, OSError) as error:
            self._note(error)
            found = [True] * len(jobs)
        return [job for job, jid, is_member in zip(jobs, jids, found, strict=True) if jid and is_member]

    def absolve(self, jid: str) -> None:
        """Clear a job that has come to an end, and whose acknowledgement Redis has."""
        try:
            with self._connector.connection() as connection:
                scripts.send(connection, scripts.absolve(self._keys, jid))
        except (RedisError, RedisUnavailable, OSError) as error:
            self._note(error)

    def _note(self, error: Exception) -> None:
        """A lost connection is told of elsewhere."""
        if isinstance(error, ResponseError):
            self._reports.tell(f"{self._keys.suspects}: {error}")
