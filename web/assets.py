"""Scripts and styles of the pages: read once, compressed once, under addresses that change with their content."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript"}
_INDENTS = re.compile(rb"(?m)^[ \t]*(?://.*)?")
"""What browsers need not be sent of our scripts; their lines keep their numbers."""
_YEAR = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file: its bytes, the same compressed, and the digest that stands in its address."""

    kind: str
    content: bytes
    compressed: bytes
    digest: str


@cache
def assets() -> Mapping[str, Asset]:
    """All files below `static` that are sent, by their path there."""
    found = {}
    for path in sorted(FOLDER.rglob("*")):
        if path.suffix in _TYPES:
            content = path.read_bytes()
            if path.suffix == ".js" and path.parent == FOLDER:
                content = _INDENTS.sub(b"", content)
            digest = hashlib.sha256(content).hexdigest()[:16]
            compressed = gzip.compress(content, 9, mtime=0)
            found[path.relative_to(FOLDER).as_posix()] = Asset(_TYPES[path.suffix], content, compressed, digest)
    return found


def address(name: str) -> str:
    """Path and query of a file; an answer to it may be kept for good. Raises `KeyError`."""
    return f"/static/{name}?v={assets()[name].digest}"


def answer(name: str, version: str, accepted: str) -> tuple[bytes, dict[str, str]] | None:
    """Body and headers for a file, None without such a file.

    One that is asked for by the digest of another is not kept: two releases may run side by side behind one address.
    """
    asset = assets().get(name)
    if asset is None:
        return None
    headers = {
        "content-type": f"{asset.kind}; charset=utf-8",
        "cache-control": _YEAR if version == asset.digest else "no-cache",
        "vary": "accept-encoding",
    }
    if "gzip" not in accepted.lower():
        return asset.content, headers
    return asset.compressed, {**headers, "content-encoding": "gzip"}
