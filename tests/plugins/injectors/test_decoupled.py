"""decoupled: IP-Adapter's attention number for number, its published names, and mutants that the parity kills."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from cdkit.parts import SampleShape, Site, Stream, Widths
from cdkit_injectors import decoupled
from cdkit_injectors.cross_attention import CrossAttention
from cdkit_injectors.decoupled import Decoupled, DecoupledTap
from cdkit_stable_diffusion.ip_adapter import published
from cdkit_unet.unet import UNet
from torch import Tensor, nn

CHANNELS, WORDS, IMAGE, HEADS, SCALE = 12, 8, 6, 3, 0.6
WIDTHS = (Widths(tokens=WORDS), Widths(tokens=IMAGE, pooled=4))
NAMES = ("text", "image")
ATTEND = Site("mid.attend", "attend", "tokens", CHANNELS, 4, 16)
TOLERANCE = 1e-12


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def opened(injector: Any) -> Any:
    """Its tap, every parameter drawn."""
    tap = injector.tap(ATTEND).double()
    for i, parameter in enumerate(tap.parameters()):
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(i))
    return tap


def made(**options: Any) -> Any:
    return opened(Decoupled(NAMES, WIDTHS, heads=HEADS, **({"scale": SCALE} | options)))


EMB, H = drawn(2, 16), drawn(2, 5, CHANNELS, seed=3)
TEXT = Stream(tokens=drawn(2, 7, WORDS, seed=4), mask=torch.tensor([[True] * 7, [True] * 3 + [False] * 4]))
PICTURE = Stream(tokens=drawn(2, 4, IMAGE, seed=5), mask=torch.tensor([[True, True, False, True], [True] * 4]))


def theirs(tap: Any, words: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """diffusers' IPAdapterAttnProcessor2_0 around diffusers' Attention, with the tap's weights; one sample a call."""
    processor = pytest.importorskip("diffusers.models.attention_processor")
    attention = processor.Attention(CHANNELS, WORDS, heads=HEADS, dim_head=CHANNELS // HEADS).double()
    attention.load_state_dict(tap.attn2.state_dict())
    ip = processor.IPAdapterAttnProcessor2_0(CHANNELS, IMAGE, num_tokens=(image.shape[1],), scale=SCALE).double()
    ip.to_k_ip[0].weight.data, ip.to_v_ip[0].weight.data = tap.to_k_ip.weight.data, tap.to_v_ip.weight.data
    attention.set_processor(ip)
    bias = torch.zeros(mask.shape, dtype=torch.float64).masked_fill(~mask, -torch.inf)[:, None].expand(-1, H.shape[1], -1)
    return attention(tap.norm2(H), encoder_hidden_states=(words, [image]), attention_mask=bias)


def apart(found: Tensor, expected: Tensor) -> float:
    return float(((found - expected).abs().max() / expected.abs().max()).detach())


def error_against_diffusers() -> float:
    """Text masked as it is, the image whole: diffusers knows no mask of image tokens."""
    tap = made()
    assert TEXT.tokens is not None
    assert PICTURE.tokens is not None
    assert TEXT.mask is not None
    with torch.no_grad():
        expected = H + theirs(tap, TEXT.tokens, PICTURE.tokens, TEXT.mask)
        return apart(tap(H, tap.prepare(TEXT, Stream(tokens=PICTURE.tokens)), EMB), expected)


def error_by_hand() -> float:
    """Both masks, sample by sample and head by head."""
    tap = made()
    with torch.no_grad():
        expected = torch.stack([by_hand(tap, row) for row in range(2)])
        return apart(tap(H, tap.prepare(TEXT, PICTURE), EMB), expected)


def by_hand(tap: Any, row: int) -> Tensor:
    said = [part.tokens[row, part.mask[row]] for part in (TEXT, PICTURE)]  # pyright: ignore[reportOptionalSubscript]
    query = tap.attn2.to_q(tap.norm2(H[row])).chunk(HEADS, dim=1)
    words = [tap.attn2.to_k(said[0]).chunk(HEADS, dim=1), tap.attn2.to_v(said[0]).chunk(HEADS, dim=1)]
    image = [tap.to_k_ip(said[1]).chunk(HEADS, dim=1), tap.to_v_ip(said[1]).chunk(HEADS, dim=1)]
    heads = []
    for head in range(HEADS):
        q = query[head] / (CHANNELS // HEADS) ** 0.5
        answers = [(q @ k[head].T).softmax(1) @ v[head] for k, v in (words, image)]
        heads.append(answers[0] + SCALE * answers[1])
    return H[row] + tap.attn2.to_out[0](torch.cat(heads, dim=1))


def test_it_is_what_diffusers_computes() -> None:
    assert error_against_diffusers() <= TOLERANCE


def test_it_is_what_the_paper_writes_with_masks_for_both() -> None:
    assert error_by_hand() <= TOLERANCE


def no_scale(tap: DecoupledTap, h: Tensor, signal: Any, emb: Tensor) -> Tensor:
    tap.scale = 1.0
    return FORWARD(tap, h, signal, emb)


def text_values(tap: DecoupledTap, *streams: Stream) -> Any:
    """Image keys with the words' values."""
    (keys, values, *mask), (image_keys, *_) = PREPARE(tap, *streams)
    shorter = values[:, : image_keys.shape[1]]
    return (keys, values, *mask), (image_keys, shorter)


def no_image_mask(tap: DecoupledTap, *streams: Stream) -> Any:
    return PREPARE(tap, streams[0], Stream(tokens=streams[1].tokens))


def no_text_mask(tap: DecoupledTap, *streams: Stream) -> Any:
    return PREPARE(tap, Stream(tokens=streams[0].tokens), streams[1])


def one_softmax(tap: DecoupledTap, h: Tensor, signal: Any, emb: Tensor) -> Tensor:
    """Words and image share a softmax, as tokens glued together would."""
    del emb
    (keys, values, *_), (image_keys, image_values, *_) = signal
    query = tap.attn2.to_q(tap.norm2(h))
    glued = torch.cat([keys, image_keys], 1), torch.cat([values, image_values], 1)
    return h + tap.attn2.to_out[0](decoupled.attend(query, *glued, None, heads=tap.heads))


def unnormed(tap: DecoupledTap, h: Tensor, signal: Any, emb: Tensor) -> Tensor:
    tap.norm2 = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
    return FORWARD(tap, h, signal, emb)


def two_outputs(tap: DecoupledTap, h: Tensor, signal: Any, emb: Tensor) -> Tensor:
    """Projected one by one: the output's bias is added twice."""
    return FORWARD(tap, h, signal, emb) + tap.attn2.to_out[0].bias


FORWARD, PREPARE = DecoupledTap.forward, DecoupledTap.prepare
MUTANTS: list[tuple[str, Callable[..., Any], Callable[[], float]]] = [
    ("forward", no_scale, error_against_diffusers),
    ("forward", one_softmax, error_against_diffusers),
    ("forward", unnormed, error_against_diffusers),
    ("forward", two_outputs, error_against_diffusers),
    ("prepare", text_values, error_against_diffusers),
    ("prepare", no_text_mask, error_against_diffusers),
    ("prepare", no_image_mask, error_by_hand),
]


@pytest.mark.parametrize(("method", "mutant", "error"), MUTANTS, ids=[mutant.__name__ for _, mutant, _ in MUTANTS])
def test_a_mutant_is_killed(
    method: str, mutant: Callable[..., Any], error: Callable[[], float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DecoupledTap, method, mutant)
    assert error() > 1e-3


SILENT = Stream(tokens=torch.full((2, 4, IMAGE), torch.nan, dtype=torch.float64), mask=torch.zeros(2, 4, dtype=torch.bool))
SPEECHLESS = Stream(tokens=torch.full((2, 7, WORDS), torch.nan, dtype=torch.float64), mask=torch.zeros(2, 7, dtype=torch.bool))


def test_a_silent_image_leaves_cross_attention() -> None:
    """To the words alone it is `cross_attention`, weight for weight; and with nothing said at all, h bit for bit."""
    tap = made()
    plain = CrossAttention(NAMES[:1], WIDTHS[:1], heads=HEADS).tap(ATTEND)
    assert plain is not None
    plain.double().load_state_dict({name: value for name, value in tap.state_dict().items() if not name.startswith("to_")})
    assert apart(tap(H, tap.prepare(TEXT, SILENT), EMB), plain(H, plain.prepare(TEXT), EMB)) <= TOLERANCE
    assert torch.equal(tap(H, tap.prepare(SPEECHLESS, SILENT), EMB), H)


def test_silent_words_leave_the_image() -> None:
    """One sample says nothing, the other does: the image answers both, and only the second hears words."""
    tap = made()
    assert TEXT.mask is not None
    half = Stream(tokens=TEXT.tokens, mask=TEXT.mask & torch.tensor([[False], [True]]))
    found, whole = (tap(H, tap.prepare(text, PICTURE), EMB) for text in (half, TEXT))
    alone = tap(H, tap.prepare(SPEECHLESS, PICTURE), EMB)
    assert apart(found[0], alone[0]) <= TOLERANCE
    assert apart(found[1], whole[1]) <= TOLERANCE
    assert apart(alone[0], H[0]) > 1e-2


def test_at_birth_it_is_the_identity() -> None:
    tap = Decoupled(NAMES, WIDTHS, heads=HEADS).tap(ATTEND)
    assert tap is not None
    assert torch.equal(tap.double()(H, tap.prepare(TEXT, PICTURE), EMB), H)


def test_its_names_are_those_of_cross_attention_and_of_ip_adapter() -> None:
    tap = Decoupled(NAMES, (Widths(tokens=768), Widths(tokens=1024)), heads=8).tap(Site("a", "attend", "tokens", 320, 1, 1280))
    assert tap is not None
    assert {name: tuple(value.shape) for name, value in tap.state_dict().items()} == {
        "norm2.weight": (320,),
        "norm2.bias": (320,),
        "attn2.to_q.weight": (320, 320),
        "attn2.to_k.weight": (320, 768),
        "attn2.to_v.weight": (320, 768),
        "attn2.to_out.0.weight": (320, 320),
        "attn2.to_out.0.bias": (320,),
        "to_k_ip.weight": (320, 1024),
        "to_v_ip.weight": (320, 1024),
    }


@pytest.mark.parametrize(
    ("streams", "widths", "options", "text"),
    [
        (("text",), WIDTHS[:1], {}, r"two streams, words and an image, such as \[text, image\]; got 1 \('text'\)"),
        ((), (), {}, r"got 0 \(none\)"),
        (
            NAMES,
            (Widths(tokens=8), Widths(pooled=6)),
            {},
            "needs tokens of both its streams, but 'text' offers tokens of width 8 and 'image' offers pooled of width 6",
        ),
        (NAMES, WIDTHS, {"heads": 2, "head_dim": 4}, "decoupled: heads is 2 and head_dim is 4; expected one of the two"),
    ],
)
def test_refusals(streams: Any, widths: Any, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Decoupled(streams, widths, **options)


def test_heads_that_do_not_divide() -> None:
    with pytest.raises(ValueError, match=r"decoupled at mid.attend: heads is 5, which does not divide the 12 channels there"):
        Decoupled(NAMES, WIDTHS, heads=5).tap(ATTEND)


def test_narrow_fits_any_width_and_keeps_the_scale() -> None:
    options = Decoupled.narrow({"heads": 7, "head_dim": None, "scale": 0.5, "padding": "attend"})
    assert options == {"scale": 0.5, "padding": "attend"}
    assert Decoupled(NAMES, WIDTHS, **options).tap(Site("a", "attend", "tokens", 16, 1, 64)) is not None


# h94/IP-Adapter, models/ip-adapter_sd15: channels by number, each (channels, 768).
SD15 = {
    **dict.fromkeys((1, 3, 25, 27, 29), 320),
    **dict.fromkeys((5, 7, 19, 21, 23), 640),
    **dict.fromkeys((9, 11, 13, 15, 17, 31), 1280),
}


def attentions() -> list[tuple[str, int]]:
    """Our U-Net's `attend` sites at Stable Diffusion 1's shape, in its own order, with their channels."""
    sites: list[Site] = []

    class Slot(nn.Module):
        def __init__(self, site: Site) -> None:
            super().__init__()
            sites.append(site)

    with torch.device("meta"):
        UNet(Slot, SampleShape(4, 64, 64), width=320, mult=(1, 2, 4, 4), blocks=2, attention=(0, 1, 2), heads=8)
    return [(site.name, site.width) for site in sites if site.kind == "attend"]


def test_the_published_file_fits() -> None:
    found = attentions()
    names = published([name for name, _ in found])
    channels = dict(found)
    assert len(names) == 32
    assert {key: (channels[site], 768) for key, (site, _) in names.items()} == {
        f"ip_adapter.{number}.to_{which}_ip.weight": (width, 768) for number, width in SD15.items() for which in "kv"
    }
    assert sum(channels[site] * 768 for site, _ in names.values()) == 19_169_280


def test_the_order_is_diffusers() -> None:
    """Widths cannot tell the sites of one level apart: diffusers' own list of processors can."""
    diffusers = pytest.importorskip("diffusers")
    with torch.device("meta"):
        theirs = list(diffusers.UNet2DConditionModel(cross_attention_dim=768).attn_processors)
    for key, (site, parameter) in published([name for name, _ in attentions()]).items():
        processor = theirs[int(key.split(".")[1])]
        part, *rest = site.removesuffix(".attend").split(".")
        level = [] if part == "mid" else [rest.pop(0)]
        assert rest[::2] == ["attn", "blocks"]
        block = {"down": "down_blocks", "up": "up_blocks", "mid": "mid_block"}[part]
        where = [block, *level, "attentions", rest[1], "transformer_blocks", rest[3], "attn2", "processor"]
        assert processor == ".".join(where)
        assert key.endswith(parameter)


def test_a_site_of_another_network_has_no_number() -> None:
    with pytest.raises(ValueError, match=r"'block.0.attend' is no site of Stable Diffusion's U-Net; expected down"):
        published(["down.0.attn.0.blocks.0.attend", "block.0.attend"])
