"""U-Net tensors by diffusers' names and by those of CompVis and sgm, where blocks are counted along the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cdkit_stable_diffusion.layout import Layout

TOP = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}


def names(layout: Layout) -> Mapping[str, str]:
    """Prefixes of diffusers -> prefixes of CompVis, every one of them up to what both name alike."""
    blocks = {**TOP, **dict(_down(layout)), **dict(_up(layout))}
    resnets = [(theirs, ours) for theirs, ours in blocks.items() if ".resnets." in theirs]
    inner = {f"{theirs}.{a}": f"{ours}.{b}" for theirs, ours in resnets for a, b in RESNET.items()}
    return {**{theirs: ours for theirs, ours in blocks.items() if ".resnets." not in theirs}, **inner}


def _down(layout: Layout) -> Iterator[tuple[str, str]]:
    index = 1
    for level, depth in enumerate(layout.depth):
        for place in range(layout.blocks):
            yield f"down_blocks.{level}.resnets.{place}", f"input_blocks.{index}.0"
            if depth:
                yield f"down_blocks.{level}.attentions.{place}", f"input_blocks.{index}.1"
            index += 1
        if level < layout.levels - 1:
            yield f"down_blocks.{level}.downsamplers.0.conv", f"input_blocks.{index}.0.op"
            index += 1


def _up(layout: Layout) -> Iterator[tuple[str, str]]:
    index = 0
    for level, depth in enumerate(reversed(layout.depth)):
        for place in range(layout.blocks + 1):
            yield f"up_blocks.{level}.resnets.{place}", f"output_blocks.{index}.0"
            if depth:
                yield f"up_blocks.{level}.attentions.{place}", f"output_blocks.{index}.1"
            if place == layout.blocks and level < layout.levels - 1:
                # The upsampler comes after the transformer where there is one.
                yield f"up_blocks.{level}.upsamplers.0.conv", f"output_blocks.{index}.{2 if depth else 1}.conv"
            index += 1
