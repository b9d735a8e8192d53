"""The ASGI application: which page answers which address, to whom, and what becomes of errors."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from jobd.client.errors import ConfigError, JobdError, RedisRefused, RedisUnavailable
from jobd.client.push import Client
from jobd.web import auth as who
from jobd.web import csrf
from jobd.web.auth import Authenticator, Authorize, User
from jobd.web.context import BadRequest, Context, Done, Forbidden, NotFound, Shared, View
from jobd.web.headers import SecurityHeaders
from jobd.web.live import Live
from jobd.web.masking import WORDS, Masker
from jobd.web.openapi import document as openapi
from jobd.web.pages import busy, cron, jobs, metrics, overview, queues, sets
from jobd.web.render import page
from jobd.web.text import LANGUAGES, choose

logger = logging.getLogger("jobd")

MOST_BYTES = 1_000_000
"""Of what is sent with a change."""
LANGUAGE_COOKIE = "jobd_language"
_STATIC = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript"}
_YEAR = "public, max-age=31536000, immutable"

Show: TypeAlias = Callable[[Context], View]
Change: TypeAlias = Callable[[Context], "View | Done"]


def _of_set(kind: sets.Kind) -> tuple[str, Show, Change]:
    return f"/{kind}", lambda ctx: sets.show(kind, ctx), lambda ctx: sets.change(kind, ctx)


PAGES: tuple[tuple[str, Show, Change | None], ...] = (
    ("/", overview.overview, None),
    ("/queues", queues.queues, None),
    ("/queues/{name:path}", queues.queue, queues.change),
    _of_set("retries"),
    _of_set("scheduled"),
    _of_set("dead"),
    ("/jobs/{jid:path}", jobs.job, None),
    ("/busy", busy.busy, busy.change),
    ("/cron", cron.show, cron.change),
    ("/metrics", metrics.show, None),
)
"""Each page is at its address for people, and below `/api/v1` for programs."""
FOR_PROGRAMS: tuple[tuple[str, Show], ...] = (
    ("/stats", overview.stats),
    ("/stats/queues", overview.stats_queues),
    ("/api/v1/totals", overview.totals_only),
)


def app(
    client: Client | None = None,
    *,
    auth: Authenticator | Sequence[Authenticator] | None = None,
    authorize: Authorize | None = None,
    read_only: bool | None = None,
    mask: Iterable[str] = WORDS,
    trusted_origins: Collection[str] = (),
    hosts: Collection[str] = (),
) -> Starlette:
    """Make the dashboard, an ASGI application that can be mounted under any path.

    - `client`: whose Redis is shown [that of the jobs of this process].
    - `auth`: who asks: `Basic`, `Tokens`, a function of a Starlette request that returns the user's name or None, or
      several of them, of which the first that tells counts. None leaves that to the application around it.
    - `authorize(user, action)`: whether a user may do one of `ACTIONS`; it may be async. [all may do all]
    - `read_only`: nothing can be changed [True without `auth` and `authorize`, else False].
    - `mask`: words by which the keys of secrets are told [`WORDS`].
    - `trusted_origins`: origins, such as `https://ops.example.com`, from whose pages changes may come besides.
    - `hosts`: names under which it answers, without a port [any].

    Raises `ConfigError`.
    """
    given = [] if auth is None else [auth] if callable(auth) else list(auth)
    if wrong := [origin for origin in trusted_origins if "://" not in origin or origin.count("/") != 2]:
        raise ConfigError(f"trusted_origins: {wrong[0]!r} is no origin; write https://ops.example.com")
    if read_only is None:
        read_only = not given and authorize is None
        if read_only:
            logger.warning("web.read_only: neither auth nor authorize is given, so nothing can be changed")
    site = Site(Shared(client, Masker(mask)), tuple(given), authorize, read_only, trusted_origins, hosts)
    made = Starlette(routes=list(site.routes()), middleware=[Middleware(SecurityHeaders)])
    made.state.live = site.live
    return made


@dataclass(frozen=True)
class _Endpoint:
    """What an address does; `api` for programs."""

    show: Show | None
    change: Change | None
    api: bool


class Site:
    """One dashboard: its routes, and the way of a request through them."""

    def __init__(
        self,
        shared: Shared,
        authenticators: tuple[Authenticator, ...],
        authorize: Authorize | None,
        read_only: bool,
        trusted: Collection[str],
        hosts: Collection[str],
    ) -> None:
        self._shared, self.live = shared, Live(shared)
        self._authenticators, self._authorize, self._read_only = authenticators, authorize, read_only
        self._trusted, self._hosts = frozenset(trusted), frozenset(hosts)

    def routes(self) -> Iterable[Route]:
        """All addresses; those that change something only where that is allowed at all."""
        for path, show in FOR_PROGRAMS:
            yield self._route(path, _Endpoint(show, None, api=True))
        yield Route("/live", self._guarded(self._stream, "stream"))
        yield Route("/api/v1/openapi.json", self._guarded(self._openapi, "openapi"))
        yield Route("/language", self._guarded(self._language, "language"))
        yield Route("/static/{name}", _static)
        for path, show, change in PAGES:
            allowed = None if self._read_only else change
            yield self._route(path, _Endpoint(show, allowed, api=False))
            yield self._route("/api/v1" + ("/overview" if path == "/" else path), _Endpoint(show, allowed, api=True))
        yield Route("/{path:path}", self._guarded(_nothing, "nothing"))

    def _route(self, path: str, endpoint: _Endpoint) -> Route:
        async def run(request: Request, ctx: Context) -> Response:
            return await self._run(request, ctx, endpoint)

        methods = ["GET", "POST"] if endpoint.change else ["GET"]
        return Route(path, self._guarded(run, path), methods=methods)

    def _guarded(self, run: Callable[[Request, Context], Any], name: str) -> Callable[[Request], Any]:
        """Have `run` answer those who may look, and turn errors into answers."""

        async def endpoint(request: Request) -> Response:
            ctx: Context | None = None
            try:
                user = await self._enter(request)
                if user is None:
                    return self._challenge()
                ctx = await self._context(request, user)
                ctx.require("view")
                response: Response = await run(request, ctx)
                return response
            except Exception as error:
                return await self._failed(request, ctx or _nobody(self._shared, request), error)

        endpoint.__name__ = name
        return endpoint

    async def _enter(self, request: Request) -> User | None:
        host = request.headers.get("host", "")
        if self._hosts and _host_name(host) not in self._hosts:
            raise Forbidden(f"Host is {host!r}, under which this dashboard does not answer")
        user = await who.identify(request, self._authenticators) if self._authenticators else User("")
        if user is not None:
            headers = {name.lower(): value for name, value in request.headers.items()}
            if problem := csrf.problem(request.method, headers, by_token=user.by_token, trusted=self._trusted):
                raise Forbidden(problem)
        return user

    def _challenge(self) -> Response:
        challenges = [text for each in self._authenticators if (text := getattr(each, "challenge", None))]
        response = Response("log in\n", 401, media_type="text/plain")
        for text in challenges:
            response.headers.append("www-authenticate", text)
        return response

    async def _context(self, request: Request, user: User) -> Context:
        ctx = _nobody(self._shared, request)
        ctx.user, ctx.allowed = user, await who.allowed(user.name, self._authorize, self._read_only)
        return ctx

    async def _run(self, request: Request, ctx: Context, endpoint: _Endpoint) -> Response:
        ctx.for_people = not endpoint.api
        if request.method == "POST" and endpoint.change:
            ctx.fields = await _fields(request, endpoint.api)
            result = await run_in_threadpool(self._change, endpoint.change, ctx)
        else:
            assert endpoint.show
            result = await run_in_threadpool(endpoint.show, ctx)
        if isinstance(result, Done):
            return _done(result, endpoint.api)
        if endpoint.api:
            return _json(result.data, result.status)
        await run_in_threadpool(ctx.read_totals)
        return HTMLResponse(page(result, ctx), result.status)

    def _change(self, change: Change, ctx: Context) -> View | Done:
        result = change(ctx)
        if isinstance(result, Done):
            self._shared.keep(None)
            target = ctx.one("identity") or ctx.one("name") or ctx.query.get("name") or ctx.path.get("name", "")
            told = {"user": ctx.user.name or "-", "address": ctx.address, "action": result.action, "on": target}
            filtered = {"all": ctx.one("all"), "q": ctx.masker.text(ctx.one("q"))}
            values = {**told, **filtered, "page": result.back.partition("?")[0], **result.counts}
            # As JSON, so that no value can look like a further one.
            logger.info("web.action %s", json.dumps({name: value for name, value in values.items() if value != ""}))
        return result

    async def _failed(self, request: Request, ctx: Context, error: Exception) -> Response:
        status, title, text = _judge(error, ctx)
        if status == 500:
            logger.error("web.failed %s", request.url.path, exc_info=error)
        if "/api/v1/" in request.url.path or request.url.path.endswith(("/stats", "/stats/queues")):
            return _json({"error": text}, status)
        return HTMLResponse(page(View("error.html", {"text": text}, title), ctx), status)

    async def _stream(self, request: Request, ctx: Context) -> Response:
        if self.live.full:
            return Response("too many streams\n", 503, headers={"retry-after": "30"}, media_type="text/plain")
        return StreamingResponse(self.live.listen(), media_type="text/event-stream")

    async def _openapi(self, request: Request, ctx: Context) -> Response:
        return _json(openapi(ctx.base, writes=not self._read_only))

    async def _language(self, request: Request, ctx: Context) -> Response:
        chosen = ctx.query.get("to", "")
        if chosen not in LANGUAGES:
            raise BadRequest(f"to is {chosen[:20]!r}; give one of {', '.join(LANGUAGES)}")
        response = RedirectResponse(ctx.url("/"), 303)
        response.set_cookie(
            LANGUAGE_COOKIE, chosen, max_age=365 * 24 * 3600, path=ctx.base or "/", samesite="lax", httponly=True
        )
        return response


def _judge(error: Exception, ctx: Context) -> tuple[int, str, str]:
    """Status, title and text of the answer to an error."""
    if isinstance(error, Forbidden):
        known = str(error) in who.ACTIONS
        return 403, "Not allowed", ctx.t("You may not do this: {action}.", action=error) if known else str(error)
    if isinstance(error, NotFound):
        return 404, "Not found", str(error)
    if isinstance(error, BadRequest):
        return 400, "Bad request", str(error)
    if isinstance(error, RedisUnavailable | RedisRefused):
        return 503, "Redis does not answer", ctx.masker.text(str(error))
    if isinstance(error, JobdError):
        return 409, "Error", ctx.masker.text(str(error))
    return 500, "Something broke", "see the log of this process for web.failed"


def _host_name(host: str) -> str:
    """The header Host without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _nobody(shared: Shared, request: Request) -> Context:
    """A request of somebody who may do nothing."""
    raw = request.scope.get("query_string", b"").decode("ascii", "replace")
    query = dict(parse_qsl(raw, keep_blank_values=True, errors="surrogateescape", max_num_fields=100))
    language = choose(request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", ""))
    return Context(
        shared=shared,
        user=User(""),
        allowed=frozenset(),
        base=request.scope.get("root_path", "").rstrip("/"),
        path=dict(request.path_params),
        query=query,
        language=language,
        address=request.client.host if request.client else "",
    )


async def _fields(request: Request, api: bool) -> dict[str, list[str]]:
    """What was sent: a form, or for programs one JSON object. Raises `BadRequest`."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise BadRequest(f"the request has more than {MOST_BYTES:,} bytes")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    wanted = "application/json" if api else "application/x-www-form-urlencoded"
    if kind != wanted:
        raise BadRequest(f"Content-Type is {kind[:50]!r}; send {wanted}")
    if not api:
        found: dict[str, list[str]] = {}
        try:
            pairs = parse_qsl(
                body.decode("ascii"), keep_blank_values=True, errors="surrogateescape", max_num_fields=500
            )
        except ValueError:
            raise BadRequest("the form cannot be read, or has more than 500 fields") from None
        for name, value in pairs:
            found.setdefault(name, []).append(value)
        return found
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError):
        sent = None
    if not isinstance(sent, dict):
        raise BadRequest('send one JSON object, such as {"action": "retry", "key": ["…"]}')
    return {
        name: [str(each) for each in (value if isinstance(value, list) else [value])] for name, value in sent.items()
    }


def _done(done: Done, api: bool) -> Response:
    told = {name: count for name, count in done.counts.items() if count or name == "moved"}
    if api:
        return _json({"action": done.action, **told})
    mark = "&" if "?" in done.back else "?"
    counts = "".join(f"&{name}={count}" for name, count in told.items())
    return RedirectResponse(f"{done.back}{mark}did={done.action}{counts}", 303)


def _json(data: Any, status: int = 200) -> Response:
    # With all but ASCII escaped: a name may hold what is no text in UTF-8.
    text = json.dumps(data).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Response(text, status, media_type="application/json")


async def _static(request: Request) -> Response:
    path = _STATIC / request.path_params["name"]
    if path.parent != _STATIC or path.suffix not in _TYPES or not path.is_file():
        return Response("not found\n", 404, media_type="text/plain")
    return Response(path.read_bytes(), media_type=_TYPES[path.suffix], headers={"cache-control": _YEAR})


async def _nothing(request: Request, ctx: Context) -> Response:
    raise NotFound("there is no such page")
