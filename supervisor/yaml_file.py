"""Reads YAML into nodes that know their line. What the keys mean is left to others.

Stricter than PyYAML: duplicate keys are refused, only `true` and `false` are booleans, numbers are decimal
and dates stay text. A leading colon of a key (a symbol in Ruby) is dropped. Values such as `${VAR}` stay as
they are until `expand`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import yaml

Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Problem:
    """Something wrong at a line (from 1) of the file."""

    line: int
    text: str


@dataclass(frozen=True)
class Node:
    """A value of the file. `plain` text was written without quotes, so it may become a number."""

    line: int
    value: Scalar | list[Node] | dict[str, Node]
    plain: bool = False


@dataclass
class Parsed:
    """The file's top-level mapping, and all that is wrong with it."""

    root: dict[str, Node] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


class UnsetVariable(Exception):
    """A `${VAR}` without a default whose variable is not set; holds the variable's name."""


class BadVariable(Exception):
    """A `${` that is no reference to a variable; holds what was found."""


class _Invalid(Exception):
    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.problem = Problem(line, text)


class _Loader(yaml.SafeLoader):
    """Resolves only null, true, false and decimal numbers; everything else is text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's own name)


_TAG = "tag:yaml.org,2002:"
_INT, _FLOAT, _BOOL, _NULL, _STR = (_TAG + kind for kind in ("int", "float", "bool", "null", "str"))
_Loader.add_implicit_resolver(_NULL, re.compile(r"~|null|Null|NULL|$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(_BOOL, re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(_INT, re.compile(r"[-+]?(?:0|[1-9][0-9]*(?:_[0-9]+)*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    _FLOAT, re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(_TAG + "merge", re.compile(r"<<$"), ["<"])
_SCALARS: Mapping[str, Callable[[str], Scalar]] = {
    _NULL: lambda text: None,
    _BOOL: lambda text: text.lower() == "true",
    _INT: int,
    _FLOAT: float,
    _STR: str,
}
_VARIABLE = re.compile(r"\$\{[^{}]*\}|\$\{")
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?\}", re.DOTALL)


def parse(text: str) -> Parsed:
    """Read a YAML document; an empty one is an empty mapping. Raises nothing: problems are in the result."""
    if problems := _erb(text):
        return Parsed(problems=problems)
    try:
        root = yaml.compose(text, Loader=_Loader)
        builder = _Builder()
        return Parsed(builder.root(root), builder.problems)
    except yaml.YAMLError as error:
        return Parsed(problems=[_syntax_problem(error, text)])
    except _Invalid as error:
        return Parsed(problems=[error.problem])
    except RecursionError:
        return Parsed(problems=[Problem(1, "bad YAML: nested too deeply")])


def expand(node: Node, variables: Mapping[str, str]) -> Node:
    """The node with `${VAR}` and `${VAR:-default}` replaced (a default also stands in for an empty variable).

    Text without quotes becomes a number or a boolean when the result looks like one. Raises UnsetVariable and
    BadVariable.
    """
    if not isinstance(node.value, str) or "${" not in node.value:
        return node
    expanded = _VARIABLE.sub(lambda found: _value_of(found[0], variables), node.value)
    return replace(node, value=_resolve(expanded) if node.plain else expanded)


def _value_of(reference: str, variables: Mapping[str, str]) -> str:
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise BadVariable(reference)
    variable, default = found[1], found[2]
    value = variables.get(variable)
    if value is None and default is None:
        raise UnsetVariable(variable)
    return value or default or ""


def _resolve(text: str) -> Scalar:
    for tag, pattern in _Loader.yaml_implicit_resolvers.get(text[:1], []):
        if tag in (_BOOL, _INT, _FLOAT) and pattern.match(text):
            return _SCALARS[tag](text)
    return text


class _Builder:
    """Turns PyYAML's nodes into ours. Aliases share their node, so that no document grows without bound."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._built: dict[int, Node | None] = {}

    def root(self, node: yaml.Node | None) -> dict[str, Node]:
        if node is None or node.tag == _NULL:
            return {}
        if not isinstance(node, yaml.MappingNode):
            raise _Invalid(_line(node), "the file must be a mapping of keys to values, such as `concurrency: 10`")
        return self._mapping(node)

    def _build(self, node: yaml.Node) -> Node:
        if id(node) in self._built:
            built = self._built[id(node)]
            if built is None:
                raise _Invalid(_line(node), "bad YAML: an alias stands inside its own anchor")
            return built
        self._built[id(node)] = None
        result = Node(_line(node), self._value(node), isinstance(node, yaml.ScalarNode) and node.style is None)
        self._built[id(node)] = result
        return result

    def _value(self, node: yaml.Node) -> Scalar | list[Node] | dict[str, Node]:
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self._build(item) for item in node.value]
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node)
        if isinstance(node, yaml.ScalarNode) and node.tag in _SCALARS:
            try:
                return _SCALARS[node.tag](node.value)
            except ValueError:
                pass
        raise _Invalid(_line(node), f"the tag {node.tag.replace(_TAG, '!!')} is not supported; remove it")

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        for key, value in node.value:
            if key.tag == _TAG + "merge":
                merged = self._merged(value) | merged
                continue
            name = _key(key)
            if name in entries:
                self._duplicate(name, first=entries[name].line, second=_line(key))
            else:
                entries[name] = replace(self._build(value), line=_line(key))
        return merged | entries

    def _merged(self, node: yaml.Node) -> dict[str, Node]:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        result: dict[str, Node] = {}
        for source in sources:
            value = self._build(source).value
            if not isinstance(value, dict):
                raise _Invalid(_line(node), "<< must be given an alias of a mapping")
            result = value | result
        return result

    def _duplicate(self, name: str, *, first: int, second: int) -> None:
        self.problems.append(Problem(second, f"{name}: given twice, first on line {first}; remove one of them"))


def _key(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise _Invalid(_line(node), "a key must be a word")
    return str(node.value).removeprefix(":")


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _erb(text: str) -> list[Problem]:
    lines = enumerate(text.splitlines(), start=1)
    hint = "ERB (<% … %>) is not evaluated; write ${VAR} or ${VAR:-default} to take a value from the environment"
    return [Problem(number, hint) for number, line in lines if "<%" in line and not line.lstrip().startswith("#")]


def _syntax_problem(error: yaml.YAMLError, text: str) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        line, column = error.problem_mark.line, error.problem_mark.column
        what = " ".join(part for part in (error.context, error.problem) if part).replace("\n", " ")
        return Problem(line + 1, f"bad YAML at column {column + 1}: {what}{_quote_hint(text, line)}")
    position = getattr(error, "position", 0)
    character = getattr(error, "character", 0)
    line = text.count("\n", 0, position) if isinstance(position, int) else 0
    return Problem(line + 1, f"bad YAML: the character U+{character:04X} is not allowed; remove it")


def _quote_hint(text: str, line: int) -> str:
    lines = text.splitlines()
    if line < len(lines) and "${" in lines[line]:
        return '; inside [ ] and { } write "${VAR}" with quotes'
    return ""
