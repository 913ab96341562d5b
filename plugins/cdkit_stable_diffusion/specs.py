"""A layout as a spec of ours, and a spec of ours as a layout: which of them are Stable Diffusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cdkit.parts import UsageError

from cdkit_stable_diffusion.layout import Layout
from cdkit_stable_diffusion.unet_names import Methods

SIZES = {2816: 6, 2560: 5}  # numbers that SDXL's U-Nets are told beside the pooled text, by the width of all of it
DEFAULTS = {6: [1024, 1024, 0, 0, 1024, 1024], 5: [1024, 1024, 0, 0, 6]}  # pixels: original, crop, target or score
SIZE_WIDTH = 256  # of each number's sinusoid
POOLED = 1280


def spec_of(
    layout: Layout,
    *,
    name: str,
    side: int,
    diffusion: Mapping[str, Any],
    sampler: Mapping[str, Any],
    texts: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """The spec of a checkpoint. side: rows of a latent. texts: options of its one or two text encoders."""
    heads = {"heads": layout.heads} if layout.heads else {"head_dim": layout.head_dim}
    conditions, words = conditions_of(layout, texts)
    injectors: list[dict[str, Any]] = [{"use": "cross_attention", "streams": [words], **heads, "padding": "attend"}]
    if layout.added:
        injectors.append({"use": "add", "streams": ["added"], "hidden": 4 * layout.width})
    if layout.channels > layout.out:
        extra = layout.channels - layout.out
        conditions["masked"] = {"use": "map", "channels": extra, "resize": "refuse", "column": "masked", "dropout": 0.0}
        injectors.append({"use": "concat", "streams": ["masked"]})
    return {
        "cdkit": 1,
        "name": name,
        "sample": {"channels": layout.out, "height": side, "width": side},
        "conditions": conditions,
        "injectors": injectors,
        "backbone": {
            "use": "unet",
            "width": layout.width,
            "mult": list(layout.mult),
            "blocks": layout.blocks,
            "attention": list(layout.attention),
            "depth": depth_of(layout),
            **heads,
            "projection": "linear" if layout.linear else "conv",
            "groups": layout.groups,
            **small_groups(layout),
        },
        "autoencoder": {"use": "kl", "model": "here:vae"},
        "diffusion": dict(diffusion),
        "guidance": {"use": "cfg", "scale": 7.5},
        "sampler": dict(sampler),
    }


def small_groups(layout: Layout) -> dict[str, int]:
    """`unet` makes no groups of fewer than 4 channels unless it is told to; published networks of test size have them."""
    least = layout.width // layout.groups
    return {"smallest_group": least} if least < 4 else {}


def conditions_of(layout: Layout, texts: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], str]:
    """The conditions, and which of them the words of cross-attention are."""
    if not layout.added:
        return {"text": {"use": "clip", **texts[0]}}, "text"
    names = ["text"] if len(texts) == 1 else ["text_l", "text_g"]
    conditions: dict[str, Any] = {name: {"use": "clip", **text} for name, text in zip(names, texts, strict=True)}
    if len(names) == 2:
        conditions["text"] = {"use": "join", "of": names, "axis": "features"}
    count = SIZES.get(layout.added, (layout.added - POOLED) // SIZE_WIDTH)
    default = {"default": DEFAULTS[count]} if count in DEFAULTS else {}
    conditions["sizes"] = {"use": "size", "count": count, "dim": SIZE_WIDTH, "dropout": 0.0, **default}
    conditions["added"] = {"use": "join", "of": [names[-1], "sizes"], "axis": "pooled"}
    return conditions, "text"


def depth_of(layout: Layout) -> int | list[int]:
    """Our `depth`, of which the middle takes the last. UsageError where the middle differs from a last level that has some."""
    if layout.depth[-1] and layout.depth[-1] != layout.middle:
        raise UsageError(
            f"the last level has {layout.depth[-1]} transformer blocks and the middle {layout.middle}; `unet` has one"
        )
    each = [*layout.depth[:-1], layout.middle]
    return each[-1] if set(each) == {layout.middle} else each


def methods_of(spec: Mapping[str, Any]) -> Methods:
    """What this spec calls the injectors of Stable Diffusion. UsageError names what Stable Diffusion has no place for."""
    fields = {"cross_attention": "words", "add": "added", "concat": "channels"}
    mounted = [(bare(injector["use"]), injector) for injector in spec.get("injectors", [])]
    uses = [use for use, _ in mounted]
    for place, use in enumerate(uses):
        if use not in fields or use in uses[:place]:
            twice = " a second time" if use in fields else ""
            raise UsageError(
                f"Stable Diffusion's layout has no place for the injector {use!r}{twice}; it has {', '.join(fields)}"
            )
    if "cross_attention" not in uses:
        raise UsageError("Stable Diffusion's layout needs a cross_attention; this spec mounts none")
    for use, injector in mounted:
        check_injector(use, injector)
    return Methods(**{fields[use]: injector.get("name") or use for use, injector in mounted})


def check_injector(use: str, injector: Mapping[str, Any]) -> None:
    """UsageError for options of an injector that others' U-Nets cannot be told."""
    if list(injector.get("sites") or ["*"]) != ["*"]:
        raise UsageError(f"injector {use!r} is confined to {injector['sites']}; Stable Diffusion has it at every site")
    if use == "cross_attention" and injector.get("padding", "mask") != "attend":
        raise UsageError(
            "cross_attention has `padding: mask`, but Stable Diffusion's pipelines attend to padding, so pictures would differ",
            hint="train with `padding: attend` what is to be exported",
        )


