"""``wangraph timeline --live``: finds the run, serves its page, and ends with it."""

from __future__ import annotations

import time
import webbrowser
from pathlib import Path

import click

from ...runtime.errors import UserError, listing
from ...runtime.observe.run_file import find_run, running
from ...runtime.observe.status import StatusClient
from .html import save
from .serve import Feed, PageServer

EVERY_S = 0.5
"""How often a page hears of the run, at most."""


def follow(name: str | None, port: int, output: Path | None, show: bool) -> None:
    """Serve the timeline of a run until it ends; then write it to ``output``.

    Raises:
        UserError: no such run, or several, or the port is taken, or the page cannot be written.
    """
    runs = running()
    if name is None and not runs:
        raise UserError("timeline: no run found (expected one that goes on), start one with: wangraph run GRAPH")
    if name is None and len(runs) > 1:
        raise UserError(
            f"timeline: found {len(runs)} runs (expected one of: {listing(r.name for r in runs)}), "
            "name it: wangraph timeline --live RUN"
        )
    found = runs[0] if name is None else find_run(name, runs, who="timeline")
    client = StatusClient(found, who="timeline")
    try:
        news = client.records(0)
        if news is None:
            raise UserError(f"timeline: run '{found.name}' ended before it told anything, start it again")
        feed = Feed(news.header, found.name)
        feed.take(news)
        server = PageServer(feed, port)
        try:
            click.echo(f"{server.url}  follows {found.name}; Ctrl-C ends it")
            if show:
                webbrowser.open(server.url)
            while news is not None and not news.has_ended:
                time.sleep(EVERY_S)
                news = client.records(news.n_records)
                if news is not None:
                    feed.take(news)
            feed.end()
            click.echo(f"the run {'is gone' if news is None else 'has ended'}, {feed.n_units} units")
        except KeyboardInterrupt:
            feed.end()
        server.close()
    finally:
        client.close()
    if output is not None:
        save(feed.page(live=False), output)
        click.echo(output)
