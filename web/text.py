"""What the pages say, in the languages that they know; and text of others, made fit to be shown.

English is the key, other languages are catalogues.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jobd.web.vietnamese import VIETNAMESE

LANGUAGES = {"en": "English", "vi": "Tiếng Việt"}

_CATALOGUES: Mapping[str, Mapping[str, str]] = {"en": {}, "vi": VIETNAMESE}

_UNSHOWN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


def printable(text: str) -> str:
    """`text` with what a page cannot show, or would show in another order, written as escapes."""
    if text.isprintable():
        return text  # as most texts are, and a page has thousands
    clean = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return _UNSHOWN.sub(lambda found: f"\\u{ord(found[0]):04x}", clean)


def translate(text: str, language: str, values: Mapping[str, Any]) -> str:
    """A sentence in a language, with its values; English where the catalogue lacks it."""
    found = _CATALOGUES.get(language, {}).get(text, text)
    return found.format(**values) if values else found


def choose(chosen: str | None, accepted: str) -> str:
    """The language of a user: the one chosen, else the first of the header `Accept-Language` that is known."""
    if chosen in LANGUAGES:
        return chosen
    wishes = []
    for place, part in enumerate(accepted.split(",")[:20]):
        name, _, quality = part.strip().partition(";q=")
        try:
            weight = float(quality or 1)
        except ValueError:
            weight = 0.0
        wishes.append((-weight, place, name.lower().partition("-")[0]))
    return next((name for weight, _, name in sorted(wishes) if name in LANGUAGES and weight < 0), "en")