def layout_from(spec: Mapping[str, Any], context: int) -> Layout:
    """The layout of a spec's backbone. context: width of a word. UsageError for another network than `unet`."""
    backbone = spec["backbone"]
    if bare(backbone["use"]) != "unet":
        raise UsageError(f"Stable Diffusion's layout has no place for the backbone {backbone['use']!r}; it has `unet`")
    check_groups(backbone)
    mult = tuple(int(factor) for factor in backbone.get("mult", (1, 2, 4, 4)))
    told = backbone.get("depth", 1)
    each = [told] * len(mult) if isinstance(told, int) else list(told)
    attention = backbone.get("attention", (0, 1, 2))
    extra = sum(int(options.get("channels", 1)) for options in concatenated(spec))
    channels = int(spec["sample"]["channels"])
    adding = any(bare(injector["use"]) == "add" for injector in spec.get("injectors", []))
    return Layout(
        width=int(backbone.get("width", 320)),
        mult=mult,
        blocks=int(backbone.get("blocks", 2)),
        depth=tuple(number if level in attention else 0 for level, number in enumerate(each)),
        middle=each[-1],
        context=context,
        linear=backbone.get("projection", "conv") == "linear",
        channels=channels + extra,
        out=channels,
        added=added_width(spec) if adding else 0,
        heads=backbone.get("heads"),
        head_dim=backbone.get("head_dim"),
        groups=int(backbone.get("groups", 32)),
    )


def check_groups(backbone: Mapping[str, Any]) -> None:
    """UsageError if not every normalisation has the same number of groups, which is all that others' U-Nets can be told."""
    width, groups = int(backbone.get("width", 320)), int(backbone.get("groups", 32))
    if width % groups or width // groups < int(backbone.get("smallest_group", 4)):
        raise UsageError(
            f"the normalisations of a U-Net of width {width} have different numbers of groups from level to level, and "
            "Stable Diffusion's have one number everywhere",
            hint="train with a `groups` that divides `width` into groups of at least 4 channels",
        )


def concatenated(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The conditions that `concat` reads."""
    streams = [
        name for injector in spec.get("injectors", []) if bare(injector["use"]) == "concat" for name in injector["streams"]
    ]
    return [spec["conditions"][name] for name in streams]


def added_width(spec: Mapping[str, Any]) -> int:
    """How wide what joins the time embedding is: the pooled text and every number's sinusoid."""
    numbers = [options for options in spec["conditions"].values() if bare(options["use"]) == "size"]
    return POOLED + sum(int(options.get("count", 6)) * int(options.get("dim", SIZE_WIDTH)) for options in numbers)


def bare(use: str) -> str:
    """A part's name without its distribution."""
    return use.rpartition("/")[2]
