"""The command ``wangraph``: one verb a file, imported only when called, so that ``check`` stays quick."""

from __future__ import annotations

import logging
import os
import sys
from importlib import import_module

import click

from .._version import __version__
from ..runtime.errors import UserError, WangraphError, did_you_mean, listing
from ..runtime.logs import LEVELS, set_level

VERBS: dict[str, str] = {
    "run": "Run a graph on its clock.",
    "serve": "Let people talk with a graph from their browsers.",
    "talk": "Visit a served graph without a browser.",
    "top": "Look at a graph that is running.",
    "record": "Run a graph and keep its packets and decisions.",
    "replay": "Feed a recording into a graph.",
    "check": "Everything that can be known of a graph before it runs.",
    "show": "Draw a graph: tree, mermaid or dot.",
    "nodes": "The catalogue: node types, ports, parameters.",
    "devices": "Cameras, microphones and speakers of this machine.",
    "schema": "JSON Schema of graph files, for editors.",
    "new": "A commented graph or node to start from.",
    "model": "What a preset costs, and what holds it.",
    "adapters": "Public models in the places of ours.",
    "profile": "Measure what the nodes of a graph cost.",
    "simulate": "A graph by its profile, without bodies or hardware.",
    "explain": "Where a unit's time went, and who made it miss.",
    "timeline": "A page with every unit of a run on it.",
    "world": "The synthetic world that agents learn in.",
    "train": "Train a model on the world, from nothing.",
    "average": "One checkpoint out of several.",
    "ablate": "What each decision of the model is worth.",
    "evaluate": "How well a model converses, measured.",
    "bench": "Benchmarks of clock, overhead and model.",
    "doctor": "What this machine has and lacks.",
}


class _Verbs(click.Group):
    """Finds verbs without importing them; their one-line help is in `VERBS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = import_module(f".verbs.{cmd_name}", __package__).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in VERBS and not args[0].startswith("-"):
            hint = did_you_mean(args[0], VERBS)
            raise UserError(f"wangraph: found '{args[0]}' (available: {listing(VERBS)}){hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="wangraph")
@click.option(
    "--log-level",
    default="warning",
    show_default=True,
    type=click.Choice(LEVELS),
    help="How much the run tells on standard error; debug: tracebacks, too.",
)
def cli(log_level: str) -> None:
    """Clock-driven dataflow graphs for real-time, full-duplex multimodal models.

    \b
    wangraph run hello                 a first run, no model
    wangraph run graphs/duplex.yaml    listens, watches and answers
    wangraph check my.yaml             what is wrong with it, before it runs

    \b
    Exit status: 0 fine; 1 the run failed, or what was asked for does not hold (a verdict, --expect,
    --slo, --max-misses); 2 a mistake in what was given; 130 ended by Ctrl-C; 143 ended by SIGTERM, 129 by
    SIGHUP.
    """
    set_level(log_level)


def main() -> None:
    """Entry point; the help of `cli` says what the exit status means."""
    try:
        code = cli.main(standalone_mode=False)
        sys.stdout.flush()  # here, where it can still be told that nobody takes it
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except WangraphError as error:
        logging.getLogger("wangraph").debug("how the error below came about", exc_info=error)
        click.echo(f"error: {error}", err=True)
        try:
            sys.stdout.flush()
        except OSError:  # the error says so already, or matters more
            _give_up_output()
        sys.exit(error.exit_code)
    except OSError as error:
        if error.filename is not None:
            raise
        _give_up_output()
        click.echo(f"error: standard output: {error.strerror} (expected room for it)", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _give_up_output() -> None:
    """Let what could not be written go, or the interpreter tries again at its end and tells a traceback."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the end
