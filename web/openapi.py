"""The description of the JSON interface, in the form that tools read: OpenAPI 3.1."""

from __future__ import annotations

from typing import Any

from jobd.client.version import VERSION
from jobd.web.recent import RANGES

_SET_QUERY = {
    "q": 'text, and terms such as `class:HardJob error:"Timeout" args.user.id:7 attempt>3 age>1h -tag:vip`; '
    "then `cursor` goes on",
    "after": "`next` of the page before",
    "cursor": "`cursor` of the step of a search before",
    "seen": "`seen` of that step",
}
_PERIOD = "1h, 4h, 8h, 24h, 72h, 7d, 30d or 90d"
_READS: dict[str, tuple[str, dict[str, str]]] = {
    "/totals": ("the totals", {}),
    "/overview": ("totals, history, what needs attention", {"range": ", ".join(RANGES), "days": "7, 30, 90 or 180"}),
    "/queues": (
        "the queues: how full each is, how it goes, who takes from it",
        {
            "sort": "name, size, latency, added, taken, eta, failure_rate, threads or state",
            "order": "asc or desc",
            "tree": "1: queues whose names begin alike as one row",
            "open": "with tree: the group whose queues are listed too",
            "offset": "`next` of the page before",
        },
    ),
    "/queues/{name}": (
        "the jobs of a queue",
        {
            **{name: text for name, text in _SET_QUERY.items() if name != "after"},
            "offset": "`next` of the page before",
            "order": "oldest (the next to be taken first) or newest",
            "range": f"of the charts: {', '.join(RANGES)}",
            "name": "the queue, where its name is no word",
        },
    ),
    "/retries": ("jobs that failed and will run again", _SET_QUERY),
    "/scheduled": ("jobs for later", _SET_QUERY),
    "/dead": ("jobs that nobody tries any more", _SET_QUERY),
    "/jobs/{jid}": (
        "one job",
        {
            "in": "retries, scheduled, dead or queue",
            "key": "its key there",
            "name": "the queue",
            "whole": "yes: arguments over 256 kB too",
        },
    ),
    "/export": (
        "what a list holds, or what matches, as lines of JSON",
        {"in": "retries, scheduled, dead or queue", "name": "the queue", "q": "as in the list"},
    ),
    "/bulk/{id}": ("how far a change of many jobs is", {}),
    "/undo/{id}": ("what is left of a deletion to be put back", {}),
    "/edit": (
        "the arguments of one job, to be changed",
        {"in": "retries, scheduled, dead or queue", "key": "its key there", "name": "the queue"},
    ),
    "/busy": (
        "processes and running jobs",
        {
            "offset": "`next` of the page before",
            "host": "only processes of this host",
            "queue": "only processes that take from this queue",
            "class": "part of the name of running jobs",
            "sort": "processes by name, or by their oldest job",
            "jobs": "`next_jobs`, for more running jobs of the same processes",
        },
    ),
    "/busy/{identity}": (
        "one process and the stacks of its threads, once it was asked for them",
        {"name": "its identity, where that is no word", "asked": "when it was asked, in epoch seconds"},
    ),
    "/failures": ("failed jobs by their cause", {"offset": "`next` of the page before"}),
    "/cron": ("entries of the cron", {"q": "part of a name", "offset": "`next` of the page before"}),
    "/cron/{name}": ("one entry of the cron", {"name": "the entry, where its name is no word"}),
    "/cron-edit": (
        "what an entry of the cron holds, to be changed, its `revision`, and what is suggested",
        {"name": "the entry; without it that of a new one"},
    ),
    "/metrics": (
        "figures of each class",
        {
            "period": _PERIOD,
            "q": "part of a name",
            "sort": "class, ran, failed, rate, time, share, average, p50, p95, p99, waited; with - before it downwards",
            "compare": "1: with the period before",
            "offset": "`next` of the page before",
        },
    ),
    "/metrics/{name}": (
        "figures of one class over time",
        {"period": _PERIOD, "name": "the class, where its name is no word"},
    ),
    "/redis": ("Redis itself", {"sample": "1: looks at keys for 60 ms to tell what takes memory"}),
    "/activity": (
        "who did what, the last first",
        {"user": "only of this user", "action": "only this action", "before": "`next` of the page before"},
    ),
}
_KEYS = {
    "type": "array",
    "items": {"type": "string"},
    "maxItems": 200,
    "description": "`key` of each job that is meant",
}
_TEXT = {"type": "string"}
_MANY: dict[str, Any] = {
    "key": _KEYS,
    "all": {"enum": ["yes"], "description": "all entries, or those that hold `q`, instead of `key`"},
    "q": _TEXT,
    "until": {"type": "string", "description": "of the answer 409: only what was there at that time"},
    "of": {"type": "string", "description": "of the answer 409: how many they were"},
    "confirmed": {"enum": ["yes"], "description": "without it all are counted, and the answer is 409"},
}
_CAUSE: dict[str, Any] = {
    "group": {"type": "string", "description": "`id` of the cause"},
    "until": {"type": "number", "description": "`until` of the page: what has failed since is not meant"},
    "size": {"type": "integer", "description": "jobs of a wave [50]"},
    "every": {"type": "integer", "description": "seconds from one wave to the next [30]"},
    "jobs": {"type": "string", "description": "of the answer 409: the jobs that were counted"},
    "said": _TEXT,
    "confirmed": {
        "enum": ["yes"],
        "description": "without it, and `jobs`, the jobs are counted, and the answer is 409",
    },
}
_AT = {"at": {"type": "string", "description": "for reschedule: epoch seconds, ISO 8601, or 10m from now"}}
_CRON = ["enable", "disable", "skip", "unskip", "run", "delete"]
_TICK = {"tick": {"type": "string", "description": "for skip: the next run, in epoch seconds; refused if it is not"}}
_TYPED: dict[str, Any] = {
    "cron": {"type": "string", "description": "the expression, as in the code"},
    "timezone": {"type": "string", "description": "name of the tz database [UTC]"},
    "class": {"type": "string", "description": "name of the job"},
    "args": {"type": "string", "description": "the arguments, a JSON array as text [none]"},
    "kwargs": {"type": "string", "description": "the keyword arguments, a JSON object as text [none]"},
    "queue": {"type": "string", "description": "the queue [default]"},
    "description": _TEXT,
    "overlap": {"enum": ["allow", "skip"]},
    "catch_up": {"enum": ["skip", "once", "all"]},
    "date_as_argument": {"enum": ["yes", "no"]},
    "check": {"enum": ["yes"], "description": "answers what it would do, in `preview`, and saves nothing"},
}
_REVISION: dict[str, Any] = {
    "revision": {"type": "string", "description": "for edit: that of GET; refused with 409 if it is another by now"},
    "known": {"enum": ["yes"], "description": "for edit, of one of the code or a configuration: it is set back"},
}
_LOOK = ["reveal"]
"""Changes nothing: it is asked for as what is shown is, and answered by the same with nothing hidden."""
_WRITES: dict[str, tuple[list[str], dict[str, Any]]] = {
    "/queues": (["pause", "resume"], {"key": {**_KEYS, "description": "`key` of each queue that is meant"}}),
    "/queues/{name}": (
        ["pause", "resume", "clear", "limits", "delete", "front", "move", "copy"],
        {
            **_MANY,
            "typed": _TEXT,
            "to": {"type": "string", "description": "for move: the other queue"},
            "wait": {"type": "string", "description": "for limits: how long the next job may wait: 5m, none, default"},
            "size": {"type": "string", "description": "for limits: how many jobs may wait: 1000, none, default"},
        },
    ),
    "/retries": (["retry", "reschedule", "kill", "delete"], {**_MANY, **_AT}),
    "/scheduled": (["enqueue", "reschedule", "kill", "delete"], {**_MANY, **_AT}),
    "/dead": (["retry", "delete"], _MANY),
    "/jobs/{jid}": (_LOOK, {}),
    "/bulk/{id}": (["stop"], {}),
    "/undo/{id}": (["undo"], {}),
    "/edit": (
        ["edit"],
        {
            "in": {"enum": ["retries", "scheduled", "dead", "queue"]},
            "key": {"type": "string", "description": "the `key` of the job"},
            "name": {"type": "string", "description": "the queue"},
            "args": {"type": "string", "description": "the arguments, a JSON array as text"},
            "kwargs": {"type": "string", "description": "the keyword arguments, a JSON object as text [none]"},
            "delete": {"enum": ["yes"], "description": "removes the job in the same step; without it, it stays"},
        },
    ),
    "/busy": (
        ["quiet", "resume", "stop", "dump", "cancel"],
        {
            "identity": _TEXT,
            "jid": {"type": "string", "description": "for cancel: the running job; `identity` may be left out"},
            "all": {"enum": ["yes"], "description": "all processes, or those of `host` and `queue`, instead"},
            **dict.fromkeys(("host", "queue", "until"), _TEXT),
            "confirmed": {"enum": ["yes"], "description": "of all and of cancel; without it the answer is 409"},
        },
    ),
    "/busy/{identity}": (
        ["stacks", "concurrency"],
        {
            "threads": {"type": "integer", "description": "for concurrency: how many, until the process ends"},
            "capsule": {"type": "string", "description": "for concurrency: which of its capsules [default]"},
        },
    ),
    "/failures": (["retry", "waves", "kill", "delete", "mute", "unmute"], _CAUSE),
    "/cron": (
        ["create", "edit", *_CRON, "enable_all", "disable_all"],
        {
            "name": _TEXT,
            **_TYPED,
            **_REVISION,
            "status": {"enum": ["enabled", "disabled"], "description": "for create [enabled]"},
            **_TICK,
            "confirmed": {"enum": ["yes"], "description": "of delete and all; without it the answer is 409"},
        },
    ),
    "/cron/{name}": (["edit", *_CRON], {**_TYPED, **_REVISION, **_TICK, "confirmed": _TEXT}),
}


