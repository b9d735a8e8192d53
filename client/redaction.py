"""Keeping passwords out of messages."""

from __future__ import annotations

import re

# Up to the last @: a password in which @ or / was not quoted is no less secret.
_PASSWORD = re.compile(r":(?!//)\S+(?=@)|(?<=password)=[^&#]*")


def mask(text: str) -> str:
    """Return `text` with the passwords of addresses in it replaced by `***`."""
    return _PASSWORD.sub(lambda found: f"{found[0][0]}***", text)
