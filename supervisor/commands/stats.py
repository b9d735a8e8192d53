"""`jobd stats`: how many jobs there are and were."""

from __future__ import annotations

import sys

import click

from jobd.supervisor.commands.address import Address, redis_options
from jobd.supervisor.commands.output import Style, emit, emit_json, json_option, table

MAX_DAYS = 1_825


@click.command()
@click.option(
    "--days", type=click.IntRange(1, MAX_DAYS), metavar="N", help="Also what was processed on each of N days."
)
@json_option
@redis_options
def stats(days: int | None, as_json: bool, address: Address) -> None:
    """Print the totals.

    \b
    jobd stats
    jobd stats --days 7
    jobd stats --json
    """
    from jobd.client.stats import History, Stats
    from jobd.supervisor.commands.cluster_views import totals, totals_document

    with address.client() as client:
        found = Stats(client)
        history = History(days, client=client) if days else None
    rows = [(day, count, history.failed[day]) for day, count in history.processed.items()] if history else []
    if as_json:
        by_day = [{"day": day, "processed": count, "failed": failed} for day, count, failed in rows]
        emit_json({**totals_document(found), **({"days": by_day} if history else {})})
        return
    emit(totals(found))
    if history:
        cells = [(day, f"{count:,}", f"{failed:,}") for day, count, failed in rows]
        headings = ("day (UTC)", "processed", "failed")
        emit("\n" + table(headings, cells, Style.of(sys.stdout), right=("processed", "failed")))
