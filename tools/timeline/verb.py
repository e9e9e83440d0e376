"""``wangraph timeline``."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Literal

import click

from ...runtime.errors import UserError
from .columns import view_of
from .facts import misses, read_run
from .html import page_of
from .perfetto import chrome_trace
from .story import story

Format = Literal["html", "perfetto"]
SUFFIX: dict[Format, str] = {"html": ".html", "perfetto": ".perfetto.json"}


@click.command("timeline")
@click.argument("trace", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write.  [default: beside TRACE]")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(SUFFIX)),
    default="html",
    show_default=True,
    help="A page of its own, or JSON for ui.perfetto.dev and chrome://tracing.",
)
@click.option("--open", "show", is_flag=True, help="Show the page in the browser.")
def command(trace: Path, output: Path | None, form: Format, show: bool) -> None:
    """Make a page with every unit of a run on it: who waited, computed and sent, and which unit was late and why.

    \b
    wangraph run duplex --trace run.trace
    wangraph timeline run.trace                      writes run.html
    wangraph timeline run.trace -o page.html --open
    wangraph timeline run.trace --format perfetto    writes run.perfetto.json
    """
    target = output if output is not None else trace.with_suffix(SUFFIX[form])
    if show and form != "html":
        raise UserError("--open: found --format perfetto (expected html), open the file at https://ui.perfetto.dev")
    if target.resolve() == trace.resolve():
        raise UserError(f"{target}: found the trace itself (expected another file to write), give -o FILE")
    run = read_run(trace)
    text = (
        page_of(view_of(run, name=trace.name, blamed=story(run, misses(run)))) if form == "html" else chrome_trace(run)
    )
    try:
        target.write_text(text, "utf-8")
    except OSError as error:
        raise UserError(f"{target}: {error.strerror} (expected a file to write), give another with -o") from error
    click.echo(target)
    if show:
        webbrowser.open(target.resolve().as_uri())
