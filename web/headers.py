"""The headers that every answer has: what browsers may do with a page, and that nobody keeps it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobd.client.errors import ConfigError

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors "
)
"""Nothing inline and nothing from elsewhere, so that text which becomes part of a page by mistake cannot run."""
_OTHERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
_ORIGIN = re.compile(r"'self'|https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:.]+\](:[0-9]{1,5})?")
"""What may stand in a policy: nothing else, as a `;` or a space would begin another rule."""


def policy_headers(frame_ancestors: Collection[str] = ()) -> dict[str, str]:
    """All headers; pages of `frame_ancestors` may show the dashboard in a frame. Raises `ConfigError`."""
    if isinstance(frame_ancestors, str):
        raise ConfigError(f"frame_ancestors is {frame_ancestors!r}; give a list, [{frame_ancestors!r}]")
    for origin in frame_ancestors:
        if not _ORIGIN.fullmatch(origin):
            raise ConfigError(f"frame_ancestors: {origin!r} is no origin; write https://portal.example.com or 'self'")
    found = {"content-security-policy": _POLICY + (" ".join(frame_ancestors) or "'none'"), **_OTHERS}
    # The older header knows no origins: with it no browser would show the frame.
    return found if frame_ancestors else {**found, "x-frame-options": "DENY"}


class SecurityHeaders:
    """Adds them to every answer of an ASGI application."""

    def __init__(self, app: ASGIApp, headers: Mapping[str, str]) -> None:
        """`headers` as `policy_headers` gives them."""
        self._app, self._headers = app, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                headers.setdefault("cache-control", "private, no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)
