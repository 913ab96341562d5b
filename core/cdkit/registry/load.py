"""Load one entry point: import its module, register it with pluggy, call its hook. Whatever goes wrong stays in a record."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint
from time import perf_counter
from types import ModuleType
from typing import Any

import pluggy

import cdkit.hooks as hooks
from cdkit.hooks import GROUP, KINDS, Trial
from cdkit.registry.contract import API, keep_contract
from cdkit.registry.frames import definition, last_frame
from cdkit.registry.mend import mend
from cdkit.registry.misfit import Misfit
from cdkit.registry.names import brief, did_you_mean
from cdkit.registry.prints import prints_aside
from cdkit.registry.record import Entry, Record, Status

SLOW = 5.0  # seconds of an import that its user is told of
LONGEST = 400  # characters of an error
TRACE = 10_000  # characters of either end of a traceback
LIGHT = ("command", "run", "claim")  # kinds that need no torch


def load(entry: Entry) -> tuple[Any, Record]:
    """What the entry's hook gives, and a record of how it went; (None, record) where anything but Ctrl-C got in the way."""
    if entry.kind not in LIGHT:
        import_module("cdkit.parts")  # torch's own import is nobody's fault
    started, modules = perf_counter(), dict(sys.modules)
    try:
        with prints_aside(f"{entry.dist} {entry.version}"):
            part = _imported(entry, modules)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit at import ends no program of ours
        return None, _failure(entry, error, _since(started))
    finally:
        put_back(modules)
    spent = _since(started)
    if spent > SLOW * 1000:
        took = f"{entry.dist} {entry.version}, entry point {entry.line}: its import took {spent / 1000:.1f} s"
        print(f"warning: {took}", file=sys.stderr)
    return part, Record(entry, "loaded", spent)


def _imported(entry: Entry, modules: Mapping[str, ModuleType]) -> Any:
    """The part, held to the contract of its kind."""
    plugin = EntryPoint(f"{entry.kind}.{entry.name}", entry.value, GROUP).load()
    if taken := put_back(modules):
        names = ", ".join(taken[:3]) + (f" and {len(taken) - 3} more" if len(taken) > 3 else "")
        raise Misfit(f"its import took away or replaced modules of others: {names}; they were put back")
    part = called(plugin, entry)
    keep_contract(entry.kind, part)
    return part


def put_back(modules: Mapping[str, ModuleType]) -> list[str]:
    """Restore what was taken out of sys.modules, or replaced there; the names of those."""
    taken = [name for name, module in modules.items() if sys.modules.get(name) is not module]
    for name in taken:
        sys.modules[name] = modules[name]
    return taken


def called(plugin: Any, entry: Entry) -> Any:
    """What the hook of the entry's kind returns."""
    manager = registered(plugin, entry)
    name = hook_of(entry.kind)
    caller = getattr(manager.hook, name)
    if not (made_by := caller.get_hookimpls()):
        others = [hook for hook in map(hook_of, KINDS) if getattr(manager.hook, hook).get_hookimpls()]
        raise Misfit(f"it does not implement {name}" + (f", only {', '.join(others)}" if others else ""))
    made = caller()
    if not made:
        raise Misfit(f"{name} returned None; expected the part", made_by[0].function)
    return made[0]


def trial_of(entry: Entry) -> Trial:
    """How the part wants to be tried, by the hook beside its own; a Trial of nothing where there is none."""
    plugin = EntryPoint(f"{entry.kind}.{entry.name}", entry.value, GROUP).load()
    said = registered(plugin, entry).hook.cdkit_trial()
    return said[0] if said else Trial()


def registered(plugin: Any, entry: Entry) -> pluggy.PluginManager:
    """A manager of the plugin's own. Misfit where its hooks are of another cdkit, or misspelt."""
    check_api(plugin, entry)
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hooks)
    manager.register(plugin, entry.value)
    check_spelling(manager)
    return manager


def check_api(plugin: Any, entry: Entry) -> None:
    """A plugin may say `cdkit_api = 1`; one that says more is of a newer cdkit."""
    needs = getattr(plugin, "cdkit_api", API)
    if needs != API:
        newer = isinstance(needs, int) and needs > API
        line = f"`pip install --upgrade {'cdkit' if newer else entry.dist}`"
        raise Misfit(f"the plugin needs API {needs}, cdkit has {API}", mend=line, status="incompatible")


def check_spelling(manager: pluggy.PluginManager) -> None:
    """pluggy accepts hooks that nobody declared unless it is asked about them."""
    known = [*map(hook_of, KINDS), hook_of("trial")]
    for caller in vars(manager.hook).values():
        if isinstance(caller, pluggy.HookCaller) and not caller.has_spec():
            message = f"unknown hook {caller.name!r}; the hooks are {', '.join(known)}{did_you_mean(caller.name, known)}"
            raise Misfit(message, caller.get_hookimpls()[0].function)


def hook_of(kind: str) -> str:
    return f"{GROUP}_{kind}"


def described(error: BaseException) -> str:
    """The error in one line, of a length that can be read: `ImportError: No module named 'x'`."""
    try:
        if isinstance(error, SystemExit):
            return brief(f"it called sys.exit({error.code!r}) while it was being imported", LONGEST)
        if isinstance(error, pluggy.PluginValidationError):
            return brief(str(error).partition("\n")[2] or str(error), LONGEST)
        return brief(str(error) if isinstance(error, Misfit) else f"{type(error).__name__}: {error}", LONGEST)
    except KeyboardInterrupt:
        raise
    except BaseException as worse:
        return f"{type(error).__name__}, whose text cannot be had: its __str__ raises {type(worse).__name__}"


def _failure(entry: Entry, error: BaseException, spent: float) -> Record:
    """What is known of it: what, where and how to mend it."""
    misfit = error if isinstance(error, Misfit) else None
    where = definition(misfit.culprit, entry) if misfit else last_frame(error, entry) or definition(None, entry)
    trace = "".join(traceback.format_exception(error))
    if len(trace) > 2 * TRACE:
        trace = f"{trace[:TRACE]}\n…\n{trace[-TRACE:]}"
    status: Status = misfit.status if misfit else "failed"
    return Record(entry, status, spent, described(error), where, trace, mend(error, entry))


def _since(started: float) -> float:
    """Milliseconds."""
    return round((perf_counter() - started) * 1000, 1)
