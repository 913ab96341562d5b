"""The words of a command as it was given."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import click
from click.core import ParameterSource


def words_of(context: click.Context, *, without: Collection[str] = ()) -> Iterator[str]:
    """Its arguments, and the options that were said but for those `without`, as a shell would hand them over."""
    for parameter in context.command.params:
        if context.get_parameter_source(str(parameter.name)) is not ParameterSource.COMMANDLINE or parameter.name in without:
            continue
        said = context.params.get(str(parameter.name))
        for value in said if isinstance(said, tuple) and parameter.multiple else (said,):
            yield from [parameter.opts[0]] if isinstance(parameter, click.Option) else []
            yield from [] if value is True else [written(value)]


def written(value: object) -> str:
    """A value as it is said: whole numbers without a point, several with commas."""
    if isinstance(value, tuple):
        return ",".join(written(part) for part in value)
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)
