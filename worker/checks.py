"""What makes a setting right or wrong: pure functions, and how a value is shown.

Shared by the objects that programs build and by the server's configuration file, so that a value is judged,
and refused, in the same words wherever it comes from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from jobd.client.cron import CronEntry
from jobd.client.redaction import mask

Check = Callable[[object], str | None]
"""Says what is wrong with a value and what to write instead; None when it is fine."""

CENTURY = 100 * 365 * 24 * 3600
MAX_WEIGHT = 1_000
MAX_SHOWN = 200
"""Characters of a value that a message repeats."""
URL_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "embedded")

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([KMG]?)(?:i?B)?", re.IGNORECASE)
_UNITS = ("", "K", "M", "G")
_SMALLEST_SIZE, _LARGEST_SIZE = 1024**2, 1000 * 1024**3
_LAST_PORT = 65535
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_PLAIN = re.compile(r"(?!(?:true|false|null)$)[^\W\d][^\s,\[\]]*|\.{0,2}/\S*")


def whole_number(low: int, high: int) -> Check:
    """A check for integers; True and False are none."""

    def check(value: object) -> str | None:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return None
        return f"must be a whole number from {low} to {high}" + _unquote(value)

    return check


def seconds(low: float, high: float) -> Check:
    """A check for durations."""

    def check(value: object) -> str | None:
        if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
            return None
        return f"must be a number of seconds from {low:.10g} to {high:.10g}" + _unquote(value)

    return check


def one_of(*choices: str) -> Check:
    """A check for words out of a list."""

    def check(value: object) -> str | None:
        return None if isinstance(value, str) and value in choices else f"must be one of {', '.join(choices)}"

    return check


def optional(check: Check) -> Check:
    """The same check, to which None is fine too."""
    return lambda value: None if value is None else check(value)


def switch(value: object) -> str | None:
    """A check for booleans."""
    return None if isinstance(value, bool) else "must be true or false"


def text(value: object) -> str | None:
    """A check for one line of text, which may be empty."""
    if not isinstance(value, str):
        return "must be text; put it in quotes"
    return "must not hold control characters or line breaks" if _CONTROL.search(value) else None


def path(value: object) -> str | None:
    """A check for the path of a file."""
    if not isinstance(value, str) or not value or value.endswith("/") or "\0" in value:
        return "must be the path of a file, such as tmp/pids/jobd.pid"
    return None


def name(value: object) -> str | None:
    """A check for the names of environments, labels and capsules."""
    if value == "":
        return "must not be empty"
    return text(value)


def queue_name(value: object) -> str | None:
    """A check for names of queues: any text without commas, control characters and space around it."""
    if problem := name(value):
        return problem
    if "," in str(value):
        return "a queue's name must not hold a comma; a weight is written as [name, weight]"
    return "must not begin or end with a space" if str(value) != str(value).strip() else None


def module_name(value: object) -> str | None:
    """A check for what Python can import."""
    if isinstance(value, str) and all(part.isidentifier() for part in value.split(".")):
        return None
    return "must be the dotted name of a module, such as app.jobs"


def redis_url(value: object) -> str | None:
    """A check for the address of Redis: its scheme, and a port that is a number."""
    if problem := text(value):
        return problem
    scheme = str(value).partition(":")[0]
    if scheme not in URL_SCHEMES or ":" not in str(value):
        return "must be an address: redis://localhost:6379/0, rediss://…, unix://… or embedded:var/jobd"
    if scheme in ("redis", "rediss"):
        return _host_problem(str(value))
    return None


def queues(value: object) -> str | None:
    """A check for pairs of name and weight: all weights 0 (strict order), or all from 1 to 1000."""
    if not isinstance(value, tuple) or not value:
        return 'must be a tuple of pairs of name and weight, such as (("default", 0),)'
    for pair in value:
        if problem := _pair_problem(pair):
            return problem
    names, weights = zip(*value, strict=True)
    if len(set(names)) < len(names):
        return "names a queue twice; give each once"
    if 0 in weights and any(weights):
        return f"mixes weight 0 with others; give all 0 or all 1 to {MAX_WEIGHT}"
    return None


def size(value: object) -> str | None:
    """A check for numbers of bytes, as text with a unit (`512MB`) or as they are."""
    return None if parse_size(value) is not None else "must be a size such as 512MB or 1.5GB, from 1MB to 1000GB"


def parse_size(value: object) -> int | None:
    """The bytes that a text with the unit KB, MB or GB (powers of 1024), or a number, says; None if it is no size."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    found = _SIZE.fullmatch(str(value))
    if found is None:
        return None
    size = round(float(found[1]) * 1024 ** _UNITS.index(found[2].upper()))
    return size if _SMALLEST_SIZE <= size <= _LARGEST_SIZE else None


