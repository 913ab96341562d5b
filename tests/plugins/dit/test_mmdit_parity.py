"""`mmdit` against diffusers in float64 on shared random weights: a block, mutants of it that must differ, and SD3's network.

The network is built from a spec, with `in_context` for the words and `add` for the pooled text, as Stable Diffusion 3 has them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.build import assemble
from cdkit.parts import Site, Stream
from cdkit.spec import read_spec
from cdkit_dit.joint_block import JointBlock
from diffusers.models.attention import JointTransformerBlock
from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.nn import functional as F

WIDTH, HEADS = 12, 3
PAIRS = {
    "norm1.linear": "picture.modulation.linear",
    "norm1_context.linear": "words.modulation.linear",
    "attn.to_q": "attn.to_q",
    "attn.to_k": "attn.to_k",
    "attn.to_v": "attn.to_v",
    "attn.to_out.0": "attn.to_out",
    "attn.add_q_proj": "attn.add_q_proj",
    "attn.add_k_proj": "attn.add_k_proj",
    "attn.add_v_proj": "attn.add_v_proj",
    "attn.to_add_out": "attn.to_add_out",
    "attn.norm_q": "attn.norm_q",
    "attn.norm_k": "attn.norm_k",
    "attn.norm_added_q": "attn.norm_added_q",
    "attn.norm_added_k": "attn.norm_added_k",
    "ff.net.0.proj": "picture.mlp.0",
    "ff.net.2": "picture.mlp.2",
    "ff_context.net.0.proj": "words.mlp.0",
    "ff_context.net.2": "words.mlp.2",
}
ROUND = {
    "pos_embed.proj": "stem",
    "time_text_embed.timestep_embedder.linear_1": "time.linear1",
    "time_text_embed.timestep_embedder.linear_2": "time.linear2",
    "time_text_embed.text_embedder.linear_1": "embed_site.taps.add.project.0",
    "time_text_embed.text_embedder.linear_2": "embed_site.taps.add.project.2",
    "context_embedder": "sequence.taps.in_context.project",
    "norm_out.linear": "modulation.linear",
    "proj_out": "out",
}
DEPTH, SIDE = 3, 8
MMDIT = Path(__file__).parents[3] / "specs" / "mmdit_digits.yaml"
UNASKED = {"attn.add_q_proj", "attn.norm_added_q"}  # the last block's: diffusers has them, and drops what they answer


class RootMeanSquare(nn.Module):
    """diffusers' RMSNorm, which rounds the mean square to float32, without that."""

    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, x: Tensor) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * self.weight


class Same(nn.Module):
    """A slot that nobody fills."""

    def forward(self, h: Tensor, _signals: object, _emb: Tensor) -> Tensor:
        return h


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@torch.no_grad()
def armed(module: nn.Module) -> Any:
    module = module.double().eval()
    for i, parameter in enumerate(module.parameters()):
        parameter.copy_(rand(*parameter.shape, seed=i) / parameter[0].numel() ** 0.5)
    return module


