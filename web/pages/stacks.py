"""One worker process: what it is, and what each of its threads does, as it answers when it is asked."""

from __future__ import annotations

from typing import Any

from jobd.client import defaults
from jobd.client.errors import InvalidArguments, NotControllable
from jobd.client.processes import Process, ProcessSet, Work
from jobd.client.scripts import raw_bytes
from jobd.client.stacks import Stacks, ThreadStack, read_stacks
from jobd.web.context import BadRequest, Context, Done, NotFound, View
from jobd.web.documents import process_row, work_row
from jobd.web.pages import busy
from jobd.web.questions import Question
from jobd.web.totals import LATE

WAITS = float(defaults.HEARTBEAT_TTL)
"""Seconds for which a page that has asked looks again and again: a process without a heartbeat for so long is gone."""
REFRESH = 2


def show(ctx: Context) -> View:
    """Show a process with its jobs and, to who has the right `dump`, its stacks if it was asked for them."""
    identity = _identity(ctx)
    may_ask = "dump" in ctx.allowed
    questions = [_ask_stacks(ctx, identity)] if may_ask else []
    works, more, *raws = ctx.ask(
        busy.ask_running(ctx.access, [identity]), busy.ask_more(ctx.access, identity), *questions
    )
    totals = ctx.read_totals()
    process = next((each for each in totals.processes if each.identity == identity), None)
    if process is None:
        raise NotFound(f"there is no process {identity}")
    asked, now = float(ctx.number("asked", 10**11)), totals.now
    found = read_stacks(raws[0]) if raws else None
    waiting = may_ask and found is None and 0 <= now - asked < WAITS
    running = [_running(work, ctx, process) for work in sorted(works, key=lambda work: work.run_at)]
    data = {
        "process": {
            **process_row(process, ctx.masker, now),
            "late": now - process.beat > LATE,
            **busy.more_row(process, more),
        },
        "running": running,
        "may_cancel": any(row["cancellable"] for row in running),
        "stacks": _document(found, ctx, works) if found else None,
        "asked": asked or None,
        "waiting": waiting,
        "silent": may_ask and found is None and asked > 0 and not waiting,
        "answers_within": WAITS,
        "heartbeat": defaults.HEARTBEAT_INTERVAL,
        "refresh": REFRESH if waiting else 0,
        "may_ask": may_ask,
        "may_resize": "concurrency" in ctx.allowed and process.may_resize,
        "actions": [each for each in busy.SIGNALS if each in ctx.allowed and not process.embedded],
        "now": now,
    }
    return View("stacks.html", data, "Process")


def change(ctx: Context) -> Done:
    """Ask the process for its stacks, or have it have other threads."""
    action, identity = ctx.one("action"), _identity(ctx)
    if action not in ("stacks", "concurrency"):
        raise BadRequest(f"action is {action[:50]!r}; give stacks or concurrency")
    ctx.require("dump" if action == "stacks" else "concurrency")
    processes, capsule = ProcessSet(ctx.client), ctx.one("capsule", "default")
    try:
        if action == "stacks":
            done, asked, target = processes.ask_stacks(identity), int(ctx.access.now()), ""
        else:
            threads = _threads(ctx.one("threads"))
            done, asked = processes.set_concurrency(identity, threads, capsule), None
            target = f"{identity}: {capsule} {threads}"
    except (NotControllable, InvalidArguments) as error:
        raise BadRequest(str(error)) from None
    if not done:
        raise NotFound(f"there is no process {identity}")
    return Done(action, ctx.process_url(identity, asked=asked), {"moved": 1}, target=target)


def _threads(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise BadRequest(f"threads is {text[:20]!r}; give a whole number from 1 up")
    return int(text)


def _running(work: Work, ctx: Context, process: Process) -> dict[str, Any]:
    jobds = (process.identity,) if process.is_jobds else ()
    return {**work_row(work, ctx.masker), "cancellable": busy.may_cancel(work, ctx, jobds)}


def _identity(ctx: Context) -> str:
    name = ctx.query.get("name") or ctx.path.get("identity", "")
    if not name or len(name) > 1_000:
        raise BadRequest("give the identity of a process")
    return name


def _ask_stacks(ctx: Context, identity: str) -> Question[bytes | None]:
    key = raw_bytes(ctx.access.keys.stacks(identity))
    [raw] = yield lambda pipeline: pipeline.get(key)
    return raw if isinstance(raw, bytes) else None


def _document(found: Stacks, ctx: Context, works: list[Work]) -> dict[str, Any]:
    """Stacks for pages and programs, without secrets; jobs that have ended since are told."""
    running = {work.entry.jid for work in works}
    masked: dict[str, str] = {}

    def clean(text: str) -> str:
        # Threads that wait stand in the same lines.
        if text not in masked:
            masked[text] = ctx.masker.text(text)
        return masked[text]

    def frames(thread: ThreadStack) -> list[dict[str, Any]]:
        return [
            {
                "file": clean(each.file),
                "line": each.line,
                "function": clean(each.function),
                "source": clean(each.source),
                "link": ctx.shared.sources.of(clean(each.file), each.line),
            }
            for each in thread.frames
        ]

    threads = [
        {
            "thread": each.thread,
            "name": each.name,
            "jid": each.jid,
            "class": each.job,
            "since": each.since or None,
            "seconds": max(found.at - each.since, 0.0) if each.since else None,
            "runs_still": each.jid in running,
            "frames": frames(each),
            "left_out": each.left_out,
        }
        for each in found.threads
    ]
    return {"at": found.at, "threads": threads, "left_out": found.left_out}
