"""A job as text to be taken elsewhere: a call in Python, JSON, and a request to this dashboard. Pure.

Secrets are hidden in what is passed in, so they are in the copies, which then say that they are not complete.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Any

from jobd.client import payload as wire
from jobd.client.entry import JobEntry
from jobd.web import story
from jobd.web.documents import cut
from jobd.web.masking import HIDDEN, Masker

MOST_CHARACTERS = 200_000
"""Of one copy."""


@dataclass(frozen=True, slots=True)
class Copies:
    """Texts, empty where there is none; `complete` says that nothing is hidden or cut in those of the job itself."""

    python: str
    raw_json: str
    curl: str
    complete: bool


def copies(entry: JobEntry, shown: dict[str, Any], masker: Masker, place: str, request: str) -> Copies:
    """Copies of a job, `shown` as `documents.job_detail` makes it; `request` is one that runs it, or empty."""
    if shown["large"] or entry.malformed:
        return Copies("", "", request, complete=True)
    call = _call(entry, shown, masker, place)
    whole = _whole(shown)
    same = shown["arguments"] == entry.args and shown["kwargs"] == entry.kwargs
    complete = same and HIDDEN not in whole and max(len(call), len(whole)) <= MOST_CHARACTERS
    return Copies(cut(call, MOST_CHARACTERS), cut(whole, MOST_CHARACTERS), request, complete)


def request(path: str, action: str, key: str) -> str:
    """The request that does something with one job, for the shell: DASHBOARD and TOKEN are variables of it."""
    body = json.dumps({"action": action, "key": [key]})
    parts = ('-H "Authorization: Bearer $TOKEN"', "-H 'Content-Type: application/json'", f"-d {shlex.quote(body)}")
    return f'curl {" ".join(parts)} "$DASHBOARD{path}"'


def _call(entry: JobEntry, shown: dict[str, Any], masker: Masker, place: str) -> str:
    """How it is pushed again: of a scheduled job with the delay that it had. A job of Rails is pushed by Rails."""
    if entry.class_name in wire.ACTIVE_JOB_WRAPPERS:
        return ""
    delay = None
    if place == "scheduled" and shown["at"] is not None:
        delay = shown["at"] - (entry.created_at or shown["at"])
    name = masker.text(entry.class_name)
    return story.as_python(name, shown["arguments"] or [], shown["kwargs"], delay if delay and delay > 0 else None)


def _whole(shown: dict[str, Any]) -> str:
    names = ("class", "jid", "queue", "tags", "created_at", "enqueued_at", "failed_at", "retried_at", "retry_count")
    more = ("edited_from", "edited_into", "error_class", "error_message", "error_backtrace")
    fields = {name: shown[name] for name in (*names, *more) if shown[name] not in (None, "", [])}
    calls = {"args": shown["arguments"], **({"kwargs": shown["kwargs"]} if shown["kwargs"] else {})}
    return json.dumps({**fields, **calls, **shown["fields"]}, ensure_ascii=False, indent=2)
