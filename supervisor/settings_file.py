"""From nodes of the configuration file to settings: which keys there are, how each is read, what is wrong.

Values from variables and the command line take the same way. Sidekiq's spellings are understood here; layers
are put together in `config.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

from jobd.client import cron
from jobd.client.cron import CronEntry
from jobd.client.errors import InvalidCron
from jobd.supervisor import web_settings, yaml_file
from jobd.supervisor.web_settings import WebSettings
from jobd.supervisor.yaml_file import Node, Problem
from jobd.worker import checks
from jobd.worker.checks import Check, display

ENVIRONMENTS = ("development", "test", "staging", "production")
SYNONYMS = {"dead_timeout_in_seconds": "dead_timeout"}
NOT_USED = {
    "average_scheduled_poll_interval": "due jobs are not polled for",
    "poll_interval_average": "due jobs are not polled for",
    "environment": "choose it with -e, JOBD_ENV or APP_ENV",
    "max_iteration_runtime": "jobs are not iterated",
    "skip_default_job_logging": "set log_level: warning to switch off the lines for each job",
    "logged_job_attributes": "the log's fields are fixed",
    "cron_poll_interval": "the next tick of each entry is known",
    "cron_schedule_file": "put its entries under cron",
    "health_check": "nothing listens on it",
}
"""Sidekiq's keys that are accepted without effect, and why."""


@dataclass(frozen=True)
class Place:
    """Where a value stands: a line of a file and the path of its key, or only a flag or a variable."""

    path: str
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.path}" if self.file else self.path

    def at(self, node: Node, suffix: str) -> Place:
        """The place of something inside the value; a flag has only one."""
        return replace(self, path=self.path + suffix, line=node.line) if self.file else self


@dataclass(frozen=True)
class Setting:
    """A value and where it comes from: `source` for people, `place` for messages about it."""

    value: Any
    source: str
    place: Place


Layer = dict[str, Setting]


@dataclass(frozen=True)
class CapsuleSetting:
    """A capsule of the file; without `concurrency` it takes the top level's."""

    name: str
    queues: tuple[tuple[str, int], ...]
    concurrency: int | None


