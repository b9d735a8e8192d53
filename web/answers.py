"""What is answered besides pages: JSON, the result of a change, and errors by their kind."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from jobd.client.errors import JobdError, RedisRefused, RedisUnavailable
from jobd.web import auth as who
from jobd.web.context import BadRequest, Context, Done, Forbidden, NotFound, OutOfReach
from jobd.web.threads import Overloaded


async def not_taken(request: Request, error: Exception) -> Response:
    """The answer where an address does not take the method."""
    response = refusal(request, f"this address takes no {request.method}", 405)
    response.headers.update(getattr(error, "headers", None) or {})
    return response


def judge(error: Exception, ctx: Context) -> tuple[int, str, str]:
    """Status, title and text of the answer to an error."""
    if isinstance(error, OutOfReach):
        text = "You may not do this here: {action}. You may change only what is of these queues: {queues}."
        return 403, "Not allowed", ctx.t(text, action=error.action, queues=error.reach.shown)
    if isinstance(error, Forbidden):
        known = str(error) in who.ACTIONS
        return 403, "Not allowed", ctx.t("You may not do this: {action}.", action=error) if known else str(error)
    if isinstance(error, NotFound):
        return 404, "Not found", str(error)
    if isinstance(error, BadRequest):
        return 400, "Bad request", str(error)
    if isinstance(error, RedisUnavailable | RedisRefused):
        return 503, "Redis does not answer", ctx.masker.text(str(error))
    if isinstance(error, Overloaded):
        return error.status, "Too much at once", str(error)
    if isinstance(error, JobdError):
        return 409, "Error", ctx.masker.text(str(error))
    return 500, "Something broke", "see the log of this process for web.failed"


def is_for_programs(request: Request) -> bool:
    """Whether JSON is wanted."""
    return "/api/v1/" in request.url.path or request.url.path.endswith(("/stats", "/stats/queues", "/live"))


def refusal(request: Request, text: str, status: int) -> Response:
    """What is answered before it is known what is shown to whom."""
    if is_for_programs(request):
        return as_json({"error": text}, status)
    return Response(f"{text}\n", status, media_type="text/plain")


def result(done: Done, api: bool) -> Response:
    """What became of a change: a document for programs, the way back to the page for people."""
    told = {name: count for name, count in done.counts.items() if count or name == "moved"}
    undo = {"undo": done.undo} if done.undo else {}
    if done.started:
        document = {"action": done.action, "bulk": done.started, **told}
        return as_json(document, 202) if api else RedirectResponse(done.back, 303)
    if api:
        return as_json({"action": done.action, **told, **({"jid": done.jid} if done.jid else {}), **undo})
    mark = "&" if "?" in done.back else "?"
    counts = "".join(f"&{name}={count}" for name, count in told.items())
    pushed = (f"&pushed={quote(done.jid)}" if done.jid else "") + (f"&undo={done.undo}" if done.undo else "")
    return RedirectResponse(f"{done.back}{mark}did={done.action}{counts}{pushed}", 303)


def as_json(data: Any, status: int = 200) -> Response:
    """A document that a page may hold as well: without <, > and &."""
    # With all but ASCII escaped: a name may hold what is no text in UTF-8.
    text = json.dumps(data).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Response(text, status, media_type="application/json")
