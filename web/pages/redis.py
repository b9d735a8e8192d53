"""Redis itself: memory, disk, clients, replicas, slow commands, and what is largest in it; a sample of its memory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from jobd.client.errors import RedisRefused
from jobd.client.processes import number
from jobd.web import sample
from jobd.web.context import Context, View
from jobd.web.documents import cut
from jobd.web.masking import HIDDEN, Masker
from jobd.web.questions import Bearing, Question
from jobd.web.server import Server, document
from jobd.web.totals import Totals

SLOW = 20
"""Slow commands that are shown."""
LARGEST = 10
"""Queues and sets that are shown, the largest."""
COMMAND_CHARACTERS = 200
_ASKED = ("info", "slowlog|get", "config|get", "config|get")
_SECRET = re.compile(r"(?i)(auth|hello|config set|acl setuser|migrate)\b")
"""Commands whose arguments may be passwords."""


def show(ctx: Context) -> View:
    """Show what Redis tells of itself, as far as its user may ask."""
    wants_sample = bool(ctx.number("sample", 1))
    [(told, refused)] = ctx.ask(_ask_server())
    totals = ctx.read_totals()
    info, slow, save, slower = told
    taken, problem = _sample(ctx, totals) if wants_sample else (None, "")
    data = {
        "address": ctx.client.connector.address.shown,
        "info": None if info is None else document(info),
        "warnings": []
        if info is None
        else [{"text": text, "values": values} for text, values in _warnings(info, save)],
        "save_rules": None if save is None else str(save.get("save", "")),
        "slow": None if slow is None else [_slow(each, ctx.masker) for each in slow[:SLOW]],
        "slow_after": None if slower is None else number(slower.get("slowlog-log-slower-than")) / 1e6,
        "largest": _largest(totals),
        "refused": refused,
        "sample": taken,
        "sample_problem": problem,
        "now": totals.now,
    }
    return View("redis.html", data, "Redis")


def _ask_server() -> Question[tuple[list[Any], dict[str, str]]]:
    """The answers, None for a refused one; and of each refused command why: the right that is missing, or its error."""

    def ask(pipeline: Any) -> None:
        pipeline.info().slowlog_get(SLOW).config_get("save").config_get("slowlog-log-slower-than")

    told = yield Bearing(ask)
    refused = {name: _why(name, each) for name, each in zip(_ASKED, told, strict=True) if isinstance(each, Exception)}
    return [None if isinstance(each, Exception) else each for each in told], refused


def _why(name: str, error: Exception) -> str:
    # redis-py takes the code away from the message of an error that it knows.
    return f"+{name}" if "permission" in str(error) or str(error).startswith("NOPERM") else str(error)[:200]


def _warnings(info: dict[str, Any], save: dict[str, Any] | None) -> list[tuple[str, dict[str, Any]]]:
    """What somebody should look at: what the dashboard says too, and what is worth a sentence here alone."""
    found = list(Server.of(info).warnings())
    told = document(info)
    if evicted := told["commands"]["evicted"]:
        found.append(("Redis has deleted {count} keys for want of memory: jobs may be lost.", {"count": evicted}))
    if save is not None and not save.get("save") and not told["disk"]["aof"]:
        found.append(("Redis writes nothing to its disk: all jobs are lost when it stops.", {}))
    if told["clients"]["rejected"]:
        found.append(
            (
                "Redis has turned away {count} connections: maxclients is too low.",
                {"count": told["clients"]["rejected"]},
            )
        )
    if told["master"] is not None:
        found.append(("This is a replica: what it shows may be late, and it cannot be changed.", {}))
    return found


def _slow(entry: dict[str, Any], masker: Masker) -> dict[str, Any]:
    raw = entry.get("command", b"")
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
    return {
        "id": int(number(entry.get("id"))),
        "at": number(entry.get("start_time")),
        "seconds": number(entry.get("duration")) / 1e6,
        "command": command_text(text, masker),
    }


def command_text(text: str, masker: Masker) -> str:
    """A command as it may be shown: without its secrets, cut to size."""
    if found := _SECRET.match(text):
        return f"{found[0]} {HIDDEN}"
    return cut(masker.text(text), COMMAND_CHARACTERS)


def _largest(totals: Totals) -> list[dict[str, Any]]:
    """The largest queues and sets by number of jobs."""
    sets = {"retries": totals.retries, "scheduled": totals.scheduled, "dead": totals.dead}
    found = [{"kind": name, "name": "", "size": size} for name, size in sets.items()]
    found += [{"kind": "queue", "name": queue.name, "size": queue.size} for queue in totals.queues[:LARGEST]]
    return sorted(found, key=lambda each: -int(str(each["size"])))[:LARGEST]


def _sample(ctx: Context, totals: Totals) -> tuple[dict[str, Any] | None, str]:
    names: Sequence[str] = [queue.name for queue in totals.queues[:LARGEST]]
    try:
        return sample.take(ctx.access, names), ""
    except RedisRefused as error:
        return None, ctx.masker.text(str(error))
