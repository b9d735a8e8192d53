"""`jobd push`: pushes jobs from the command line or from lines of JSON."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from jobd.supervisor import exits
from jobd.supervisor.commands.address import Address, redis_options

if TYPE_CHECKING:
    from jobd.client.draft import Item
    from jobd.client.push import Client

STDIN = "-"
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DELAY = re.compile(r"(\d+(?:\.\d+)?) ?([smhdw]?)")


class InvalidLine(ValueError):
    """A value of the command line, or a line of standard input, is no push; the message says why."""


class _Push(click.Command):
    """Says what to do about a negative number, which looks like an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if not error.option_name[1:2].isdigit():
                raise
            raise click.UsageError(f"{error.option_name} is taken for an option; write -- before it", ctx) from error


@click.command(cls=_Push)
@click.argument("name")
@click.argument("args", nargs=-1)
@click.option("--queue", "-q", metavar="QUEUE", help="Queue to push to. [default, or the job's with -r]")
@click.option("--in", "delay", metavar="TIME", help="Run after so long: 90, 10m, 2h, 1d.")
@click.option("--at", metavar="TIME", help="Run at this time: 2027-01-01T08:00:00Z, or epoch seconds.")
@click.option("--kwargs", metavar="JSON", help="Keyword arguments, a JSON object.")
@click.option("--string", is_flag=True, help="Take each ARG as text, even if it is JSON.")
@click.option("--require", "-r", multiple=True, metavar="MODULE", help="Import MODULE and check the call against it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@redis_options
def push(
    name: str,
    args: tuple[str, ...],
    kwargs: str | None,
    string: bool,
    require: tuple[str, ...],
    as_json: bool,
    address: Address,
    **when: str | None,
) -> None:
    """Push the job NAME, and print its id.

    Each ARG that is JSON counts as that, any other as text: 7 is a number, true a truth value, '"7"' and bob are text.
    An ARG that begins with - comes after --. With - as the only ARG, each line of standard input is one job: an array
    of arguments, or an object with args, kwargs and options. With - as NAME the objects have a class, too.

    \b
    jobd push app.jobs.send_welcome 7
    jobd push app.jobs.send_welcome 7 --kwargs '{"locale": "vi"}' --in 10m
    jobd push app.jobs.refund -r app.jobs -- -5
    jobd push app.jobs.index - < ids.jsonl
    """
    output = _Output(as_json)
    try:
        pushes = _pushes(name, args, kwargs, string, _common(when))
        _import(require)
        with address.client() as client:
            _push(client, _checked(pushes, strict=bool(require)), output)
    except InvalidLine as error:
        raise click.UsageError(str(error), click.get_current_context()) from error
    finally:
        output.close()


def _pushes(
    name: str, args: tuple[str, ...], kwargs: str | None, string: bool, common: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """What is asked for, each push with its place for messages."""
    if name == STDIN or STDIN in args:
        if (name == STDIN and args) or len(args) > 1 or kwargs is not None:
            raise InvalidLine("- stands for all arguments: give no other ARG and no --kwargs")
        return from_lines(sys.stdin.buffer, None if name == STDIN else name, common)
    fields = {"class": name, "args": [argument(each, string=string) for each in args], **common}
    if kwargs is not None:
        fields["kwargs"] = parse_json(kwargs, "--kwargs")
    return iter([("", fields)])


def argument(text: str, *, string: bool) -> Any:
    """What an ARG stands for: the JSON that it is, else itself."""
    if string:
        return text
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text


def parse_json(text: str | bytes, place: str) -> Any:
    """The JSON in `text`. Raises InvalidLine naming `place`."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidLine(f"{place}: not JSON: {error}") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def seconds(text: str) -> float:
    """A time such as `90`, `10m` or `1.5h` in seconds. Raises InvalidLine."""
    found = _DELAY.fullmatch(text.strip())
    if found is None:
        raise InvalidLine(f"--in {text}: give seconds, or a number with s, m, h, d or w: 10m")
    return float(found[1]) * _UNITS[found[2]]


def moment(text: str, place: str) -> float:
    """A point in time as epoch seconds. Raises InvalidLine naming `place`."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidLine(f"{place} {text}: give a time such as 2027-01-01T08:00:00Z, or epoch seconds") from None
    if found.utcoffset() is None:
        raise InvalidLine(f"{place} {text}: says no time zone; add Z or an offset such as +07:00")
    return found.timestamp()


def _common(given: Mapping[str, str | None]) -> dict[str, Any]:
    """What `--queue`, `--in` and `--at` say about every job."""
    queue, delay, at = given["queue"], given["delay"], given["at"]
    if delay is not None and at is not None:
        raise InvalidLine("--in and --at are both given; give one of them")
    found: dict[str, Any] = {} if queue is None else {"queue": queue}
    if delay is not None:
        found["at"] = time.time() + seconds(delay)
    elif at is not None:
        found["at"] = moment(at, "--at")
    return found


def from_lines(
    lines: Iterable[bytes], name: str | None, common: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The pushes in lines of JSON, each with its place for messages; without `name` each line has a `class`."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"line {number}"
        found = parse_json(line, place)
        if isinstance(found, list) and name is not None:
            yield place, {"class": name, "args": found, **common}
        elif isinstance(found, dict):
            yield place, _from_object(found, name, common, place)
        else:
            expected = (
                'an object such as {"class": "app.send", "args": [7]}' if name is None else "an array of arguments"
            )
            raise InvalidLine(f"{place}: is {line.decode(errors='replace').strip()[:80]}; write {expected}")


def _from_object(found: dict[str, Any], name: str | None, common: Mapping[str, Any], place: str) -> dict[str, Any]:
    if name is not None and found.get("class", name) != name:
        raise InvalidLine(f"{place}: has the class {found['class']!r}, and the command says {name}; push - alone")
    own_time = {"at", "wait", "wait_until"} & found.keys()
    fields = {**{key: value for key, value in common.items() if key != "at" or not own_time}, **found}
    if name is not None:
        fields["class"] = name
    for key in own_time & {"at", "wait_until"}:
        if isinstance(fields[key], str):
            fields[key] = moment(fields[key], f"{place}: {key}")
    return fields


def _checked(pushes: Iterable[tuple[str, dict[str, Any]]], *, strict: bool) -> Iterator[Item]:
    """Check each push; `strict`, against the application's own definition, which must exist."""
    from jobd.client import draft
    from jobd.client.errors import InvalidArguments, InvalidPayload

    for place, fields in pushes:
        try:
            yield draft.read_item({**fields, "class": _defined(fields.get("class"))} if strict else fields)
        except (InvalidArguments, InvalidPayload, InvalidLine) as error:
            raise InvalidLine(f"{place}: {error}" if place else str(error)) from error


def _defined(name: object) -> Any:
    from difflib import get_close_matches

    from jobd.client import registry
    from jobd.client.job import Pusher

    handler = registry.lookup(name) if isinstance(name, str) else None
    if handler is not None:
        return Pusher(handler)
    close = get_close_matches(str(name), registry.names(), 1, 0.5)
    hint = f"did you mean {close[0]}?" if close else f"they define {', '.join(registry.names()) or 'none'}"
    raise InvalidLine(f"no job of the modules of -r is named {name!r}; {hint}")


def _import(modules: Sequence[str]) -> None:
    if modules:
        from jobd.client.errors import JobDefinitionError
        from jobd.supervisor import application, home

        application.put_first_on_path(home.directory())
        try:
            application.load(modules)
        except application.ApplicationError as error:
            raise JobDefinitionError(str(error)) from error


def _push(client: Client, items: Iterator[Item], output: _Output) -> None:
    """Push, and print ids as soon as the jobs are in Redis."""
    from jobd.client.errors import JobdError, PushOutcomeUnknown

    try:
        for jids in client.push_items(items):
            output.add(jids)
    except JobdError as error:
        output.add(error.pushed)
        if isinstance(error, PushOutcomeUnknown):
            output.tell_unknown(error.jids)
        raise


class _Output:
    """Prints ids: a line each, or all in one document at the end."""

    def __init__(self, as_json: bool) -> None:
        self._jids: list[str] | None = [] if as_json else None
        self._unknown: list[str] = []
        self._stopped = 0

    def add(self, jids: Sequence[str | None]) -> None:
        """These are in Redis; None is one that client middleware has stopped."""
        pushed = [jid for jid in jids if jid is not None]
        self._stopped += len(jids) - len(pushed)
        if self._jids is not None:
            self._jids += pushed
        elif pushed:
            click.echo("\n".join(pushed))

    def tell_unknown(self, jids: Sequence[str]) -> None:
        """These may be in Redis or not."""
        self._unknown += jids
        if self._jids is None:
            for jid in jids:
                exits.complain(f"unknown: {jid}")

    def close(self) -> None:
        """Print what is left."""
        if self._stopped:
            exits.complain(f"client middleware has stopped {self._stopped} of the pushes")
        if self._jids is not None:
            click.echo(json.dumps({"jids": self._jids, "unknown": self._unknown}))
