"""`jobd mark-deploy`: marks a deploy, which the charts of the dashboard then show."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from jobd.client.errors import InvalidArguments, JobdError
from jobd.supervisor.commands.address import Address, redis_options
from jobd.supervisor.commands.output import emit, emit_json, json_option
from jobd.supervisor.commands.push import InvalidLine, moment
from jobd.supervisor.status_text import printable


@click.command("mark-deploy")
@click.argument("label", required=False, metavar="[LABEL]")
@click.option("--at", metavar="TIME", help="When it was: 2027-01-01T08:00:00Z, or epoch seconds. [now]")
@json_option
@redis_options
def mark_deploy(label: str | None, at: str | None, as_json: bool, address: Address) -> None:
    """Mark a deploy: the dashboard shows it on its charts, and Sidekiq's Web UI on its own.

    Without a LABEL it is the short id and the subject of the last commit in the working directory. Within a minute the
    same LABEL is marked once, whoever gives the command.

    \b
    jobd mark-deploy
    jobd mark-deploy v1.4.2
    jobd mark-deploy "new prices" --at 2027-01-01T08:00:00Z
    """
    from jobd.client import deploys

    try:
        when = None if at is None else moment(at, "--at")
        # Told before a connection is made, and the label to compare with below.
        wanted = deploys.as_label(deploys.last_commit() if label is None else label)
        with address.client() as client:
            mark = deploys.mark_deploy(wanted, at=when, client=client)
    except (InvalidArguments, InvalidLine) as error:
        raise click.UsageError(str(error), click.get_current_context()) from error
    minute = f"{datetime.fromtimestamp(mark.at, UTC):%Y-%m-%d %H:%M} UTC"
    if mark.label != wanted:
        what = f"{minute} has the mark of another deploy, {mark.label}, and a minute has one"
        raise JobdError(printable(f"{what}: {wanted} was not marked; mark it in the next minute, or give --at"))
    if as_json:
        emit_json({"at": mark.at, "label": mark.label, "new": mark.new})
    else:
        emit(printable(f"{'marked' if mark.new else 'was marked already:'} {minute} {mark.label}"))
