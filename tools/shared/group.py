"""Groups of commands, as all verbs have them that can do several things."""

from __future__ import annotations

import click

from ...runtime.errors import UserError, did_you_mean, listing


class Group(click.Group):
    """Lists its commands in the order in which they were added; an unknown one is answered with the known ones."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order in which they were added."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that ``args`` begin with.

        Raises:
            UserError: there is none of that name.
        """
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            known = self.commands
            raise UserError(f"{ctx.info_name}: found '{name}' (available: {listing(known)}){did_you_mean(name, known)}")
        return super().resolve_command(ctx, args)
