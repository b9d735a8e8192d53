"""The ASGI application: which page answers which address, to whom, and what becomes of errors."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import quote, unquote, urlencode

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route, compile_path

from jobd.client import source_links
from jobd.client.errors import ConfigError, JobdError, RedisUnavailable
from jobd.client.push import Client
from jobd.web import answers, assets, audit, csrf, finder, sent, settings
from jobd.web import auth as who
from jobd.web.auth import Authenticator, Authorize, Queues, Rules, User
from jobd.web.context import BadRequest, Context, Done, Download, Forbidden, MustSearch, NotFound, Shared, View
from jobd.web.downloads import Downloads, FileResponse, headers_of
from jobd.web.headers import SecurityHeaders, policy_headers
from jobd.web.links import JobLinks, Links
from jobd.web.live import Live, Look, Picture
from jobd.web.masking import WORDS, Masker, MaskValue
from jobd.web.openapi import document as openapi
from jobd.web.pages import (
    activity,
    bulk,
    busy,
    cron,
    cron_edit,
    edit,
    export,
    failures,
    jobs,
    many,
    metrics,
    overview,
    queue_list,
    queues,
    redis,
    sets,
    stacks,
    trash,
)
from jobd.web.places import Kind
from jobd.web.render import PAGES as MENU
from jobd.web.render import RESULTS, digest, heading_figures, page, part
from jobd.web.text import choose
from jobd.web.threads import RETRY_AFTER, Overloaded

logger = logging.getLogger("jobd")

_STILL = ("q", *many.FORM, "after", "offset", "cursor", "sample")
"""Parameters of a page that is searched or deep in a list: it stays as it is until it is asked for again."""
_TYPED = ("/edit", "/cron-edit")
"""Pages in which somebody types."""
_FILTERED = "/busy"
"""A page whose fields leave out rows, and have nothing searched."""
_MOST_KEPT_BYTES = 300_000
"""Of the answer of a page whose last view is kept: there are a few dozen, and each may be asked for by anybody."""
_MOST_PAGE = 4_000
"""Characters of the path and query of a page that is kept up to date."""

Show: TypeAlias = Callable[[Context], "View | Download"]
Change: TypeAlias = Callable[[Context], "View | Done"]


def _of_set(kind: Kind) -> tuple[str, Show, Change]:
    return f"/{kind}", lambda ctx: sets.show(kind, ctx), lambda ctx: sets.change(kind, ctx)


PAGES: tuple[tuple[str, Show, Change | None], ...] = (
    ("/", overview.overview, None),
    ("/queues", queue_list.show, queue_list.change),
    ("/queues/{name:path}", queues.queue, queues.change),
    _of_set("retries"),
    _of_set("scheduled"),
    _of_set("dead"),
    ("/jobs/{jid:path}", jobs.job, jobs.change),
    ("/busy", busy.busy, busy.change),
    ("/busy/{identity:path}", stacks.show, stacks.change),
    ("/failures", failures.show, failures.change),
    ("/cron", cron.show, cron_edit.change),
    ("/cron/{name:path}", cron.show_entry, cron_edit.change),
    ("/metrics", metrics.show, None),
    ("/metrics/{name:path}", metrics.show_class, None),
    ("/redis", redis.show, None),
    ("/activity", activity.show, None),
)
"""Each page is at its address for people, and below `/api/v1` for programs."""
BESIDES: tuple[tuple[str, Show, Change | None], ...] = (
    ("/export", export.show, None),
    ("/bulk/{id}", bulk.show, bulk.change),
    ("/edit", edit.show, edit.change),
    ("/undo/{id}", trash.show, trash.change),
    ("/cron-edit", cron_edit.show, None),
)
"""To what pages lead, at the same two addresses: a file, how far a change is, forms of a job and of a cron entry."""
FOR_PROGRAMS: tuple[tuple[str, Show], ...] = (
    ("/stats", overview.stats),
    ("/stats/queues", overview.stats_queues),
    ("/api/v1/totals", overview.totals_only),
    ("/metrics.csv", metrics.table),
)


def app(
    client: Client | None = None,
    *,
    auth: Authenticator | Sequence[Authenticator] | None = None,
    authorize: Authorize | None = None,
    queues: Queues | None = None,
    read_only: bool | None = None,
    mask: Iterable[str] = WORDS,
    unmasked: Mapping[str, Collection[str]] | None = None,
    mask_value: MaskValue | None = None,
    trusted_origins: Collection[str] = (),
    frame_ancestors: Collection[str] = (),
    hosts: Collection[str] = (),
    title: str = "jobd",
    environment: str = "",
    streams: bool = True,
    job_links: JobLinks | None = None,
    source_link: str = "",
    source_root: str = "",
    undo: bool = True,
) -> Starlette:
    """Make the dashboard, an ASGI application that can be mounted under any path.

    - `client`: whose Redis is shown [that of the jobs of this process].
    - `auth`: who asks: `Basic`, `Tokens`, a function of a Starlette request that returns a name or None, or several.
    - `authorize(user, action)`: whether a user may do one of `ACTIONS`; it may be async. [all may do all but `reveal`]
    - `queues`: patterns of those in which a user may do it, or a function, async or not, of the user's name. [all]
    - `read_only`: nothing can be changed [True without `auth` and `authorize`, else False].
    - `mask`: words by which the keys of secrets are told [`WORDS`].
    - `unmasked`: for names of jobs the keys in their arguments that are no secrets there, `{"app.Pay": ["card_type"]}`.
    - `mask_value(job, path, value)`: True hides a value in a job's arguments, False shows it, None leaves it to the
      words. `job` is the payload; `path` begins with an argument's place or name. Where it fails, the value is hidden.
    - `trusted_origins`: origins, such as `https://ops.example.com`, from whose pages changes may come besides.
    - `frame_ancestors`: origins whose pages may show it in a frame [none].
    - `hosts`: names under which it answers, without a port [any].
    - `title`: what the pages are called [jobd]; `environment`: shown beside it, `production` as a red bar [""].
    - `streams`: whether pages may be kept up to date by a stream; without, and under WSGI, they ask again and again.
    - `job_links(job)`: links for the page of a job, a `JobEntry` with its secrets: pairs of a label and an address.
    - `source_link`: address of a line of code, in which `{path}` or `{file}`, and `{line}`, are filled in [none].
    - `source_root`: folder of the application where it runs, to which `{path}` is relative; `*` is any one folder.
    - `undo`: whether what is deleted is kept for an hour, to be put back [True].

    Raises `ConfigError`.
    """
    sources = _checked(trusted_origins, source_link, source_root)
    masker = Masker(mask, unmasked=unmasked, mask_value=mask_value)
    headers, rules = policy_headers(frame_ancestors), _rules(auth, authorize, queues, read_only)
    shared = Shared(client, masker, title, environment, Links(job_links), sources, undo)
    return _application(Site(shared, rules, trusted_origins, hosts, streams), headers)


def _rules(
    auth: Authenticator | Sequence[Authenticator] | None,
    authorize: Authorize | None,
    queues: Queues | None,
    read_only: bool | None,
) -> Rules:
    given = () if auth is None else (auth,) if callable(auth) else tuple(auth)
    read_only = _is_unguarded(given, authorize) if read_only is None else read_only
    return Rules(given, authorize, who.checked_queues(queues), read_only)


def _checked(trusted_origins: Collection[str], source_link: str, source_root: str) -> source_links.SourceLinks:
    if wrong := [origin for origin in trusted_origins if "://" not in origin or origin.count("/") != 2]:
        raise ConfigError(f"trusted_origins: {wrong[0]!r} is no origin; write https://ops.example.com")
    if fault := source_links.problem(source_link, source_root):
        raise ConfigError(f"{fault[0]}: {(source_link if fault[0] == 'source_link' else source_root)!r} {fault[1]}")
    return source_links.SourceLinks(source_link, source_root)


def _application(site: Site, headers: Mapping[str, str]) -> Starlette:
    guarded = Middleware(SecurityHeaders, headers=headers)
    made = Starlette(False, list(site.routes()), [guarded], {405: answers.not_taken})
    made.state.live, made.state.downloads = site.live, site.downloads
    return made


def _is_unguarded(given: Sequence[Authenticator], authorize: Authorize | None) -> bool:
    if given or authorize is not None:
        return False
    logger.warning("web.read_only: neither auth nor authorize is given, so nothing can be changed")
    return True


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
        rules: Rules,
        trusted: Collection[str],
        hosts: Collection[str],
        streams: bool,
    ) -> None:
        self._streams, self.downloads = streams, Downloads()
        self._shared, self.live = shared, Live(self._draw, shared.threads)
        self._rules = rules
        self._trusted, self._hosts = frozenset(map(str.lower, trusted)), frozenset(map(str.lower, hosts))

    def routes(self) -> Iterable[Route]:
        """All addresses; those that change something only where that is allowed at all."""
        for path, show in FOR_PROGRAMS:
            yield self._route(path, _Endpoint(show, None, api=True))
        yield Route("/health", self._health)
        yield Route("/live", self._guarded(self._stream, "stream"))
        yield Route("/api/v1/openapi.json", self._guarded(self._openapi, "openapi"))
        yield Route("/find", self._guarded(_find, "find"))
        for name in settings.SETTINGS:
            yield Route(f"/{name}", self._guarded(_setting(name), name))
        yield Route("/static/{name:path}", _static)
        for path, show, change in (*PAGES, *BESIDES):
            allowed = None if self._rules.read_only else change
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
                    return self._challenge(request)
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
        if self._hosts and sent.host_name(host) not in self._hosts:
            raise Forbidden(f"Host is {host!r}, under which this dashboard does not answer")
        user = await who.identify(request, self._rules.authenticators) if self._rules.authenticators else User("")
        if user is not None:
            headers = {name.lower(): value for name, value in request.headers.items()}
            if problem := csrf.problem(request.method, headers, by_token=user.by_token, trusted=self._trusted):
                address = request.client.host if request.client else ""
                audit.refused(user.name, address, request.method, request.url.path, problem)
                raise Forbidden(problem)
        return user

    def _challenge(self, request: Request) -> Response:
        challenges = [text for each in self._rules.authenticators if (text := getattr(each, "challenge", None))]
        response = answers.refusal(request, "log in", 401)
        for text in challenges:
            response.headers.append("www-authenticate", text)
        return response

    async def _context(self, request: Request, user: User) -> Context:
        sent.query_of(sent.raw_query(request))
        ctx = _nobody(self._shared, request)
        ctx.user = user
        ctx.allowed, ctx.reach = await self._rules.rights_of(user.name)
        return ctx

    async def _run(self, request: Request, ctx: Context, endpoint: _Endpoint) -> Response:
        ctx.for_people = not endpoint.api
        threads = self._shared.threads
        if request.method == "POST" and endpoint.change:
            change = endpoint.change
            ctx.fields, ctx.changes = await sent.fields_of(request, endpoint.api), True
            path = request.url.path.removeprefix(ctx.base).removeprefix("/api/v1")
            if change is not jobs.change or not _looks_through(endpoint, ctx):
                return await self._shared.changing.run(lambda: self._carried_out(change, ctx, path))
            ctx.may_search = True
            async with threads.search(ctx.user.name or ctx.address):
                return await self._shared.changing.run(lambda: self._carried_out(change, ctx, path))
        assert endpoint.show
        show, kept_as = endpoint.show, _kept_as(request, ctx)
        if not _looks_through(endpoint, ctx):
            found = await threads.run(lambda: self._shown(show, ctx, kept_as, request.method))
            if found is not None:
                return found
        ctx.may_search = True
        async with threads.search(ctx.user.name or ctx.address):
            found = await threads.run(lambda: self._shown(show, ctx, kept_as, request.method))
        assert found
        return found

    def _shown(self, show: Show, ctx: Context, kept_as: Hashable, method: str) -> Response | None:
        """The page; None when it has to search and may not yet."""
        with self._shared.outage.noticed():
            try:
                view = show(ctx)
            except MustSearch:
                return None
            if isinstance(view, Download):
                return self._file(view, ctx, method)
            if ctx.for_people:
                ctx.read_totals()
        response = _response(view, ctx)
        if view.status == 200 and "whole" not in ctx.query and len(response.body) <= _MOST_KEPT_BYTES:
            self._shared.views.keep(kept_as, view)
        return response

    def _file(self, found: Download, ctx: Context, method: str) -> Response:
        if method == "HEAD":
            return Response(media_type=found.media_type, headers=headers_of(found))
        end = self.downloads.begin(ctx.user.name or ctx.address)
        return FileResponse(found, self._shared.threads, end)

    def _carried_out(self, change: Change, ctx: Context, path: str) -> Response:
        self._shared.check()  # with the patience of a page, before anything is begun
        result = self._change(change, ctx, path)
        if isinstance(result, Done):
            return answers.result(result, not ctx.for_people)
        if ctx.for_people:
            ctx.read_totals()
        return _response(result, ctx)

    def _change(self, change: Change, ctx: Context, path: str) -> View | Done:
        result = audit.carried_out(change, ctx, path)
        if isinstance(result, Done):
            self._shared.forget()
        return result

    async def _failed(self, request: Request, ctx: Context, error: Exception) -> Response:
        """The answer to an error, made in a thread as pages are, unless there is too much to do for these."""
        if not isinstance(error, Overloaded):
            try:
                return await self._shared.threads.run(lambda: self._judged(request, ctx, error))
            except Overloaded as full:
                error = full
        return self._judged(request, ctx, error)

    def _judged(self, request: Request, ctx: Context, error: Exception) -> Response:
        status, title, text = answers.judge(error, ctx)
        if status == 500:
            logger.error("web.failed %s", request.url.path, exc_info=error)
        for_programs = answers.is_for_programs(request)
        if isinstance(error, RedisUnavailable) and "view" in ctx.allowed and request.method != "POST":
            response = self._stale(request, ctx, text, for_programs=for_programs)
        elif for_programs:
            response = answers.as_json({"error": text}, status)
        else:
            # When Redis answers again, the page comes by itself.
            stream = _stream_of(View("", {}, ""), ctx) if status == 503 and ctx.allowed else ""
            response = HTMLResponse(page(View("error.html", {"text": text}, title), ctx, stream=stream), status)
        if response.status_code in (429, 503):
            response.headers["retry-after"] = str(RETRY_AFTER)
        return response

    def _stale(self, request: Request, ctx: Context, problem: str, *, for_programs: bool) -> Response:
        """What a page showed last, with its age; the totals alone if it has shown nothing."""
        kept, totals = self._shared.views.last(_kept_as(request, ctx)), self._shared.last
        ctx.totals = totals
        ctx.stale_since = kept.at if kept else totals.now if totals else None
        own_path = request.url.path.removeprefix(ctx.base)
        title = next((name for path, name, *_ in MENU if path == own_path), "No answer")
        if for_programs:
            last = kept.view.data if kept else None
            return answers.as_json({"error": problem, "last": last, "read_at": ctx.stale_since}, 503)
        view = kept.view if kept else View("error.html", {"text": ctx.t("This page was not read before.")}, title)
        # When Redis answers again, the page comes by itself.
        return HTMLResponse(page(view, ctx, stream=_stream_of(view, ctx), problem=problem), 503)

    async def _stream(self, request: Request, ctx: Context) -> Response:
        """What changes on a page: a stream of events, or with `once` its state for those who ask again and again."""
        wanted = ctx.query.get("page", "")
        if len(wanted) > _MOST_PAGE or (wanted and _find_page(wanted) is None):
            raise BadRequest("page is no page of this site")
        if _is_still(wanted, sent.query_of(wanted.partition("?")[2])):
            raise BadRequest(f"page has one of {', '.join(_STILL)}: such a page is not kept up to date")
        look, seen = Look(wanted, ctx.language, ctx.allowed, ctx.base, ctx.reach), ctx.query.get("seen", "")[:32]
        since = sent.since_of(ctx.query)
        if "once" in ctx.query:
            picture = await self.live.picture(look, since=since)
            tag = f'"{picture.tag()}"'
            if request.headers.get("if-none-match") == tag:
                return Response(status_code=304, headers={"etag": tag})
            response = answers.as_json(picture.document(seen))
            response.headers["etag"] = tag
            return response
        if "wsgi_environ" in request.scope or not self._streams:
            # A stream would hold a thread of a WSGI server as long as the page is open; on 204 browsers ask no more.
            return Response(status_code=204)
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        if self.live.full:
            return Response("too many streams\n", 503, headers={"retry-after": "30"}, media_type="text/plain")

        async def may() -> bool:
            try:
                user = await self._enter(request)
                now = await self._context(request, user) if user is not None else None
                return now is not None and (now.allowed, now.reach) == (look.allowed, look.reach)
            except Forbidden:
                return False

        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(
            self.live.listen(look, seen, may, since), media_type="text/event-stream", headers=headers
        )

    def _draw(self, look: Look) -> Picture:
        """Read a view for all who look at it; what is wrong with a page becomes its content."""
        query = look.page.partition("?")[2]
        ctx = Context(
            shared=self._shared,
            user=User(""),
            allowed=look.allowed,
            reach=look.reach,
            base=look.base,
            path={},
            query=sent.query_of(query),
            language=look.language,
            page=look.page,
        )
        html, at = None, time.time()
        with self._shared.outage.noticed():
            if look.page:
                found = _find_page(look.page)
                assert found
                show, ctx.path = found
                html = self._content(show, ctx)
            ctx.read_totals()
        return Picture(heading_figures(ctx), html, digest(html) if html else "", at)

    def _content(self, show: Show, ctx: Context) -> str:
        try:
            view = show(ctx)
            if isinstance(view, Download):
                raise NotFound("this address has a file, and nothing to look at")
            return part(view, ctx)
        except RedisUnavailable:
            raise
        except Exception as error:
            _, title, text = answers.judge(error, ctx)
            if not isinstance(error, JobdError | BadRequest | Forbidden | NotFound):
                logger.error("web.failed %s", ctx.page.partition("?")[0], exc_info=error)
            return part(View("error.html", {"text": text}, title), ctx)

    async def _health(self, request: Request) -> Response:
        """For load balancers, who do not log in and are told nothing else."""
        try:
            await self._shared.threads.run(self._shared.check)
        except (JobdError, Overloaded):
            return Response("unavailable\n", 503, {"retry-after": str(RETRY_AFTER)}, "text/plain")
        return Response("ok\n", media_type="text/plain")

    async def _openapi(self, request: Request, ctx: Context) -> Response:
        return answers.as_json(openapi(ctx.base, writes=not self._rules.read_only))


def _kept_as(request: Request, ctx: Context) -> Hashable:
    """What the last view of a page is kept under: what it shows depends on the address and on the user's rights."""
    return request.url.path, request.url.query, ctx.allowed, ctx.reach