@dataclass
class Reader:
    """Reads values, and collects what is wrong with them instead of stopping at the first."""

    checks: Mapping[str, Check]
    problems: list[Problem] = field(default_factory=list)
    file: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    active: bool = True
    """False in sections of other environments, whose variables need not be set here."""

    def add_value(self, layer: Layer, key: str, value: Any, origin: str) -> None:
        """Read a value from outside the file, a scalar or a list of them."""
        place = Place(origin)
        items = isinstance(value, list | tuple)
        node = Node(0, [Node(0, item) for item in value] if items else value)
        if (found := self._read(key, node, place)) is not None:
            layer[key] = Setting(found, origin, place)

    def add_node(self, layer: Layer, key: str, node: Node, section: str, place: Place) -> None:
        """Read a value of the file."""
        source = f"{self.file}:{node.line}" + (f" ({section})" if section else "")
        if (found := self._read(key, node, place)) is not None:
            layer[key] = Setting(found, source, place)

    def refuse(self, place: Place, node: Node, problem: str) -> None:
        """Note a problem of a value."""
        self.problems.append(Problem(place.line, f"{place} = {_display(node)}: {problem}"))

    def _read(self, key: str, node: Node, place: Place) -> Any:
        if key == "queues":
            return self._queues(node, place)
        if key == "capsules":
            return self._capsules(node, place)
        if key == "cron":
            return self._cron(node, place)
        if key == "web":
            return self._web(node, place)
        if key in ITEM_CHECKS:
            return self._list(node, place, ITEM_CHECKS[key])
        found = self._scalar(node, place, self.checks[key])
        return checks.parse_size(found) if key in SIZES else found

    def _scalar(self, node: Node, place: Place, check: Check) -> Any:
        """The value that passes `check`, or None."""
        expanded = self._expand(node, place)
        if expanded is None:
            return None
        if expanded.value is None:
            self.refuse(place, node, "has no value; write one or remove the line")
        elif problem := check(expanded.value):
            self.refuse(place, expanded, problem + _suggestion(expanded.value, problem))
        else:
            return expanded.value
        return None

    def _expand(self, node: Node, place: Place) -> Node | None:
        try:
            return yaml_file.expand(node, self.variables) if self.file else node
        except yaml_file.UnsetVariable as error:
            if self.active:
                hint = f"set it, or write ${{{error}:-default}}"
                self.refuse(place, node, f"the variable {error} is not set; {hint}")
        except yaml_file.BadVariable as error:
            self.refuse(place, node, f"{error} is no variable; write ${{NAME}} or ${{NAME:-default}}")
        return None

    def _list(self, node: Node, place: Place, check: Check) -> tuple[Any, ...] | None:
        if isinstance(node.value, dict):
            self.refuse(place, node, "must be a list")
            return None
        values = [self._scalar(item, path, check) for item, path in self._items(node, place)]
        return tuple(dict.fromkeys(value for value in values if value is not None))

    def _items(self, node: Node, place: Place) -> Iterable[tuple[Node, Place]]:
        """The items of a list, each with its place; a single value is a list of one."""
        if not isinstance(node.value, list):
            return [(node, place)]
        return [(item, place.at(item, f"[{index}]")) for index, item in enumerate(node.value)]

    def _queues(self, node: Node, place: Place) -> tuple[tuple[str, int], ...] | None:
        if isinstance(node.value, dict) or node.value == []:
            self.refuse(place, node, "must be a list of queues, such as [critical, 3] or default")
            return None
        before = len(self.problems)
        weights: dict[str, int] = {}
        for item, path in self._items(node, place):
            if (pair := self._queue(item, path)) is None:
                continue
            queue, weight = pair
            if weights.setdefault(queue, weight) != weight:
                self.refuse(path, item, f"{queue} has another weight already; give each queue once")
        if len(self.problems) > before:
            return None
        lowest = 1 if any(weights.values()) else 0
        return tuple((queue, max(weight, lowest)) for queue, weight in weights.items()) or None

    def _queue(self, node: Node, place: Place) -> tuple[str, int] | None:
        """A queue with its weight, 0 where none is given."""
        expanded = self._expand(node, place)
        if expanded is None:
            return None
        parts = _queue_parts(expanded)
        if not 1 <= len(parts) <= 2:
            self.refuse(place, expanded, "must be a name, or a name and a weight: [critical, 3]")
            return None
        queue = self._scalar(parts[0], place, checks.queue_name)
        weight = self._weight(parts[1], expanded, place) if len(parts) == 2 else 0
        return None if queue is None or weight is None else (queue.removeprefix(":"), weight)

    def _weight(self, node: Node, queue: Node, place: Place) -> int | None:
        expanded = self._expand(node, place)
        if expanded is None:
            return None
        if problem := checks.whole_number(1, checks.MAX_WEIGHT)(expanded.value):
            self.refuse(place, queue, f"the weight {problem}")
            return None
        return int(str(expanded.value))

    def _cron(self, node: Node, place: Place) -> tuple[CronEntry, ...] | None:
        if not isinstance(node.value, dict):
            self.refuse(place, node, 'must be a mapping: {report: {cron: "0 8 * * *", class: app.report}}')
            return None
        found = []
        for name, each in node.value.items():
            try:
                found.append(cron.read(name, self._plain(each, place.at(each, f".{name}")), "config"))
            except InvalidCron as error:
                inner = place.at(each, f".{name}")
                self.problems.append(Problem(inner.line, f"{inner}: {error}"))
        return tuple(found)

    def _plain(self, node: Node, place: Place) -> Any:
        """A value of any depth without its lines."""
        if isinstance(node.value, dict):
            return {key: self._plain(each, place.at(each, f".{key}")) for key, each in node.value.items()}
        if isinstance(node.value, list):
            return [self._plain(each, place.at(each, f"[{i}]")) for i, each in enumerate(node.value)]
        expanded = self._expand(node, place)
        return None if expanded is None else expanded.value

    def _web(self, node: Node, place: Place) -> WebSettings | None:
        if not isinstance(node.value, dict):
            bind = self._scalar(node, place, web_settings.CHECKS["bind"])
            return None if bind is None else WebSettings(bind=bind)
        before, values = len(self.problems), dict[str, Any]()
        for key, each in node.value.items():
            inner = place.at(each, f".{key}")
            if key in web_settings.LISTS:
                values[key] = self._list(each, inner, web_settings.CHECKS[key])
            elif key in web_settings.CHECKS:
                values[key] = self._scalar(each, inner, web_settings.CHECKS[key])
            else:
                self.refuse(inner, each, unknown(key, web_settings.CHECKS))
        if "bind" not in node.value:
            self.refuse(place, node, "must name where to listen: {bind: 127.0.0.1:7433}")
        return WebSettings(**values) if len(self.problems) == before else None

    def _capsules(self, node: Node, place: Place) -> tuple[CapsuleSetting, ...] | None:
        if not isinstance(node.value, dict):
            self.refuse(place, node, "must be a mapping: {ordered: {concurrency: 1, queues: [ordered]}}")
            return None
        found = [self._capsule(name, each, place.at(each, f".{name}")) for name, each in node.value.items()]
        return tuple(capsule for capsule in found if capsule is not None)

    def _capsule(self, name: str, node: Node, place: Place) -> CapsuleSetting | None:
        if problem := checks.capsule_name(name):
            self.refuse(place, node, problem)
        if not isinstance(node.value, dict) or "queues" not in node.value:
            self.refuse(place, node, "must be a mapping with queues: {concurrency: 1, queues: [ordered]}")
            return None
        values: dict[str, Any] = {}
        for key, value in node.value.items():
            inner = place.at(value, f".{key}")
            if key in ("concurrency", "queues"):
                values[key] = self._read(key, value, inner)
            else:
                self.refuse(inner, value, unknown(key, ("concurrency", "queues")))
        return CapsuleSetting(name, values["queues"] or (), values.get("concurrency"))


