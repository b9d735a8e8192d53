"""What a user chooses for a browser: kept in cookies, so that the server draws the page right at once."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from starlette.requests import Request
from starlette.responses import RedirectResponse

from jobd.web.context import BadRequest, Context
from jobd.web.text import LANGUAGES

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "retries": ("when", "queue", "args", "failures", "error"),
    "scheduled": ("when", "queue", "args"),
    "dead": ("when", "queue", "args", "failures", "error"),
    "queue": ("args", "when"),
}
"""Columns that can be hidden, for each list of jobs by itself; all queues are alike."""
SHOW_ALL = "none"


def _choices(columns: tuple[str, ...]) -> tuple[str, ...]:
    some = (each for count in range(1, len(columns) + 1) for each in combinations(columns, count))
    return (SHOW_ALL, *map(".".join, some))


SETTINGS: Mapping[str, tuple[str, ...]] = {
    "language": tuple(LANGUAGES),
    "theme": ("system", "light", "dark"),
    "clock": ("utc", "local"),
    "times": ("relative", "exact"),
    "rows": ("usual", "compact", "roomy"),
    "keys": ("on", "off"),
    **{f"hide-{name}": _choices(columns) for name, columns in COLUMNS.items()},
}
"""What can be chosen; the first of each is how it is without a choice, but for the language."""
_YEAR = 365 * 24 * 3600


def cookie_of(setting: str) -> str:
    """The cookie that keeps a choice."""
    return f"jobd_{setting}"


def toggled(listed: str, hidden: str, column: str) -> str:
    """What is hidden of a list, with one column more, or less."""
    chosen = set(hidden.split(".")) ^ {column}
    return ".".join(each for each in COLUMNS[listed] if each in chosen) or SHOW_ALL


def wishes(request: Request) -> dict[str, str]:
    """What was chosen; what makes no sense counts as no choice."""
    found = {}
    for name, values in SETTINGS.items():
        value = request.cookies.get(cookie_of(name), "")
        found[name] = value if value in values else values[0]
    return found


def choose(setting: str, ctx: Context) -> RedirectResponse:
    """Keep the choice `to`, and go back to the page `from`. Raises `BadRequest`."""
    value, back = ctx.query.get("to", ""), ctx.query.get("from", "/")
    if value not in SETTINGS[setting]:
        raise BadRequest(f"to is {value[:20]!r}; give one of {', '.join(SETTINGS[setting])}")
    if not back.startswith("/") or back.startswith(("//", "/\\")) or not back.isprintable():
        raise BadRequest("from is no page of this site; leave it out")
    response = RedirectResponse(ctx.base + back, 303)
    response.set_cookie(
        cookie_of(setting), value, max_age=_YEAR, path=ctx.base or "/", samesite="lax", httponly=setting == "language"
    )
    return response
