"""The command line as tests type it."""

from click.testing import CliRunner

from wangraph.tools.cli import cli


def call(*words: str) -> str:
    """What it prints; its error is raised."""
    result = CliRunner().invoke(cli, list(words), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.output