def _looks_through(endpoint: _Endpoint, ctx: Context) -> bool:
    """Whether a page has to look through a set or a queue, which takes as long as it may."""
    named = ctx.query.get("in") and ctx.query.get("key")
    searched = endpoint.show is not busy.busy and any(ctx.query.get(name) for name in ("q", *many.FORM))
    return searched or (endpoint.show is jobs.job and not named)


def _response(view: View, ctx: Context) -> Response:
    if ctx.for_people:
        return HTMLResponse(page(view, ctx, stream=_stream_of(view, ctx)), view.status)
    return answers.as_json(view.data, view.status)


def _nobody(shared: Shared, request: Request) -> Context:
    """A request of somebody who may do nothing."""
    try:
        query = sent.query_of(sent.raw_query(request))
    except BadRequest:
        query = {}
    chosen = request.cookies.get(settings.cookie_of("language"))
    base = request.scope.get("root_path", "").rstrip("/")
    kept = {name: value for name, value in query.items() if name not in RESULTS}
    address = quote(str(request.scope["path"]).removeprefix(base), errors="surrogateescape")
    return Context(
        shared=shared,
        user=User(""),
        allowed=frozenset(),
        base=base,
        path=dict(request.path_params),
        query=query,
        language=choose(chosen, request.headers.get("accept-language", "")),
        address=request.client.host if request.client else "",
        page=address + (f"?{urlencode(kept, errors='surrogateescape')}" if kept else ""),
        wishes=settings.wishes(request),
    )


