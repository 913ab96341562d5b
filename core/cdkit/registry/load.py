"""Load one entry point: import its module, register it with pluggy, call its hook. Whatever goes wrong stays in a record."""

from __future__ import annotations

import sys
import traceback
from contextlib import redirect_stdout
from importlib.metadata import EntryPoint
from time import perf_counter
from typing import Any

import pluggy

import cdkit.hooks as hooks
from cdkit.hooks import GROUP, KINDS, Trial
from cdkit.registry.contract import API, keep_contract
from cdkit.registry.frames import last_frame
from cdkit.registry.names import did_you_mean
from cdkit.registry.record import Entry, Record


class Misfit(Exception):
    """The module was imported, but it is no plugin that can be used."""


def load(entry: Entry) -> tuple[Any, Record]:
    """What the entry's hook gives, and a record of how it went; (None, record) where anything but Ctrl-C got in the way."""
    started = perf_counter()
    try:
        with redirect_stdout(sys.stderr):
            plugin = EntryPoint(f"{entry.kind}.{entry.name}", entry.value, GROUP).load()
            milliseconds = (perf_counter() - started) * 1000
            part = called(plugin, entry)
            keep_contract(entry.kind, part)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit at import ends no program of ours
        spent = (perf_counter() - started) * 1000
        trace = "".join(traceback.format_exception(error))
        return None, Record(entry, "failed", round(spent, 1), described(error), last_frame(error, entry), trace)
    return part, Record(entry, "loaded", round(milliseconds, 1))


def called(plugin: Any, entry: Entry) -> Any:
    """What the hook of the entry's kind returns."""
    manager = registered(plugin, entry)
    name = hook_of(entry.kind)
    caller = getattr(manager.hook, name)
    if not caller.get_hookimpls():
        others = [hook for hook in map(hook_of, KINDS) if getattr(manager.hook, hook).get_hookimpls()]
        raise Misfit(f"it does not implement {name}, only {', '.join(others)}" if others else f"it does not implement {name}")
    made = caller()
    if not made:
        raise Misfit(f"{name} returned None; expected the part")
    return made[0]


def trial_of(entry: Entry) -> Trial:
    """How the part wants to be tried, by the hook beside its own; a Trial of nothing where there is none."""
    plugin = EntryPoint(f"{entry.kind}.{entry.name}", entry.value, GROUP).load()
    said = registered(plugin, entry).hook.cdkit_trial()
    return said[0] if said else Trial()


def registered(plugin: Any, entry: Entry) -> pluggy.PluginManager:
    """A manager of the plugin's own. Misfit where its hooks are of another cdkit, or misspelt."""
    check_api(plugin)
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hooks)
    manager.register(plugin, entry.value)
    check_spelling(manager)
    return manager


def check_api(plugin: Any) -> None:
    """A plugin may say `cdkit_api = 1`; one that says more is of a newer cdkit."""
    needs = getattr(plugin, "cdkit_api", API)
    if needs != API:
        raise Misfit(f"the plugin needs API {needs}, cdkit has {API}")


def check_spelling(manager: pluggy.PluginManager) -> None:
    """pluggy accepts hooks that nobody declared unless it is asked about them."""
    known = [*map(hook_of, KINDS), hook_of("trial")]
    for caller in vars(manager.hook).values():
        if isinstance(caller, pluggy.HookCaller) and not caller.has_spec():
            raise Misfit(f"unknown hook {caller.name!r}; the hooks are {', '.join(known)}{did_you_mean(caller.name, known)}")


def hook_of(kind: str) -> str:
    return f"{GROUP}_{kind}"


def described(error: BaseException) -> str:
    """The error in one line: `ImportError: No module named 'x'`."""
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r}) while it was being imported"
    if isinstance(error, Misfit):
        return str(error)
    return " ".join(f"{type(error).__name__}: {error}".split())
