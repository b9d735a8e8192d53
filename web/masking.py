"""Keeps secrets out of what leaves the server: pages, the JSON interface, messages of errors.

Values under a telling key are replaced whole, and so is what looks like a secret inside of text. Arguments by position
have no key: of those only the second rule holds, unless the application tells more by a function of its own.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from jobd.client import payload as wire
from jobd.client.errors import ConfigError
from jobd.web.preview import MOST_WHOLE, untorn

logger = logging.getLogger("jobd")

Path: TypeAlias = "tuple[str | int, ...]"
"""Where a value stands in the arguments of a job: a place or a keyword, then keys and places within it."""
MaskValue: TypeAlias = Callable[[Mapping[str, Any], Path, Any], "bool | None"]
"""Of a job's payload, a place in it and the value there: True hides it, False shows it, None leaves it to the words."""

HIDDEN = "••••••"
ENCRYPTED = "[encrypted]"
"""The last argument of a job that its client has encrypted: Sidekiq Enterprise says so by `encrypt` in the payload."""
WORDS = (
    *("pass", "secret", "token", "apikey", "authorization", "credential", "private"),
    *("pwd", "accesskey", "cvv", "cvc", "ssn", "iban", "creditcard", "cardnumber", "cardno", "cardholder", "cookie"),
    *("oauth", "authcode", "authkey", "auth", "card", "cards"),
)
"""A key that holds one of these is told by it; case, `_`, `-` and spaces do not count."""
_WHOLE = ("auth", "card", "cards")
"""Of these only where they are words of their own: an author, and what is discarded, is no secret."""
_OF_CLASSES = ("Error", "Exception", "Warning", "Failure", "Expired", "Invalid", "Missing", "Required", "NotFound")
_COLON = "".join(rf"(?<![A-Za-z]{end})" for end in (*_OF_CLASSES, "Job", "Worker", "Mailer")) + ":(?!:)"
"""One that assigns: not those of `Password::ResetJob`, nor that after the name of a class, `TokenError: expired`."""
_DEEPEST = 200
_COMPLAINS_EVERY = 60.0
"""Seconds between two complaints about the application's function."""
_IGNORED = re.compile(r"[\s_-]+")
_END = r"""\s,;&"'}\])"""
_VALUE = (
    r"""(\\{0,4}"[^"]*"?|'[^']*'?|\[[^\]]*\]?|\{[^}]*\}?|[A-Z]{2}[0-9]{2}(?: [A-Z0-9]{1,4}){3,8}\b"""
    # A comma or semicolon ends it only where a space, or another name, comes after it.
    rf"|(?:[^{_END}]|[,;](?=[^{_END}=:]{{1,100}}(?:[{_END}]|\Z)))+)"
)
_PEM = r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)"
_SHAPES: tuple[tuple[tuple[str, ...], re.Pattern[str]], ...] = (
    (("://",), re.compile(r"(?<=://)(?:[^\s/@:]{0,200}:\S{1,200}|[\w-]{16,200})(?=@)")),
    (("bearer",), re.compile(r"(?i)(?<=\bbearer\s)[\w.~+/=-]+")),
    (("basic ",), re.compile(r"(?i)(?<=\bbasic )[\w+/=]{8,}")),
    (("eyj",), re.compile(r"\beyJ[\w-]{5,500}\.[\w-]{1,4000}\.[\w-]{0,1000}")),
    (("-----begin ",), re.compile(_PEM, re.DOTALL)),
    (("k_live_", "k_test_"), re.compile(r"\b[sr]k_(?:live|test)_\w+")),
    (("akia", "asia"), re.compile(r"\bA(?:K|S)IA[0-9A-Z]{16}\b")),
    (("gh", "xox"), re.compile(r"\bgh[pousr]_\w{20,}|\bxox[abprs]-[\w-]{10,}")),
    (("glpat-", "aiza"), re.compile(r"\bglpat-[\w-]{16,}|\bAIza[\w-]{30,}")),
    (("sk-", "whsec_"), re.compile(r"\bsk-(?:proj|ant)-[\w-]{16,}|\bwhsec_\w{16,}")),
)
"""Each with what a text must hold, in lower case, for it to be there. What they repeat is bounded where a part could
begin anywhere: hostile text must not cost more than its length."""
_SIGNS = tuple(hint for hints, _ in _SHAPES for hint in hints)
_sign = re.compile("|".join(map(re.escape, _SIGNS))).search
_SHORT = 500
"""Characters of a text up to which one search for all signs is faster than one for each."""


