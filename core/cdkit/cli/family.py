"""A verb that has verbs of its own: its `--help` says of each what its whole first sentence says."""

from __future__ import annotations

import click

LONGEST = 400  # characters of a first sentence; click's own limit cuts it at the end of the line


class Family(click.Group):
    """A group whose list of commands is wrapped and never cut."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        members = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        with formatter.section("Commands"):
            formatter.write_dl([(name, member.get_short_help_str(LONGEST)) for name, member in members.items() if member])
