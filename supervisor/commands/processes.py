"""`jobd processes`: the worker processes of the cluster, as their heartbeats show them."""

from __future__ import annotations

import sys

import click

from jobd.supervisor.commands.address import Address, redis_options
from jobd.supervisor.commands.output import Style, emit, emit_json, json_option


@click.command()
@json_option
@redis_options
def processes(as_json: bool, address: Address) -> None:
    """List the worker processes on all machines, Sidekiq's included.

    \b
    jobd processes
    jobd processes -C config.yml --json
    """
    from jobd.client.processes import ProcessSet
    from jobd.supervisor.commands.cluster_views import process_document, process_table

    with address.client() as client:
        cluster = ProcessSet(client)
        found, now = list(cluster), cluster.access.server_now()
    if as_json:
        emit_json({"processes": [process_document(process) for process in found]})
    else:
        emit(process_table(found, now, Style.of(sys.stdout)))