def theirs(*, last: bool, qk_norm: bool, exact: bool = True) -> Any:
    """exact: root mean squares in float64."""
    block = armed(JointTransformerBlock(WIDTH, HEADS, WIDTH // HEADS, last, "rms_norm" if qk_norm else None))
    return exactly(block) if qk_norm and exact else block


def exactly(block: Any) -> Any:
    for name in ("norm_q", "norm_k", "norm_added_q", "norm_added_k"):
        setattr(block.attn, name, RootMeanSquare(getattr(block.attn, name).weight))
    return block


def ours(block: Any, *, last: bool, qk_norm: bool) -> Any:
    """A block with the weights of theirs, every one of them in its place."""
    made = JointBlock(
        lambda _name, _kind, _layout: Same(),
        "b",
        WIDTH,
        embedding=WIDTH,
        heads=HEADS,
        mlp_ratio=4.0,
        qk_norm=qk_norm,
        last=last,
    ).double()
    made.load_state_dict(renamed(block, last=last))
    return made.eval()


def renamed(block: Any, *, last: bool) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    for path, tensor in block.state_dict().items():
        layer, leaf = path.rsplit(".", 1)
        if not (last and layer in UNASKED):
            weights[f"{PAIRS[layer]}.{leaf}"] = swapped(tensor) if last and layer == "norm1_context.linear" else tensor
    return weights


def swapped(tensor: Tensor) -> Tensor:
    """Where diffusers has but two, they are scale, then shift; ours, like Stability's, are shift, then scale."""
    return torch.cat(tensor.chunk(2)[::-1])


def given(n: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    return rand(n, 6, WIDTH), rand(n, 4, WIDTH, seed=1), rand(n, WIDTH, seed=2)


def difference(block: Any, peer: Any) -> float:
    """The largest, of the picture's rows, and of the words' where the peer has any."""
    h, words, emb = given()
    with torch.no_grad():
        told, expected = block(h, words, None, emb, {}), peer(h, words, emb)[::-1]
    assert expected[0].std() > 0.5
    return max(float((a - b).abs().max()) for a, b in zip(told, expected, strict=True) if b is not None)


FORMS = [(last, qk_norm) for last in (False, True) for qk_norm in (False, True)]


@pytest.mark.parametrize(("last", "qk_norm"), FORMS)
def test_a_block_is_that_of_diffusers(last: bool, qk_norm: bool) -> None:
    peer = theirs(last=last, qk_norm=qk_norm)
    assert difference(ours(peer, last=last, qk_norm=qk_norm), peer) < 1e-12


@pytest.mark.parametrize("last", [False, True])
def test_as_it_comes_theirs_differs_by_the_rounding_of_its_mean_square(last: bool) -> None:
    peer = theirs(last=last, qk_norm=True, exact=False)
    assert 1e-12 < difference(ours(peer, last=last, qk_norm=True), peer) < 1e-5


def other_gates(block: Any) -> None:
    """Gate and shift of the feed-forward change places."""
    linear = block.picture.modulation.linear
    for tensor in (linear.weight, linear.bias):
        tensor.copy_(torch.cat([tensor.chunk(6)[i] for i in (0, 1, 5, 3, 4, 2)]))


def one_for_both(block: Any) -> None:
    """The words' keys by the picture's weights."""
    block.attn.add_k_proj = block.attn.to_k


def shared_modulation(block: Any) -> None:
    """The words are modulated as the picture is."""
    linear = block.words.modulation.linear
    for own, other in ((linear.weight, "weight"), (linear.bias, "bias")):
        own.copy_(getattr(block.picture.modulation.linear, other)[: len(own)])


def apart(block: Any) -> None:
    """The picture is deaf to the words, as in two attentions."""
    asked = block.attn._asked

    def deaf(q: Tensor, h: Tensor, words: Tensor, mask: Tensor | None) -> Tensor:
        return torch.cat([asked(q[:, :, : h.shape[1]], h, words[:, :0], mask), asked(q, h, words, mask)[:, h.shape[1] :]], dim=1)

    block.attn._asked = deaf


def backwards(block: Any) -> None:
    """Answers are given to the wrong rows, so the picture's to the words."""
    asked = block.attn._asked
    block.attn._asked = lambda *args: asked(*args).flip(1)


def unnormed_affine(block: Any) -> None:
    """A LayerNorm that learns a scale of its own beside the modulation's."""
    block.picture.norm2 = nn.LayerNorm(WIDTH, eps=1e-6).double()
    block.picture.norm2.weight.mul_(1.1)


def exact_gelu(block: Any) -> None:
    """GELU by the error function where its tanh form is published."""
    block.picture.mlp[1] = nn.GELU()


def merged_heads(block: Any) -> None:
    """All heads as one."""
    block.attn.heads = 1


def coarse_epsilon(block: Any) -> None:
    """LayerNorm's usual epsilon."""
    block.words.norm1.eps = 1e-5


MUTANTS = [
    other_gates,
    one_for_both,
    shared_modulation,
    apart,
    backwards,
    unnormed_affine,
    exact_gelu,
    merged_heads,
    coarse_epsilon,
]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
@torch.no_grad()
def test_a_mutant_is_not(mutant: Any, last: bool) -> None:
    peer = theirs(last=last, qk_norm=False)
    block = ours(peer, last=last, qk_norm=False)
    mutant(block)
    assert difference(block, peer) > 1e-7


@pytest.mark.parametrize("name", ["norm_q", "norm_k", "norm_added_q", "norm_added_k"])
@torch.no_grad()
def test_every_query_and_key_has_a_norm_of_its_own(name: str) -> None:
    peer = theirs(last=False, qk_norm=True)
    block = ours(peer, last=False, qk_norm=True)
    setattr(block.attn, name, nn.Identity())
    assert difference(block, peer) > 1e-3


@torch.no_grad()
def test_a_masked_word_is_as_none() -> None:
    for last, qk_norm in FORMS:
        block = ours(theirs(last=last, qk_norm=qk_norm), last=last, qk_norm=qk_norm)
        h, words, emb = given()
        counts = torch.tensor([True] * 6 + [True, False, True, False]).expand(2, 1, 1, 10)
        told, told_words = block(h, words, counts, emb, {})
        few, few_words = block(h, words[:, ::2], None, emb, {})
        torch.testing.assert_close(told, few, rtol=0, atol=1e-12)
        torch.testing.assert_close(told_words[:, ::2], words[:, ::2] if last else few_words, rtol=0, atol=1e-12)
        assert (told - block(h, words, None, emb, {})[0]).abs().max() > 1e-3


def test_gradients_of_a_block() -> None:
    block = ours(theirs(last=False, qk_norm=True), last=False, qk_norm=True)
    h, words, emb = (x[:1].requires_grad_() for x in given())
    assert gradcheck(lambda *x: block(x[0], x[1], None, x[2], {}), (h[:, :2], words[:, :2], emb), atol=1e-6)


def test_only_the_picture_has_places() -> None:
    sites: list[Site] = []

    def opened(name: str, kind: Any, layout: Any) -> Same:
        sites.append(Site(name, kind, layout, WIDTH, 1, WIDTH))
        return Same()

    JointBlock(opened, "b", WIDTH, embedding=WIDTH, heads=HEADS, mlp_ratio=1.0, qk_norm=False, last=False)
    assert [(site.name, site.kind) for site in sites] == [
        ("b.norm1", "norm"),
        ("b.branch1", "branch"),
        ("b.attend", "attend"),
        ("b.norm2", "norm"),
        ("b.branch2", "branch"),
    ]


def their_network(*, qk_norm: bool) -> Any:
    network = armed(
        SD3Transformer2DModel(
            sample_size=SIDE,
            patch_size=2,
            in_channels=1,
            num_layers=DEPTH,
            attention_head_dim=WIDTH // HEADS,
            num_attention_heads=HEADS,
            joint_attention_dim=8,
            caption_projection_dim=WIDTH,
            pooled_projection_dim=8,
            out_channels=1,
            pos_embed_max_size=SIDE // 2,
            qk_norm="rms_norm" if qk_norm else None,
        )
    )
    for block in network.transformer_blocks if qk_norm else ():
        exactly(block)
    return network


def our_network(network: Any, *, qk_norm: bool) -> Any:
    """The model of a spec with the weights of theirs; positions too, which differ by the rounding to float32."""
    told = (
        f"backbone={{use: mmdit, patch: 2, width: {WIDTH}, depth: {DEPTH}, heads: {HEADS}, qk_norm: {str(qk_norm).lower()}}}",
        "conditions.text={use: bytes, dim: 8, depth: 1}",
        f"injectors=[{{use: in_context, streams: [text]}}, {{use: add, streams: [text], hidden: {WIDTH}}}]",
    )
    model = assemble(read_spec(MMDIT, overrides=told)).double().eval()
    weights = {"sequence.taps.in_context.norm.weight": torch.ones(8), "sequence.taps.in_context.norm.bias": torch.zeros(8)}
    for layer, name in ROUND.items():
        for leaf, tensor in network.get_submodule(layer).state_dict().items():
            weights[f"{name}.{leaf}"] = swapped(tensor) if layer == "norm_out.linear" else tensor
    for i, block in enumerate(network.transformer_blocks):
        weights |= {f"blocks.{i}.{path}": tensor for path, tensor in renamed(block, last=i == DEPTH - 1).items()}
    model.backbone.load_state_dict(weights)
    positions = network.pos_embed.pos_embed.transpose(1, 2).unflatten(2, (SIDE // 2, SIDE // 2))
    torch.testing.assert_close(model.backbone.positions, positions, rtol=0, atol=1e-6)
    model.backbone.positions = positions
    return model


@pytest.mark.parametrize("qk_norm", [False, True])
@torch.no_grad()
def test_the_network_is_that_of_stable_diffusion_3(qk_norm: bool) -> None:
    peer = their_network(qk_norm=qk_norm)
    model = our_network(peer, qk_norm=qk_norm)
    x, words, pooled, t = rand(2, 1, SIDE, SIDE), rand(2, 5, 8, seed=1), rand(2, 8, seed=2), torch.tensor([20.0, 700.0])
    # `in_context` normalises its words and SD3 does not, so SD3 is given what the norm leaves.
    expected = peer(x, F.layer_norm(words, (8,)), pooled, t).sample
    told = model.backbone(x, t, model.prepare({"text": Stream(tokens=words, pooled=pooled)}))
    assert expected.std() > 0.3
    torch.testing.assert_close(told, expected, rtol=0, atol=1e-12)
    for other in (Stream(tokens=words.flip(2), pooled=pooled), Stream(tokens=words, pooled=pooled.flip(1))):
        assert (model.backbone(x, t, model.prepare({"text": other})) - expected).abs().max() > 1e-3
