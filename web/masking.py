"""Keeps secrets out of what leaves the server: pages, the JSON interface, messages of errors.

Values under a telling key are replaced whole, and so is what looks like a secret inside of text. Arguments by position
have no key: of those only the second rule holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from jobd.web.preview import MOST_WHOLE, untorn

HIDDEN = "••••••"
WORDS = (
    *("pass", "secret", "token", "apikey", "authorization", "credential", "private"),
    *("cvv", "ssn", "iban", "cardnumber", "cookie", "auth", "card"),
)
"""A key that holds one of these is told by it; case, `_`, `-` and spaces do not count."""
_WHOLE = ("auth", "card")
"""Of these only where they are words of their own: an author, and what is discarded, is no secret."""
_OF_CLASSES = ("Error", "Exception", "Warning", "Failure", "Expired", "Invalid", "Missing", "Required", "NotFound")
_COLON = "".join(rf"(?<![A-Za-z]{end})" for end in (*_OF_CLASSES, "Job", "Worker", "Mailer")) + ":(?!:)"
"""One that assigns: not those of `Password::ResetJob`, nor that after the name of a class, `TokenError: expired`."""
_DEEPEST = 200
_IGNORED = re.compile(r"[\s_-]+")
_VALUE = r"""(\\{0,4}"[^"]*"?|'[^']*'?|\[[^\]]*\]?|\{[^}]*\}?|[^\s,;&"'}\])]+)"""
_PEM = r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)"
_SHAPES: tuple[tuple[tuple[str, ...], re.Pattern[str]], ...] = (
    (("://",), re.compile(r"(?<=://)[^\s/@:]{0,200}:\S{1,200}(?=@)")),
    (("bearer ",), re.compile(r"(?i)(?<=\bbearer )[\w.~+/=-]+")),
    (("basic ",), re.compile(r"(?i)(?<=\bbasic )[\w+/=]{8,}")),
    (("eyj",), re.compile(r"\beyJ[\w-]{5,500}\.[\w-]{1,4000}\.[\w-]{0,1000}")),
    (("-----begin ",), re.compile(_PEM, re.DOTALL)),
    (("k_live_", "k_test_"), re.compile(r"\b[sr]k_(?:live|test)_\w+")),
    (("akia",), re.compile(r"\bAKIA[0-9A-Z]{16}\b")),
    (("gh", "xox"), re.compile(r"\bgh[pousr]_\w{20,}|\bxox[abprs]-[\w-]{10,}")),
)
"""Each with what a text must hold, in lower case, for it to be there. What they repeat is bounded where a part could
begin anywhere: hostile text must not cost more than its length."""
_sign = re.compile("|".join(re.escape(hint) for hints, _ in _SHAPES for hint in hints)).search
"""Finds the first of what one of them must hold: most texts hold none, which is told at once."""


def _as_word(word: str) -> str:
    """A pattern of it as a word: `auth`, `x_auth`, `userAuth`, `AUTH`."""
    title, upper = word.capitalize(), word.upper()
    return rf"(?<![A-Za-z]){word}(?![a-z])|(?<![A-Z]){title}(?![a-z])|(?<![A-Za-z]){upper}(?![A-Za-z])"


class Masker:
    """Hides values whose key holds one of `words` [WORDS], and secrets by their shape."""

    reveals = False
    """Whether it hides nothing: then what it leaves of a job is kept nowhere."""

    def __init__(self, words: Iterable[str] = WORDS) -> None:
        known = tuple(_IGNORED.sub("", word.lower()) for word in words)
        self._all = tuple(filter(None, known))
        self._words = tuple(word for word in self._all if word not in _WHOLE)
        parts = ["(?i:" + "[_ -]?".join(map(re.escape, word)) + ")" for word in self._words]
        whole = "|".join(map(_as_word, [word for word in known if word in _WHOLE]))
        self._whole = re.compile(whole) if whole else None
        loose = "|".join([*parts, whole] if whole else parts)
        # Within text: `name = value`, `"name": "value"`, `name=value&…`, and the same escaped once more.
        name = rf"""((?:{loose})[\w-]{{0,40}}[\\"']{{0,4}}\s{{0,5}}(?:=>|=|{_COLON})\s{{0,5}})"""
        self._assigned = re.compile(name + _VALUE) if loose else None

    def hides(self, key: object) -> bool:
        """Whether the values under a key are hidden."""
        plain = _IGNORED.sub("", str(key).lower())
        if any(word in plain for word in self._words):
            return True
        return self._whole is not None and self._whole.search(str(key)) is not None

    def value(self, value: Any, depth: int = 0) -> Any:
        """The same value of JSON with its secrets hidden."""
        if depth > _DEEPEST:
            return "…"
        if isinstance(value, dict):
            return {
                self.text(str(key)): HIDDEN if self.hides(key) else self.value(item, depth + 1)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.value(item, depth + 1) for item in value]
        return self.text(value) if isinstance(value, str) else value

    def text(self, text: str) -> str:
        """The same text with what looks like a secret hidden."""
        text = untorn(text, MOST_WHOLE)
        plain, known = text.lower(), text.isascii()
        if not known or _sign(plain):
            for hints, shape in _SHAPES:
                if not known or any(hint in plain for hint in hints):
                    text = shape.sub(HIDDEN, text)
        if self._assigned and (not known or self._may_assign(plain)):
            text = self._assigned.sub(lambda found: found[1] + HIDDEN, text)
        return text

    def _may_assign(self, plain: str) -> bool:
        """Whether a text in lower case can hold an assignment at all: few do, and this is told fast."""
        if ":" not in plain and "=" not in plain:
            return False
        plain = plain.replace("_", "").replace("-", "").replace(" ", "")
        return any(word in plain for word in self._all)


class Open(Masker):
    """Hides nothing: for the page of one job, asked for by somebody who may see all that it holds."""

    reveals = True

    def hides(self, key: object) -> bool:
        """No value."""
        return False

    def value(self, value: Any, depth: int = 0) -> Any:
        """The same value."""
        return value

    def text(self, text: str) -> str:
        """The same text, cut to what is shown of any."""
        return untorn(text, MOST_WHOLE)