@dataclass
class FileSettings:
    """What a file says: its top level, its environment sections, remarks and problems."""

    base: Layer = field(default_factory=dict)
    sections: dict[str, Layer] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    problems: list[str] = field(default_factory=list)

    @classmethod
    def read(
        cls, text: str, file: str, environment: str, known: Mapping[str, Check], variables: Mapping[str, str]
    ) -> FileSettings:
        """Read the text of a file. Sections of other environments than the given one are checked too."""
        parsed = yaml_file.parse(text)
        problems = [Problem(each.line, f"{file}:{each.line}: {each.text}") for each in parsed.problems]
        walk = _Walk(Reader(known, problems, file, variables), environment, parsed.root)
        walk.top_level()
        lines = [each.text for each in sorted(problems, key=lambda problem: problem.line)]
        return cls(walk.base, walk.sections, tuple(walk.notices), lines)


class _Walk:
    """Goes through the keys of one file."""

    def __init__(self, reader: Reader, environment: str, root: Mapping[str, Node]) -> None:
        self.reader = reader
        self.environment = environment
        self.root = root
        self.base: Layer = {}
        self.sections: dict[str, Layer] = {}
        self.notices: list[str] = []
        self.settings = [key for key in (*reader.checks, "capsules") if key != "environment"]

    def top_level(self) -> None:
        if "environments" in self.root:
            self._entry(self.base, "environments", self.root["environments"], "", self.settings)
        names = self._section_names()
        for key, node in self.root.items():
            if key in names:
                self._section(key, node)
            elif key != "environments":
                self._entry(self.base, key, node, "", [*self.settings, *names])

    def _section_names(self) -> list[str]:
        listed = self.base["environments"].value if "environments" in self.base else ()
        return [name for name in (*ENVIRONMENTS, self.environment, *listed) if name not in self.settings]

    def _section(self, name: str, node: Node) -> None:
        self.reader.active = name == self.environment
        layer = self.sections[name] = {}
        if isinstance(node.value, dict):
            known = [key for key in self.settings if key != "environments"]
            for key, value in node.value.items():
                self._entry(layer, key, value, name, known)
        elif node.value is not None:
            problem = "an environment section must be a mapping of keys to values"
            self.reader.refuse(Place(name, self.reader.file, node.line), node, problem)
        self.reader.active = True

    def _entry(self, layer: Layer, written: str, node: Node, section: str, known: Sequence[str]) -> None:
        key = SYNONYMS.get(written, written)
        place = Place(f"{section}.{written}" if section else written, self.reader.file, node.line)
        if key in layer:
            self.reader.refuse(place, node, f"{key} is given under two names; keep one of them")
        elif key in known and key in self.settings:
            self.reader.add_node(layer, key, node, section, place)
        elif key in NOT_USED:
            self.notices.append(f"{place} is not used: {NOT_USED[key]}")
        elif key == "environments":
            self.reader.refuse(place, node, "belongs to the top level of the file")
        else:
            self.reader.refuse(place, node, unknown(key, [*known, *SYNONYMS]) + _section_hint(node, section))


def unknown(key: str, known: Iterable[str]) -> str:
    """What to say of a key that does not exist."""
    close = get_close_matches(key, list(known), n=1)
    return f"unknown key; did you mean {close[0]}?" if close else "unknown key; remove it"


ITEM_CHECKS: Mapping[str, Check] = {
    "require": checks.module_name,
    "labels": checks.name,
    "environments": checks.name,
}

SIZES = ("max_memory",)
"""Keys whose text stands for a number of bytes."""


def _queue_parts(node: Node) -> list[Node]:
    """A queue's name and, where given, its weight, from `[name, weight]`, `"name,weight"` or a bare name."""
    if isinstance(node.value, list):
        return node.value
    if not isinstance(node.value, str) or "," not in node.value:
        return [node]
    name, weight = node.value.split(",", 1)
    number = int(weight) if weight.strip().isdecimal() and weight.isascii() else weight
    return [Node(node.line, name.strip()), Node(node.line, number)]


def _section_hint(node: Node, section: str) -> str:
    if isinstance(node.value, dict) and not section:
        return " (a section of an environment must be listed in `environments`)"
    return ""


def _suggestion(value: object, problem: str) -> str:
    """Offer the choice that was meant, where the problem lists choices."""
    choices = problem.removeprefix("must be one of ").split(", ")
    close = get_close_matches(str(value), choices, n=1) if problem.startswith("must be one of ") else []
    return f"; did you mean {close[0]}?" if close else ""


def _display(node: Node) -> str:
    """The value as messages show it: lists and mappings not deeper than a level."""
    if isinstance(node.value, dict):
        return "{…}" if node.value else "{}"
    if isinstance(node.value, list):
        items = [_display(each) if not isinstance(each.value, list) else "[…]" for each in node.value[:5]]
        return f"[{', '.join(items)}{', …' if len(node.value) > 5 else ''}]"
    return "null" if node.value is None else display(node.value)
