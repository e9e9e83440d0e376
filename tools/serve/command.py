"""Runs a server until it is asked to end."""

from __future__ import annotations

import asyncio
import sys

import click

from ...runtime.engine.system import ending_signals
from ...runtime.observe.loopback import is_loopback
from .app import Server, ServerOptions
from .ends import ServedGraph


def serve(served: ServedGraph, options: ServerOptions) -> int:
    """Serve until SIGINT, SIGTERM or SIGHUP; the exit status.

    Raises:
        UserError, WangraphError: it cannot be served.
    """
    return asyncio.run(_serve(served, options))


async def _serve(served: ServedGraph, options: ServerOptions) -> int:
    loop, wants_end = asyncio.get_running_loop(), asyncio.Event()
    received: list[int] = []

    def end(number: int) -> None:
        received.append(number)
        wants_end.set()

    for number in ending_signals():
        loop.add_signal_handler(number, end, number)
    server = Server(served, options)
    click.echo(f"opens {served.name} ...", err=True)
    starting = asyncio.create_task(server.start())
    waiting = asyncio.create_task(wants_end.wait())
    await asyncio.wait([starting, waiting], return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        starting.result()
        _say_where(server)
        await waiting
    else:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
    click.echo("ends", err=True)
    await server.close()
    return 128 + received[0]


def _say_where(server: Server) -> None:
    options = server.options
    click.echo(f"{server.link}\n")
    click.echo("open this link in a browser, and allow camera and microphone; Ctrl-C ends it", err=True)
    if not is_loopback(options.host) and options.tls is None:
        click.echo("note: away from localhost browsers give camera and microphone to https alone: add --tls CERT,KEY",
                   err=True)  # fmt: skip
    if options.record is not None:
        click.echo(f"visits whose visitors agree are written to {options.record}", err=True)
    sys.stdout.flush()
