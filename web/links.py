"""Links of the host application on the page of a job: to its own records, its logs, its traces."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TypeAlias
from urllib.parse import urlsplit

from jobd.client.entry import JobEntry
from jobd.web.seldom import Seldom

logger = logging.getLogger("jobd")

JobLinks: TypeAlias = Callable[[JobEntry], Iterable[tuple[str, str]]]
"""Makes the links of a job, each a label and an address."""

MOST_LINKS = 20
MOST_CHARACTERS = 4_000
"""Of one address."""


class Links:
    """Asks the function of the host. Whatever it does wrong is logged, once a minute at most, and shown as nothing."""

    def __init__(self, made_by: JobLinks | None = None) -> None:
        self._made_by, self._faults = made_by, Seldom()

    def of(self, entry: JobEntry) -> list[dict[str, str]]:
        """The links of a job."""
        if self._made_by is None:
            return []
        found: list[dict[str, str]] = []
        try:
            for label, url in self._made_by(entry):
                if not is_link(url):
                    self._fault(f"{str(label)[:200]!r} leads to no address of http or https without a password")
                elif len(found) < MOST_LINKS:
                    found.append({"label": str(label)[:200], "url": str.__str__(url)})
        except Exception as error:
            self._fault(f"{type(error).__name__}: {error}", error)
            return []
        return found

    def _fault(self, text: str, error: Exception | None = None) -> None:
        if self._faults.is_first(text[:200]):
            logger.error("web.job_links_failed %s", text, exc_info=error)


def is_link(url: object) -> bool:
    """Whether it is an address that a page may lead to, and show: one without a password."""
    if not isinstance(url, str) or len(url) > MOST_CHARACTERS or not url.isprintable() or " " in url:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and "@" not in parts.netloc
