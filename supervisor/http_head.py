"""Reads the head of an HTTP request, and writes responses. Pure: sockets are left to `endpoint.py`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

METHODS = ("GET", "HEAD")
HEAD_END = re.compile(rb"\r?\n\r?\n")
HEAD_END_BYTES = 4
_REQUEST_LINE = re.compile(r"([!-~]+) ([!-~]+) HTTP/1\.[01]")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*")


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for: a path without its query, and the `Accept` headers as one."""

    method: str
    path: str
    accept: str


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; `status` is HTTP's number."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"

    def encoded(self, *, with_body: bool = True) -> bytes:
        """The bytes to send; to HEAD the body is only described."""
        lines = [
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            "Cache-Control: no-store",
            "Connection: close",
            *([f"Allow: {', '.join(METHODS)}"] if self.status == HTTPStatus.METHOD_NOT_ALLOWED else []),
        ]
        head = "\r\n".join(lines).encode() + b"\r\n\r\n"
        return head + self.body if with_body else head


def text(status: int, words: str) -> Response:
    """A response of one line."""
    return Response(status, words.encode() + b"\n")


def parse(head: bytes) -> Request | Response:
    """The request in a head, without the empty line that ends it; or the response that refuses it."""
    first, *rest = head.decode("latin-1").replace("\r\n", "\n").split("\n")
    line, headers = _REQUEST_LINE.fullmatch(first), [_HEADER.fullmatch(each) for each in rest]
    if line is None or None in headers:
        return text(HTTPStatus.BAD_REQUEST, "this is no HTTP request")
    method, target = line.groups()
    if method not in METHODS:
        return text(HTTPStatus.METHOD_NOT_ALLOWED, f"only {' and '.join(METHODS)} are answered")
    try:
        path = urlsplit(target).path
    except ValueError:
        return text(HTTPStatus.BAD_REQUEST, "the address cannot be read")
    accept = ", ".join(each[2] for each in headers if each and each[1].lower() == "accept")
    return Request(method, path, accept)
