"""Alert limits of queues as pages show and set them; what they mean is in `jobd.client.queue_limits`."""

from __future__ import annotations

import math
from typing import Any

from jobd.client.access import Access
from jobd.client.errors import InvalidArguments
from jobd.client.queue_limits import KINDS, Limits, ask_limits, limit_in, limit_text
from jobd.client.queues import Queue
from jobd.web.context import BadRequest, Context, Done
from jobd.web.questions import Question


def ask(access: Access, name: str) -> Question[Limits]:
    """Those of one queue."""
    wanted, read = ask_limits(access.keys, name)
    [values] = yield wanted
    return read(values)


def document(limits: Limits, size: int, latency: float) -> dict[str, Any]:
    """As they were set, the numbers that hold (None without a limit), and which of them a queue is over."""
    numbers = {"wait_limit": limits.most_wait, "size_limit": limits.most_size}
    return {
        "limits": {kind: limit_text(kind, getattr(limits, kind)) for kind in KINDS},
        "damaged_limits": list(limits.damaged),
        "over": list(limits.exceeded(size, latency)),
        **{name: number if number < math.inf else None for name, number in numbers.items()},
    }


def change(ctx: Context, owner: Queue) -> Done:
    """Set those that were sent. Raises `BadRequest`, `Forbidden`."""
    ctx.require("limits", owner.name)
    try:
        given: dict[str, Any] = {kind: limit_in(kind, ctx.one(kind)) for kind in KINDS if kind in ctx.fields}
    except InvalidArguments as error:
        raise BadRequest(str(error)) from None
    if not given:
        raise BadRequest("no limit is given; give wait, size or both")
    owner.set_limits(**given)
    said = ", ".join(f"{kind} {limit_text(kind, given[kind])}" for kind in KINDS if kind in given)
    return Done("limits", ctx.queue_url(owner.name), target=f"{owner.name}: {said}")