def document(base: str, *, writes: bool) -> dict[str, Any]:
    """The description of the interface below `base`, with its changes if there are any."""
    paths: dict[str, Any] = {}
    for path, (summary, query) in _READS.items():
        paths[path] = {"parameters": _in_path(path), "get": _operation(summary, query)}
    for path, (actions, fields) in _WRITES.items() if writes else ():
        paths[path]["post"] = _change(actions, fields)
        if actions == _LOOK:
            paths[path]["post"]["parameters"] = paths[path]["get"]["parameters"]
    return {
        "openapi": "3.1.0",
        "info": {"title": "jobd", "version": VERSION},
        "servers": [{"url": f"{base}/api/v1"}],
        "paths": paths,
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}],
    }


def _in_path(path: str) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [{"name": name, "in": "path", "required": True, "schema": _TEXT} for name in names]


def _operation(summary: str, query: dict[str, str]) -> dict[str, Any]:
    parameters = [{"name": n, "in": "query", "description": text, "schema": _TEXT} for n, text in query.items()]
    return {"summary": summary, "parameters": parameters, "responses": _responses("what is shown")}


def _change(actions: list[str], fields: dict[str, Any]) -> dict[str, Any]:
    properties = {"action": {"enum": actions}, **fields}
    body = {"type": "object", "properties": properties, "required": ["action"]}
    return {
        "summary": f"one of {', '.join(actions)}",
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {**_responses("how many were moved, gone, malformed, dropped, left as of other queues"), **_MORE},
    }


_MORE = {
    "202": {"description": "begun: its id is `bulk`, and GET /bulk/{id} shows how far it is"},
    "409": {"description": "to be confirmed, or not possible now"},
}


def _responses(done: str) -> dict[str, Any]:
    refused = {"400": "makes no sense", "401": "nobody", "403": "not allowed, or not in this queue", "404": "not there"}
    refused |= {"405": "takes no such method", "429": "too much at once", "500": "a defect", "503": "no Redis"}
    return {"200": _answer(done), **{code: _answer(text) for code, text in refused.items()}}


def _answer(text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": {"type": "object"}}}}
