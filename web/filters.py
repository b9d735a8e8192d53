"""The language of searches: `class:HardJob error:"Timeout" args.user.id:7 attempt>3 age>1h -tag:vip text`. Pure.

Terms stand side by side and must all hold. Nothing here looks at what is hidden: a value is compared as it is shown.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any

from jobd.client.entry import JobEntry
from jobd.client.payload import is_active_job
from jobd.web.causes import tell
from jobd.web.masking import HIDDEN, Masker, Path
from jobd.web.patterns import ANY, fits
from jobd.web.preview import prune

STATES = ("retry", "scheduled", "dead", "enqueued", "damaged")
"""What `state:` takes: where a job is, or that it is none."""
MOST_TERMS = 20
SEARCHED_NODES = 5_000
"""Values of one payload that are looked through for text; what a longer one holds after them is not found."""

_NAMES = (
    *("class", "queue", "error", "message", "tag", "jid", "state", "args", "attempt", "age", "since", "until"),
    "cause",
)
_COMPARED = ("attempt", "age")
_HEAD = re.compile(r"""([a-z_]+)((?:\.[^\s:"<>=]*)?)(:(?!:|//)|>=|<=|>|<|=)""")
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(s|m|min|h|d|w)?")
_INDEX = re.compile(r"[0-9]{1,9}")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_QUOTED = re.compile(r'\s|\A(?:"|:|//|\Z)')
"""Values that are written in quotes; all others are read as what they are without."""
_BETWEEN = re.compile(r"""["\\/\x00-\x1f\x7f]|(?<=[,:]) """)
"""Characters that JSON may write in more than one way."""
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    ":": lambda a, b: a == b,
    "=": lambda a, b: a == b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
}


class FilterError(ValueError):
    """A search that makes no sense; the message names the character and what would make some."""


@dataclass(frozen=True, slots=True)
class Term:
    """One condition. `field` is empty for text anywhere; in `exact` values each `*` is itself.

    `number` is what `attempt`, `age` (seconds), `since` and `until` (epoch seconds, or with `ago` seconds before now)
    compare with.
    """

    field: str
    value: str
    negated: bool = False
    exact: bool = False
    path: tuple[str, ...] = ()
    op: str = ":"
    number: float = 0.0
    ago: bool = False

    def __post_init__(self) -> None:
        # One form of each condition: what has no `*`, or is text, is exact in any case; quoted, a `*` is itself.
        starred = bool(self.field) and "*" in self.value
        object.__setattr__(self, "exact", starred and (self.exact or _QUOTED.search(self.value) is not None))

    def __str__(self) -> str:
        name = ".".join((self.field, *self.path))
        quote = self.exact or _QUOTED.search(self.value) is not None
        if not self.field:
            quote = quote or self.value.startswith("-") or _HEAD.match(self.value) is not None
        value = '"' + re.sub(r'(["\\])', r"\\\1", self.value) + '"' if quote else self.value
        return f"{'-' if self.negated else ''}{name}{self.op if self.field else ''}{value}"

    @property
    def parts(self) -> list[bytes]:
        """What the bytes of every payload hold that fulfils it, in this order; empty where that cannot be told."""
        if self.negated or self.field in (*_COMPARED, "state", "since", "until", "cause"):
            return []
        pieces = [self.value] if self.exact or not self.field else self.value.split("*")
        if self.field == "class":  # a mail's name is put together from two values
            pieces = [part for piece in pieces for part in piece.split("#")]
        split = [part for piece in pieces for part in _BETWEEN.split(piece)]
        return [part.encode("utf-8", "surrogateescape") for part in split if part and HIDDEN[0] not in part]


@dataclass(frozen=True)
class Subject:
    """A job that is looked at: `state` and `at` as its list shows them, since when it is there (`entered`), and now."""

    entry: JobEntry
    masker: Masker
    state: str
    at: float | None
    entered: float | None
    now: float

    @cached_property
    def shown(self) -> str:
        """All that is shown of it."""
        if self.entry.payload:
            job, known = self.entry.payload, dict(self.entry.payload)
            if self.masker.knows_jobs and is_active_job(job):
                known["args"] = self.entry.args  # by their places in these they are judged
            shown = self.masker.payload(job, prune(known, SEARCHED_NODES))
            return json.dumps(shown, ensure_ascii=False, default=str)
        return self.masker.text(self.entry.raw.decode("utf-8", "backslashreplace"))

    def leaves(self) -> Iterator[str]:
        """Its arguments at every depth, as text."""
        entry, masker = self.entry, self.masker
        *args, kwargs = prune([*entry.args, entry.kwargs], SEARCHED_NODES)
        yield from _leaves(masker.arguments(entry.payload, args))
        yield from _leaves(masker.keywords(entry.payload, kwargs) if isinstance(kwargs, dict) else [])


@dataclass(frozen=True)
class Filter:
    """Terms that must all hold."""

    terms: tuple[Term, ...]

    def __str__(self) -> str:
        return " ".join(map(str, self.terms))

    def __bool__(self) -> bool:
        return bool(self.terms)

    @cached_property
    def needles(self) -> tuple[bytes, ...]:
        """Bytes that each payload holds which the filter lets pass."""
        return tuple(dict.fromkeys(part for term in self.terms for part in term.parts))

    @cached_property
    def pattern(self) -> bytes | None:
        """For Redis' MATCH: a pattern of the term that tells most; None where none tells anything."""
        best = max((term.parts for term in self.terms), key=lambda parts: sum(map(len, parts)), default=[])
        return b"*" + b"*".join(map(_literally, best)) + b"*" if best else None

    def between(self, now: float) -> tuple[float, float] | None:
        """The first and the last time of the list that a job can have which passes; None where any will do."""
        moments = [(term, now - term.number if term.ago else term.number) for term in self.terms if not term.negated]
        since = [moment for term, moment in moments if term.field == "since"]
        until = [moment for term, moment in moments if term.field == "until"]
        return (max(since, default=-math.inf), min(until, default=math.inf)) if since or until else None

    def may_pass(self, raw: bytes) -> bool:
        """Whether these bytes are worth being read as JSON."""
        return all(needle in raw for needle in self.needles)

    def passes(self, subject: Subject) -> bool:
        """Whether all terms hold."""
        return all(_holds(term, subject) is not term.negated for term in self.terms)

    def narrowed(self, field: str, value: str) -> Filter:
        """With one term more, in the usual order; itself when it has that term."""
        term = Term(field, value, exact=True)
        if term in self.terms:
            return self
        order = {name: place for place, name in enumerate(_NAMES)}
        return Filter(tuple(sorted((*self.terms, term), key=lambda each: order.get(each.field, len(order)))))


def parse(text: str) -> Filter:
    """Read a search. Raises `FilterError`."""
    terms, place = [], 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        term, place = _term(text, place)
        terms.append(term)
        if len(terms) > MOST_TERMS:
            raise FilterError(f"the search has more than {MOST_TERMS} terms; leave some out")
    return Filter(tuple(terms))


@lru_cache(maxsize=64)
def _known(text: str) -> Filter:
    return parse(text)


def narrowed(text: str, field: str, value: str) -> str:
    """A search that was understood before, for this value of a field besides."""
    return str(_known(text).narrowed(field, value))


def written(fields: Mapping[str, str]) -> str:
    """The search that a form of fields stands for: class, queue, error, tag, since, until, and `arg`.

    The last is a value, or `path:value`.
    """
    terms = []
    for name, value in fields.items():
        if not (value := value.strip()):
            continue
        if name == "arg":
            path, colon, rest = value.partition(":")
            if colon and rest and re.fullmatch(r"[\w.-]+", path):
                terms.append(Term("args", rest, path=tuple(path.split(".")), exact="*" not in rest))
            else:
                terms.append(Term("args", value, exact="*" not in value))
        else:
            terms.append(Term(name, value, exact="*" not in value))
    return str(Filter(tuple(terms)))


def seconds_of(text: str) -> float | None:
    """A length of time such as 90s, 5m, 1h, 2d or 1w in seconds; None when it is none."""
    found = _DURATION.fullmatch(text)
    return float(found[1]) * _UNITS[found[2] or ""] if found else None


def _term(text: str, place: int) -> tuple[Term, int]:
    negated = text[place] == "-" and place + 1 < len(text) and not text[place + 1].isspace()
    start = place + negated
    head = _HEAD.match(text, start)
    if head is None or (head[1] not in _NAMES and head[3] != ":"):
        value, quoted, end = _value(text, start)
        return Term("", value, negated, exact=quoted), end
    name, path, op = head[1], tuple(head[2][1:].split(".")) if head[2] else (), head[3]
    if name not in _NAMES or (path and name != "args"):
        raise FilterError(_unknown(head[0][: -len(op)], start))
    if op != ":" and name not in _COMPARED:
        raise FilterError(f'character {head.end()}: {name} takes no {op}; write {name}:VALUE, or "{head[0]}…" for text')
    value, quoted, end = _value(text, head.end())
    if not value and not quoted:
        hint = f'write {head[0]}VALUE, or "{head[0]}" for the text'
        raise FilterError(f"character {head.end()}: {head[0]} has no value; {hint}")
    return _typed(Term(name, value, negated, quoted, path, op), head.end() + 1), end


def _unknown(name: str, start: int) -> str:
    close = difflib.get_close_matches(name, _NAMES, 1)
    hint = f"did you mean {close[0]}:? Or" if close else f"there are {', '.join(_NAMES)}; or"
    return f'character {start + 1}: there is no field {name}; {hint} quote it to look for the text: "{name}:…"'


def _value(text: str, start: int) -> tuple[str, bool, int]:
    """The value that begins at `start`, whether it is quoted, and where it ends."""
    if text[start : start + 1] != '"':
        end = start
        while end < len(text) and not text[end].isspace():
            end += 1
        return text[start:end], False, end
    found, place = [], start + 1
    while place < len(text) and text[place] != '"':
        place += text[place] == "\\" and text[place + 1 : place + 2] in ('"', "\\")
        found.append(text[place])
        place += 1
    if place >= len(text):
        raise FilterError(f'character {start + 1}: the quote is not closed; end it with "')
    if place + 1 < len(text) and not text[place + 1].isspace():
        raise FilterError(f"character {place + 2}: a space is missing after the closing quote")
    return "".join(found), True, place + 1


def _typed(term: Term, place: int) -> Term:
    """With its number, where its field takes one; the value of `state` is checked."""
    if term.field == "state" and term.value not in STATES:
        raise FilterError(f"character {place}: there is no state {term.value}; write one of {', '.join(STATES)}")
    if term.field == "attempt":
        if not term.value.isascii() or not term.value.isdigit() or len(term.value) > 9:
            raise FilterError(f"character {place}: attempt takes a whole number, as in attempt>3, not {term.value}")
        return replace(term, number=float(term.value))
    if term.field not in ("age", "since", "until"):
        return term
    if (seconds := seconds_of(term.value)) is not None:
        return replace(term, number=seconds, ago=True)
    if term.field == "age":
        raise FilterError(f"character {place}: age takes a time such as 90s, 5m, 1h or 2d, as in age>1h")
    try:
        moment = datetime.fromisoformat(term.value)
        return replace(term, number=(moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        raise FilterError(
            f"character {place}: {term.field} takes a time such as 2026-11-22T10:00 (UTC), or 2h for two hours ago"
        ) from None


def _holds(term: Term, subject: Subject) -> bool:
    entry, masker = subject.entry, subject.masker
    match term.field:
        case "":
            escaped = json.dumps(term.value, ensure_ascii=False)[1:-1]
            return term.value in subject.shown or escaped in subject.shown
        case "class":
            return _any(term, map(masker.text, (entry.name, entry.class_name, entry.wrapped or "")))
        case "queue":
            return _any(term, (masker.text(entry.queue),))
        case "jid":
            return _any(term, (masker.text(entry.jid),))
        case "error":
            return _any(term, (masker.text(entry.error_class),))
        case "message":
            return all(piece in masker.text(entry.error_message) for piece in _pieces(term))
        case "cause":
            return tell(entry, masker).cause == term.value
        case "tag":
            return _any(term, masker.value(entry.tags))
        case "args":
            return _any(term, _at_path(entry, term.path, masker) if term.path else subject.leaves())
        case "state":
            return term.value == ("damaged" if entry.malformed and term.value == "damaged" else subject.state)
    return _compares(term, subject)


def _compares(term: Term, subject: Subject) -> bool:
    if term.field == "attempt":
        count = subject.entry.retry_count
        return _COMPARE[term.op](0.0 if count is None else float(min(count, 10**15)) + 1, term.number)
    if term.field == "age":
        return subject.entered is not None and _COMPARE[term.op](subject.now - subject.entered, term.number)
    moment = subject.now - term.number if term.ago else term.number
    if subject.at is None:
        return False
    return subject.at >= moment if term.field == "since" else subject.at <= moment


def _pieces(term: Term) -> list[str]:
    return [term.value] if term.exact else term.value.split(ANY)


def _any(term: Term, shown: Iterable[str]) -> bool:
    """Whether one of the values is the term's; in it `*` stands for any text, unless it was quoted."""
    pieces = _pieces(term)
    return any(fits(value, pieces) for value in shown)


def _at_path(entry: JobEntry, path: tuple[str, ...], masker: Masker) -> Iterator[str]:
    """What stands at a path: into the arguments by their number, into keyword arguments or a map by name."""
    job, args = entry.payload, entry.args
    starts: list[tuple[Any, Path]] = [(args, ()), (entry.kwargs, ())]
    starts += [(arg, (place,)) for place, arg in enumerate(args[:50]) if isinstance(arg, dict)]
    for value, steps in starts:
        if steps and masker.conceals(job, steps, value):
            continue
        for name in path:
            if isinstance(value, dict) and name in value:
                value, steps = value[name], (*steps, name)
            elif isinstance(value, list) and _INDEX.fullmatch(name) and int(name) < len(value):
                value, steps = value[int(name)], (*steps, int(name))
            else:
                break
            if masker.conceals(job, steps, value):
                value = HIDDEN
        else:
            if not isinstance(value, dict | list):
                yield _leaf(masker.argument(job, steps, value))


def _leaves(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        else:
            yield _leaf(value)


def _leaf(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _literally(part: bytes) -> bytes:
    """With each character that Redis' patterns give a meaning standing for itself."""
    return re.sub(rb"([*?\[\]\\^])", rb"\\\1", part)