def listening_address(value: object) -> str | None:
    """A check for where to listen: host and port, or the path of a unix socket."""
    if problem := text(value):
        return problem
    if "/" in str(value):
        return path(value)
    host, _, port = str(value).rpartition(":")
    if host and port.isdecimal() and 0 < int(port) <= _LAST_PORT:
        return None
    return "must be host and port, such as 127.0.0.1:9394, or the path of a unix socket"


def tuple_of(check: Check) -> Check:
    """A check for tuples, of which every item passes `check`."""

    def check_all(value: object) -> str | None:
        if not isinstance(value, tuple):
            return "must be a tuple"
        found = ((item, check(item)) for item in value)
        return next((f"{display(item)} {problem}" for item, problem in found if problem), None)

    return check_all


def cron_entries(value: object) -> str | None:
    """A check for the cron entries of a configuration."""
    if not isinstance(value, tuple) or not all(isinstance(each, CronEntry) for each in value):
        return "must be a tuple of what jobd.client.cron.read_all returns"
    names = [each.name for each in value]
    twice = next((name for name in names if names.count(name) > 1), None)
    return None if twice is None else f"two entries are named {display(twice)}; give one of them another name"


def lease_problem(lease: float, heartbeat_interval: float) -> str | None:
    """A lease must outlive two heartbeats, or one lost beat would hand a living process' jobs to others."""
    if lease > 2 * heartbeat_interval:
        return None
    return f"must be more than two heartbeats ({2 * heartbeat_interval:.10g} seconds)"


def capsule_name(value: object) -> str | None:
    """A check for the names of capsules beside the default one."""
    if value == "default":
        return "the default capsule is set by the top-level concurrency and queues; choose another name"
    return name(value)


def display(value: object) -> str:
    """A setting in one line, as YAML would have it, without passwords."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(display, value))}]"
    return _display_text(value) if isinstance(value, str) else str(value)


def display_queues(pairs: tuple[tuple[str, int], ...]) -> str:
    """Queues as the configuration file writes them."""
    return f"[{', '.join(f'[{queue}, {weight}]' if weight else queue for queue, weight in pairs)}]"


def _display_text(value: str) -> str:
    shown = mask(value) if len(value) <= MAX_SHOWN else mask(value)[:MAX_SHOWN] + "…"
    if _PLAIN.fullmatch(shown):
        return shown
    return json.dumps(shown, ensure_ascii=_CONTROL.search(shown) is not None)


def _pair_problem(pair: object) -> str | None:
    if not isinstance(pair, tuple) or len(pair) != 2:
        return f'{display(pair)} must be a pair of name and weight, such as ("default", 0)'
    queue, weight = pair
    problem = queue_name(queue) or whole_number(0, MAX_WEIGHT)(weight)
    return f"{display(pair)}: {problem}" if problem else None


def _host_problem(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        found = (parts.port, parts.hostname)
    except ValueError:
        return "the port must be a number from 0 to 65535, and an IPv6 address stand in [ ]"
    if not url.startswith(f"{parts.scheme}://") or found[1] is None:
        return f"must name a host, such as {parts.scheme}://localhost:6379/0"
    return None


def _unquote(value: object) -> str:
    looks_like_number = isinstance(value, str) and value.strip().replace(".", "", 1).isdecimal()
    return "; write it without quotes" if looks_like_number else ""
