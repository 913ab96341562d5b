"""Cross-checks: what is wrong between parts, before any is made. They read nodes, so that one mistake hides no other."""

from __future__ import annotations

from collections.abc import Iterator

from cdkit.registry.names import did_you_mean, nearest, quoted
from cdkit.spec.nodes import Entry, Listing, Node, Table, is_null, text_of
from cdkit.spec.problem import Problem


def crossed(root: Table) -> list[Problem]:
    """Streams that are no conditions, conditions that nobody reads, injectors of one name, guidance by nothing."""
    conditions, injectors = conditions_of(root), injectors_of(root)
    return [
        *unknown_streams(conditions, injectors),
        *unread(conditions, injectors),
        *same_names(injectors),
        *empty_handed(root, conditions),
        *untrained(root),
    ]


def conditions_of(root: Table) -> dict[str, Entry]:
    node = root.get("conditions")
    entries = node.entries if isinstance(node, Table) else {}
    return {name: entry for name, entry in entries.items() if not entry.deletes and not is_null(entry.node)}


def injectors_of(root: Table) -> list[tuple[str, Table]]:
    """The injectors that are mappings, each with its path."""
    node = root.get("injectors")
    items = node.items if isinstance(node, Listing) else ()
    return [(f"injectors.{index}", item) for index, item in enumerate(items) if isinstance(item, Table)]


def names_in(table: Node, key: str) -> list[tuple[str, Node]]:
    """The texts of a list under a key, each with its node."""
    node = table.get(key) if isinstance(table, Table) else None
    items = node.items if isinstance(node, Listing) else () if node is None else (node,)
    return [(text, item) for item in items if (text := text_of(item)) is not None]


def unknown_streams(conditions: dict[str, Entry], injectors: list[tuple[str, Table]]) -> Iterator[Problem]:
    """Every name in `streams` and `of` is a condition, each once; a list of none reads nothing."""
    readers = [(path, node, "streams") for path, node in injectors]
    readers += [(f"conditions.{name}", entry.node, "of") for name, entry in conditions.items() if isinstance(entry.node, Table)]
    known = ", ".join(conditions) or "none"
    for path, node, key in readers:
        written = node.get(key)
        if isinstance(written, Listing) and not written.items:
            message = f"an empty list; expected at least one condition of {known}"
            yield Problem(written.place, f"{path}.{key}", message, code="unknown-condition")
        seen: set[str] = set()
        for text, item in names_in(node, key):
            if text not in conditions:
                message = f"there is no condition {quoted(text)}{did_you_mean(text, conditions)}"
                yield Problem(item.place, f"{path}.{key}", message, f"the conditions are {known}", "unknown-condition")
            elif text in seen or path == f"conditions.{text}":
                message = f"{text!r} is named twice" if text in seen else f"{text!r} joins itself"
                yield Problem(item.place, f"{path}.{key}", message, code="duplicate-condition")
            seen.add(text)


def unread(conditions: dict[str, Entry], injectors: list[tuple[str, Table]]) -> Iterator[Problem]:
    """A condition that no injector and no joiner reads would be silently ignored."""
    nodes = [node for _, node in injectors] + [entry.node for entry in conditions.values()]
    said = {text for node in nodes for key in ("streams", "of") for text, _ in names_in(node, key)}
    read = said | {nearest(text, conditions) for text in said - conditions.keys()}
    for name, entry in conditions.items():
        if name not in read:
            yield Problem(
                entry.place,
                f"conditions.{name}",
                "no injector and no joiner reads it, so it would be silently ignored",
                f"add an injector with streams: [{name}], or remove it",
                "unread-condition",
            )


def same_names(injectors: list[tuple[str, Table]]) -> Iterator[Problem]:
    """Injectors are told apart by name, which is `use` where none is written."""
    first: dict[str, Table] = {}
    for path, node in injectors:
        name = text_of(node.get("name")) or (text_of(node.get("use")) or "").rpartition("/")[2]
        if name and name in first:
            message = f"a second injector of the name {name!r}; the first is at {first[name].place}"
            yield Problem(node.place, path, message, f"give one of them a name of its own: name: {name}_2", "duplicate-name")
        elif name:
            first[name] = node


def empty_handed(root: Table, conditions: dict[str, Entry]) -> Iterator[Problem]:
    """What needs conditions or data, and has none."""
    guidance, evaluate = root.get("guidance"), root.get("evaluate")
    if guidance is not None and not is_null(guidance) and not conditions:
        yield Problem(
            guidance.place, "guidance", "there is no condition to guide by", "declare `conditions:`, or remove it", "unread"
        )
    train = root.get("train")
    prompts = train.get("prompts") if isinstance(train, Table) else None
    if isinstance(prompts, Listing) and prompts.items and not conditions:
        yield Problem(prompts.place, "train.prompts", "there is no condition to say them to", "declare `conditions:`", "unread")
    data = root.get("data")
    if isinstance(evaluate, Listing) and evaluate.items and (data is None or is_null(data)):
        yield Problem(
            evaluate.place, "evaluate", "there is no `data:` to evaluate on", "name a data set: data: {use: ...}", "unread"
        )


def untrained(root: Table) -> Iterator[Problem]:
    """A task that trains an autoencoder, where there is none, or beside a LoRA of the denoiser."""
    task, autoencoder, lora = root.get("task"), root.get("autoencoder"), root.get("lora")
    if task is None or text_of(task) != "autoencoder":
        return
    if autoencoder is None or is_null(autoencoder):
        yield Problem(task.place, "task", "there is no `autoencoder:` to train", "name one: autoencoder: {use: tiny}", "unread")
    if lora is not None and not is_null(lora):
        yield Problem(lora.place, "lora", "this task trains the autoencoder, and a LoRA adapts the denoiser", code="unread")
