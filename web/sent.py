"""What a request has sent: the parameters of its address, and a form, or for programs a JSON object."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

from jobd.web.context import BadRequest

MOST_BYTES = 1_000_000
"""Of what is sent with a change."""
_MOST_PARAMETERS = 100
_MOST_FIELDS = 500
_MOMENT = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")


def host_name(host: str) -> str:
    """The header Host without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def raw_query(request: Request) -> str:
    """The parameters of an address as they came."""
    found: bytes = request.scope.get("query_string", b"")
    return found.decode("ascii", "replace")


def query_of(raw: str) -> dict[str, str]:
    """The parameters of an address. Raises `BadRequest`."""
    try:
        return dict(parse_qsl(raw, keep_blank_values=True, errors="surrogateescape", max_num_fields=_MOST_PARAMETERS))
    except ValueError:
        raise BadRequest(f"the address has more than {_MOST_PARAMETERS} parameters") from None


def since_of(query: Mapping[str, str]) -> float:
    """When the content that a page shows had been read, in epoch seconds; now at most. Raises `BadRequest`."""
    given = query.get("since", "") or "0"
    if not _MOMENT.fullmatch(given):
        raise BadRequest(f"since is {given[:50]!r}; give epoch seconds, such as 1790000000.5")
    return min(float(given), time.time())


async def fields_of(request: Request, api: bool) -> dict[str, list[str]]:
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
    return _of_json(body) if api else _of_form(body)


def _of_form(body: bytes) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, errors="surrogateescape", max_num_fields=_MOST_FIELDS
        )
    except ValueError:
        raise BadRequest(f"the form cannot be read, or has more than {_MOST_FIELDS} fields") from None
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def _of_json(body: bytes) -> dict[str, list[str]]:
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError):
        sent = None
    if not isinstance(sent, dict):
        raise BadRequest('send one JSON object, such as {"action": "retry", "key": ["…"]}')
    found: dict[str, list[str]] = {}
    for name, value in sent.items():
        if value is None:
            continue
        values = value if isinstance(value, list) else [value]
        if any(isinstance(each, list | dict) for each in values):
            raise BadRequest(f"{name[:50]} holds an array or an object within; send JSON of your own as text")
        found[name] = [str(each) for each in values]
    for text in (each for name, values in found.items() for each in (name, *values)):
        try:
            text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise BadRequest("the request holds half of a surrogate pair, such as \\ud800, which is no text") from None
    return found
