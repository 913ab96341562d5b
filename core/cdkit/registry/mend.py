"""mend: what the user of a plugin that fails can do about it. Nothing is installed from here, ever: these are lines to read."""

from __future__ import annotations

import platform
import shlex

from cdkit.registry.misfit import Misfit
from cdkit.registry.record import Entry
from cdkit.registry.requirements import unmet


def mend(error: BaseException, entry: Entry) -> str:
    """One sentence without a full stop."""
    if isinstance(error, Misfit) and error.mend:
        return error.mend
    if isinstance(error, ModuleNotFoundError) and error.name:
        return _missing(error.name, entry)
    if isinstance(error, SyntaxError):
        python = platform.python_version()
        return f"it may be written for another Python than {python}: `pip install --upgrade {entry.dist}`, or tell its author"
    return f"mend, update or uninstall {entry.dist}"


def _missing(module: str, entry: Entry) -> str:
    """A module of its own is a broken installation; one that it requires is to be installed; any other is its author's affair."""
    if module.split(".")[0] == entry.value.split(":")[0].split(".")[0].strip():
        return f"its files are incomplete: `pip install --force-reinstall {entry.dist}`"
    if lacking := unmet(entry.dist):
        return f"it requires what is not installed: `pip install {shlex.join(lacking)}`"
    return f"tell its author that its metadata does not require {module.split('.')[0]!r}"
