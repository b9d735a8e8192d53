"""Whether a request that changes something comes from a page of this site. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def problem(method: str, headers: Mapping[str, str], *, by_token: bool, trusted: Collection[str] = ()) -> str | None:
    """Why a request is refused; None when it may pass. The names of `headers` are in lower case.

    `trusted` are origins such as `https://ops.example.com`, in lower case, from which requests may come besides;
    `by_token` says that the user was told by a token in `Authorization`, which no browser adds by itself.
    """
    if method in _SAFE:
        return None
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is not None and origin.lower() in trusted:
        return None
    if site is not None:
        if site in ("same-origin", "none"):
            return None
        return f"Sec-Fetch-Site is {site!r}: it was sent by another site; name that in trusted_origins if it is yours"
    if origin is not None:
        host = headers.get("host", "")
        if host and _host_of(origin) == host.lower():
            return None
        return (
            f"Origin is {origin!r} and Host is {host!r}: behind a proxy pass Host on unchanged, "
            "or name the origin in trusted_origins"
        )
    if by_token and "cookie" not in headers:
        return None
    return "it has neither Sec-Fetch-Site nor Origin; programs send a token in the header Authorization"


def _host_of(origin: str) -> str:
    """The host of an origin, with its port, in lower case; empty without any."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