_MATCHED = tuple((*compile_path(path), show) for path, show, _ in (*PAGES, *BESIDES))


def _find_page(page: str) -> tuple[Show, dict[str, str]] | None:
    """What shows a page, and the parts of its path; None when there is none."""
    path = unquote(page.partition("?")[0], errors="surrogateescape")
    for regex, _, convertors, show in _MATCHED:
        if found := regex.match(path):
            return show, {name: convertors[name].convert(value) for name, value in found.groupdict().items()}
    return None


def _is_still(page: str, query: Mapping[str, str]) -> bool:
    """Whether a page with these parameters stays as it is."""
    path = page.partition("?")[0]
    names = set(_STILL) - (set(many.FORM) if path == _FILTERED else set())
    return path in _TYPED or any(query.get(name) for name in names)


def _stream_of(view: View, ctx: Context) -> str:
    """The address that keeps a page up to date; that of the figures at its head alone for one that stays as it is."""
    still = ctx.changes or ctx.may_search or view.status != 200 or _is_still(ctx.page, ctx.query)
    return ctx.url("/live", page="" if still or len(ctx.page) > _MOST_PAGE else ctx.page)


async def _static(request: Request) -> Response:
    version, accepted = request.query_params.get("v", ""), request.headers.get("accept-encoding", "")
    found = assets.answer(request.path_params["name"], version, accepted)
    if found is None:
        return Response("not found\n", 404, media_type="text/plain")
    return Response(found[0], headers=found[1])


def _setting(name: str) -> Callable[[Request, Context], Any]:
    async def run(request: Request, ctx: Context) -> Response:
        return settings.choose(name, ctx)

    return run


async def _find(request: Request, ctx: Context) -> Response:
    def run() -> Response:
        with ctx.shared.outage.noticed():
            return finder.find(ctx)

    return await ctx.shared.threads.run(run)


async def _nothing(request: Request, ctx: Context) -> Response:
    raise NotFound("there is no such page")