_HEADER = re.compile(r"""(?i)\b((?:authorization|cookie)["']{0,2}\s{0,5}(?:=>|=|:)\s{0,5}["']?)[^"'\r\n]+""")
"""Headers whose value is the rest of the line: of `Authorization: Token abc` the first word is the least secret."""


def _as_word(word: str) -> str:
    """A pattern of it as a word: `auth`, `x_auth`, `userAuth`, `AUTH`."""
    title, upper = word.capitalize(), word.upper()
    return rf"(?<![A-Za-z]){word}(?![a-z])|(?<![A-Z]){title}(?![a-z])|(?<![A-Za-z]){upper}(?![A-Za-z])"


class Masker:
    """Hides values whose key holds one of `words` [WORDS], and secrets by their shape."""

    reveals = False
    """Whether it hides nothing: then what it leaves of a job is kept nowhere."""

    def __init__(
        self,
        words: Iterable[str] = WORDS,
        *,
        unmasked: Mapping[str, Collection[str]] | None = None,
        mask_value: MaskValue | None = None,
    ) -> None:
        """`unmasked`: for names of jobs the keys that are no secrets there. `mask_value` is asked before all words.

        Raises `ConfigError` for keys that are no list.
        """
        self._unmasked = {name: _keys(name, keys) for name, keys in (unmasked or {}).items()}
        self._mask_value, self._complained = mask_value, -_COMPLAINS_EVERY
        self.knows_jobs = bool(self._unmasked) or mask_value is not None
        known = tuple(_IGNORED.sub("", word.lower()) for word in words)
        self._all = tuple(filter(None, known))
        self._words = tuple(word for word in self._all if word not in _WHOLE)
        parts = ["(?i:" + "[_ -]?".join(map(re.escape, word)) + ")" for word in self._words]
        whole = "|".join(map(_as_word, [word for word in known if word in _WHOLE]))
        self._whole = re.compile(whole) if whole else None
        loose = "|".join([*parts, whole] if whole else parts)
        # Within text: `name = value`, `"name": "value"`, `name=value&…`, and the same escaped once more.
        inner = r"(?:\[\w{0,40}\]|%5[bB]\w{0,40}%5[dD])?"
        name = rf"""((?:{loose})[\w-]{{0,40}}{inner}[\\"']{{0,4}}\s{{0,5}}(?:=>|=|%3[dD]|{_COLON})\s{{0,5}})"""
        self._assigned = re.compile(name + _VALUE) if loose else None
        option = rf"((?<!\S)--(?:\w{{1,40}}-){{0,3}}(?:{loose})[\w-]{{0,40}}\s{{1,5}})([^\s-]\S*)"
        self._options = re.compile(option) if loose else None

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

    def argument(self, job: Mapping[str, Any], path: Path, value: Any) -> Any:
        """What stands at a place of the arguments of a job, whose payload is given, with its secrets hidden."""
        if _is_encrypted(job, path[0]):
            return ENCRYPTED
        if not self.knows_jobs:
            return HIDDEN if isinstance(path[-1], str) and self.hides(path[-1]) else self.value(value)
        return self._judged(job, path, value, self._open_keys(job))

    def conceals(self, job: Mapping[str, Any], path: Path, value: Any) -> bool:
        """Whether all is hidden that stands there."""
        if _is_encrypted(job, path[0]):
            return True
        return self._is_hidden(path[-1], self._asked(job, path, value), self._open_keys(job))

    def payload(self, job: Mapping[str, Any], fields: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """All fields of a job, or those that are given of it, with their secrets hidden."""
        fields = job if fields is None else fields
        args, kwargs = fields.get("args"), fields.get("kwargs")
        calls: dict[str, Any] = {"args": self.arguments(job, args)} if isinstance(args, list) else {}
        calls |= {"kwargs": self.keywords(job, kwargs)} if isinstance(kwargs, dict) else {}
        return {**self.value({name: value for name, value in fields.items() if name not in calls}), **calls}

    def arguments(self, job: Mapping[str, Any], args: Sequence[Any]) -> list[Any]:
        """The arguments of a job by position with their secrets hidden."""
        return [self.argument(job, (place,), value) for place, value in enumerate(args)]

    def keywords(self, job: Mapping[str, Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The keyword arguments of a job with their secrets hidden."""
        return {self.text(name): self.argument(job, (name,), value) for name, value in kwargs.items()}

    def _open_keys(self, job: Mapping[str, Any]) -> Collection[str]:
        """The keys that are no secrets in a job."""
        return self._unmasked.get(wire.display_name(job), ())

    def _is_hidden(self, key: str | int, told: bool | None, shown: Collection[str]) -> bool:
        """Whether all below a key is hidden, of which the application has `told`; the keys that are `shown` are not."""
        return told is True or (told is None and isinstance(key, str) and key not in shown and self.hides(key))

    def _judged(self, job: Mapping[str, Any], path: Path, value: Any, shown: Collection[str]) -> Any:
        if len(path) > _DEEPEST:
            return "…"
        told = self._asked(job, path, value)
        if self._is_hidden(path[-1], told, shown):
            return HIDDEN
        if isinstance(value, dict):
            return {self.text(name): self._judged(job, (*path, name), item, shown) for name, item in value.items()}
        if isinstance(value, list):
            return [self._judged(job, (*path, place), item, shown) for place, item in enumerate(value)]
        return self.text(value) if isinstance(value, str) and told is None else value

    def _asked(self, job: Mapping[str, Any], path: Path, value: Any) -> bool | None:
        """What the application says; True where it cannot say anything: nothing is shown by mistake."""
        if self._mask_value is None:
            return None
        try:
            told = self._mask_value(job, path, value)
        except Exception:
            if time.monotonic() >= self._complained + _COMPLAINS_EVERY:
                self._complained = time.monotonic()
                logger.exception("web.mask_failed mask_value has failed; the value is hidden")
            return True
        return told if told is None else told is not False

    def text(self, text: str) -> str:
        """The same text with what looks like a secret hidden."""
        text = untorn(text, MOST_WHOLE)
        plain, known = text.lower(), text.removesuffix("…").isascii()
        if not known or _holds_sign(plain):
            for hints, shape in _SHAPES:
                if not known or any(hint in plain for hint in hints):
                    text = shape.sub(HIDDEN, text)
        if self._assigned and (not known or self._may_assign(plain)):
            if not known or "authorization" in plain or "cookie" in plain:
                text = _HEADER.sub(lambda found: found[1] + HIDDEN, text)
            text = self._assigned.sub(lambda found: found[1] + HIDDEN, text)
        if self._options and "--" in plain:
            text = self._options.sub(lambda found: found[1] + HIDDEN, text)
        return text

    def _may_assign(self, plain: str) -> bool:
        """Whether a text in lower case can hold an assignment at all: few do, and this is told fast."""
        if ":" not in plain and "=" not in plain and "%3d" not in plain:
            return False
        plain = plain.replace("_", "").replace("-", "").replace(" ", "")
        return any(word in plain for word in self._all)


def _holds_sign(plain: str) -> bool:
    """Whether a text in lower case holds what one of the shapes must: most hold none, which is told at once."""
    return _sign(plain) is not None if len(plain) <= _SHORT else any(sign in plain for sign in _SIGNS)


def _keys(name: str, keys: Collection[str]) -> frozenset[str]:
    if isinstance(keys, str):
        raise ConfigError(f"unmasked: the keys of {name} are {keys!r}; give a list, [{keys!r}]")
    return frozenset(keys)


def _is_encrypted(job: Mapping[str, Any], place: str | int) -> bool:
    if not job.get("encrypt") or not isinstance(place, int):
        return False
    args = job.get("args")
    return not isinstance(args, list) or place == len(args) - 1 or wire.is_active_job(job)


class Open(Masker):
    """Hides nothing: for the page of one job, asked for by somebody who may see all that it holds."""

    reveals = True

    def hides(self, key: object) -> bool:
        """No value."""
        return False

    def argument(self, job: Mapping[str, Any], path: Path, value: Any) -> Any:
        """The same value; what is encrypted nobody can read here."""
        return ENCRYPTED if _is_encrypted(job, path[0]) else value

    def value(self, value: Any, depth: int = 0) -> Any:
        """The same value."""
        return value

    def text(self, text: str) -> str:
        """The same text, cut to what is shown of any."""
        return untorn(text, MOST_WHOLE)
