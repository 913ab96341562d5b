"""image: CLIP's own preprocessing and network, number for number; IP-Adapter's projection; and what is no picture."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cdkit.errors import EnvironmentFault, PromptError
from cdkit.parts import Stream, Widths
from cdkit.testing import check_encoder
from cdkit_encoders.image import Image as ImageEncoder
from cdkit_encoders.image import prepared
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

SIZES: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
SIDE, PATCH, EMBEDDING = 24, 8, 12


def picture(width: int, height: int, seed: int = 0, mode: str = "RGB") -> Image.Image:
    """Colours that flow, with noise upon them: neither flat nor the same in any two places."""
    draws = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(rows / (3 + i) + i) + np.cos(columns / (5 + i)) for i in range(len(mode))], axis=-1)
    noisy = 127 + 50 * waves + draws.normal(0, 10, waves.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8), mode)


PICTURES = [picture(40, 30), picture(24, 61, 1), picture(24, 24, 2), picture(11, 9, 3)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vision tower of 3 layers whose weights are large enough that pictures do not read alike."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    path = tmp_path_factory.mktemp("vision")
    torch.manual_seed(0)
    config = CLIPVisionConfig(**SIZES, image_size=SIDE, patch_size=PATCH, projection_dim=EMBEDDING, initializer_factor=10.0)
    CLIPVisionModelWithProjection(config).save_pretrained(path)
    return path


def made(folder: Path, **options: Any) -> ImageEncoder:
    torch.manual_seed(1)
    small = {} if "projection" in options else {"tokens": 3, "width": 10}
    return ImageEncoder(model=str(folder), **small, **options).eval()


def forms(stream: Stream) -> tuple[Tensor, Tensor]:
    assert stream.tokens is not None
    assert stream.pooled is not None
    assert stream.mask is None
    return stream.tokens, stream.pooled


@pytest.mark.parametrize("shape", [(224, 224), (300, 224), (640, 427), (100, 333), (50, 41), (223, 4000)])
def test_pictures_are_prepared_as_transformers_prepares_them(shape: tuple[int, int]) -> None:
    """Pillow's processor, which CLIP and IP-Adapter were trained with, to float32's rounding.

    torchvision's rounds to 8 bits elsewhere: it is one step away at most, two where the picture is enlarged.
    """
    from transformers.models.clip.image_processing_clip import CLIPImageProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    given = picture(*shape)
    ours = prepared(given, 224)
    assert ours.shape == (3, 224, 224)
    pillow = CLIPImageProcessorPil()(given, return_tensors="pt")["pixel_values"][0]
    assert_close(ours, pillow, atol=1e-5, rtol=0)
    other = CLIPImageProcessor()(given, return_tensors="pt")["pixel_values"][0]
    step = 1 / 255 / 0.26130258  # one step of 8 bits, in deviations of the narrowest channel
    assert float((ours - other).abs().max()) <= step * 1.001 * (1 if min(shape) >= 224 else 2)


def test_what_is_read_is_what_transformers_reads(folder: Path) -> None:
    """The whole way by others' code: processor, tower, and IP-Adapter's projection as diffusers has it."""
    from diffusers.models.embeddings import ImageProjection
    from transformers import CLIPVisionModelWithProjection
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    encoder = made(folder)
    assert encoder.widths == Widths(tokens=10, pooled=EMBEDDING)
    processor = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=SIDE)
    tower = CLIPVisionModelWithProjection.from_pretrained(folder).eval()
    weights = {name.replace("proj.", "image_embeds.", 1): value for name, value in own(encoder).items()}
    projection = ImageProjection(EMBEDDING, 10, 3)
    projection.load_state_dict(weights)
    with torch.no_grad():
        embeds = tower(processor(PICTURES, return_tensors="pt")["pixel_values"]).image_embeds
        tokens, pooled = forms(encoder(PICTURES))
        assert_close(pooled, embeds, atol=1e-6, rtol=1e-5)
        assert_close(tokens, projection(embeds), atol=1e-6, rtol=1e-5)
        assert (pooled[0] - pooled[1]).norm() > 1e-2


def own(encoder: ImageEncoder) -> dict[str, Tensor]:
    """What its state dict holds, without the prefix under which IP-Adapter publishes it."""
    return {name.removeprefix("image_proj."): value for name, value in encoder.state_dict().items()}


def test_tokens_of_its_own(folder: Path) -> None:
    from transformers import CLIPVisionModelWithProjection

    encoder = made(folder, projection="none")
    tower = CLIPVisionModelWithProjection.from_pretrained(folder).eval()
    assert encoder.widths == Widths(tokens=16, pooled=EMBEDDING)
    with torch.no_grad():
        tokens, pooled = forms(encoder(PICTURES))
        out = tower(torch.stack([prepared(value, SIDE) for value in PICTURES]), output_hidden_states=True)
        assert tokens.shape == (4, 1 + (SIDE // PATCH) ** 2, 16)
        assert_close(tokens, out.hidden_states[2], atol=1e-6, rtol=1e-5)
        assert_close(pooled, out.image_embeds, atol=1e-6, rtol=1e-5)
        silent = tower(torch.zeros(1, 3, SIDE, SIDE), output_hidden_states=True).hidden_states[2]
        assert_close(forms(encoder.null(2))[0], silent.expand(2, -1, -1), atol=1e-6, rtol=1e-5)


def test_one_picture_however_it_comes(folder: Path, tmp_path: Path) -> None:
    """A path, a PIL image and a tensor of the same pixels read alike."""
    given = PICTURES[0]
    given.save(tmp_path / "a.png")
    tensor = torch.from_numpy(np.array(given)).permute(2, 0, 1).float() / 127.5 - 1
    encoder = made(folder)
    first, *others = forms(encoder([given, str(tmp_path / "a.png"), tmp_path / "a.png", tensor]))[1]
    for other in others:
        assert torch.equal(first, other)


def test_files_are_turned_upright(folder: Path, tmp_path: Path) -> None:
    given = PICTURES[1]
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    given.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.png", exif=exif)
    tokens = forms(made(folder)([given, tmp_path / "a.png"]))[0]
    assert torch.equal(tokens[0], tokens[1])


def test_transparency_is_white(folder: Path) -> None:
    given = picture(40, 30, mode="RGBA")
    alpha = np.array(given).astype(np.float64)
    seen = alpha[..., :3] * alpha[..., 3:] / 255 + 255 - alpha[..., 3:]
    tokens = forms(made(folder)([given, Image.fromarray(seen.round().astype(np.uint8))]))[0]
    assert_close(tokens[0], tokens[1], atol=1e-2, rtol=0)


def test_silence_is_zeros_through_the_projection(folder: Path) -> None:
    """As published: the tokens are what zeros project to, and no tower is needed for them."""
    encoder = made(folder)
    tokens, pooled = forms(encoder.null(2))
    assert not pooled.any()
    assert encoder.image_proj is not None
    bias, norm = encoder.image_proj.proj.bias, encoder.image_proj.norm
    expected = F.layer_norm(bias.view(3, 10), (10,), norm.weight, norm.bias)
    assert_close(tokens, expected.expand(2, 3, 10))
    assert next(encoder.network.parameters()).device.type == "meta"


@pytest.mark.parametrize("options", [{}, {"projection": "none"}], ids=["linear", "none"])
def test_conforms(folder: Path, options: dict[str, Any]) -> None:
    reason = {"state dict": "the tower's weights are frozen: they come from their folder, and no state dict holds them"}
    check_encoder(partial(made, folder, **options), values=PICTURES, exceptions=reason)


def test_its_projection_alone_is_trained_and_kept(folder: Path) -> None:
    encoder = made(folder)
    assert encoder.trainable
    forms(encoder(PICTURES))[0].square().sum().backward()
    assert sorted(own(encoder)) == ["norm.bias", "norm.weight", "proj.bias", "proj.weight"]
    assert all(name.startswith("image_proj.") == parameter.requires_grad for name, parameter in encoder.named_parameters())
    for name, parameter in encoder.named_parameters():
        assert (parameter.grad is not None) == name.startswith("image_proj.")
    with torch.no_grad():
        for parameter in encoder.image_proj.parameters() if encoder.image_proj else ():
            parameter.add_(torch.randn_like(parameter))
    fresh = made(folder)
    fresh.load_state_dict(encoder.state_dict())
    assert torch.equal(forms(fresh(PICTURES))[0], forms(encoder(PICTURES))[0])


def test_the_projection_moves_before_the_tower_is_there(folder: Path) -> None:
    encoder = made(folder).double()
    assert own(encoder)["proj.weight"].dtype == torch.float64
    assert forms(encoder.null(1))[0].dtype == torch.float64
    assert forms(encoder(PICTURES))[1].dtype == torch.float64


@pytest.mark.parametrize(
    ("model", "tower", "embedding"),
    [
        ("openai/clip-vit-large-patch14", 303_966_208, 768),
        ("laion/CLIP-ViT-H-14-laion2B-s32B-b79K", 632_076_800, 1024),
        ("laion/CLIP-ViT-bigG-14-laion2B-39B-b160k", 1_844_907_264, 1280),
    ],
    ids=["ViT-L", "ViT-H", "bigG"],
)
def test_known_towers_are_counted_without_weights(model: str, tower: int, embedding: int) -> None:
    encoder = ImageEncoder(model=model)
    assert sum(parameter.numel() for parameter in encoder.network.parameters()) == tower
    assert encoder.widths == Widths(tokens=768, pooled=embedding)
    shapes = {name: tuple(value.shape) for name, value in encoder.state_dict().items()}
    assert shapes == {
        "image_proj.proj.weight": (4 * 768, embedding),
        "image_proj.proj.bias": (4 * 768,),
        "image_proj.norm.weight": (768,),
        "image_proj.norm.bias": (768,),
    }


def test_a_whole_clip_is_a_folder_too(tmp_path: Path) -> None:
    """Its `vision_config` is read, but for the width of the common space, which is said once for both halves."""
    from transformers import CLIPConfig, CLIPModel

    halves: dict[str, Any] = {
        "text_config": SIZES | {"vocab_size": 64, "hidden_size": 8},
        "vision_config": SIZES | {"image_size": SIDE, "patch_size": PATCH},
    }
    CLIPModel(CLIPConfig(**halves, projection_dim=EMBEDDING)).save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["vision_config"]["projection_dim"] != EMBEDDING
    encoder = made(tmp_path)
    assert encoder.widths.pooled == EMBEDDING
    assert forms(encoder(PICTURES))[1].shape == (4, EMBEDDING)


def test_missing_weights_are_a_fault_when_they_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(EnvironmentFault, match=r"the weights of laion/CLIP-ViT-H-14-laion2B-s32B-b79K are not on this machine"):
        ImageEncoder()(PICTURES)


def test_options_that_would_be_ignored_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"tokens is 16 and width is 768, but projection 'none' gives CLIP's own tokens"):
        ImageEncoder(model=str(folder), projection="none", tokens=16)


def of_file(tmp_path: Path, name: str, content: bytes) -> str:
    (tmp_path / name).write_bytes(content)
    return str(tmp_path / name)


REFUSED: list[tuple[Any, str]] = [
    (7, r"image 1: expected a path, a PIL image or a tensor \(3, H, W\) in \[-1, 1\], got int"),
    (np.zeros((4, 4, 3), np.uint8), "got ndarray"),
    (torch.zeros(1, 4, 4), r"image 1: expected a tensor \(3, H, W\) of floating numbers, got \(1, 4, 4\) of float32"),
    (torch.zeros(3, 4, 4, dtype=torch.uint8), r"got \(3, 4, 4\) of uint8"),
    (torch.full((3, 4, 4), torch.nan), "image 1: it holds numbers that are not finite"),
    (torch.full((3, 4, 4), 255.0), r"image 1: expected numbers in \[-1, 1\], got 255 to 255"),
    (torch.zeros(3, 0, 4), "image 1: 4 x 0 has no pixels"),
    (torch.zeros(3, 1, 1).expand(3, 4097, 4097), "4097 x 4097 is 16,785,409 pixels; at most 16,777,216 are read"),
    (Image.new("RGB", (4100, 4100)), "4100 x 4100 is 16,810,000 pixels; at most 16,777,216 are read"),
    (Image.new("RGB", (1000, 40)), "1000 x 40 is longer than 20 to 1"),
    (Image.new("I;16", (8, 8)), "its mode is I;16; expected 8 bits a channel"),
    ("nowhere.png", r"image 1, 'nowhere.png': no such file"),
    (".", "image 1, '.': no such file"),
    ("a\0b", "cannot be read as an image|no such file"),
    (partial(of_file, name="a.png", content=b""), "a.png': cannot be read as an image"),
    (partial(of_file, name="b.png", content=b"\x89PNG\r\n\x1a\n" + bytes(40)), "b.png': cannot be read as an image"),
    (partial(of_file, name="c.eps", content=b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "cannot be read as an image"),
]


@pytest.mark.parametrize(("value", "text"), REFUSED, ids=range(len(REFUSED)))
def test_refused_before_weights_are_looked_for(value: Any, text: str, tmp_path: Path) -> None:
    value = value(tmp_path) if callable(value) else value
    with pytest.raises(PromptError, match=text):
        ImageEncoder()([PICTURES[0], value])


def test_a_refusal_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PromptError) as caught:
        ImageEncoder()([str(tmp_path / "a.png")])
    assert caught.value.hint == "give the path of a PNG, JPEG or WebP file"


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    PICTURES[0].save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(PromptError, match=r"a.png': cannot be read as an image"):
        ImageEncoder()([tmp_path / "a.png"])


def test_a_model_is_told_a_picture_beside_words(folder: Path) -> None:
    """Through the whole of cdkit: a training step reaches the projection; drawing hears which picture it is, and silence."""
    from cdkit.build import assemble
    from cdkit.spec import read_spec
    from cdkit.testing.case import open_zeros

    spec = read_spec(f"""
cdkit: 1
name: told
sample: {{channels: 1, height: 8, width: 8}}
conditions:
  text: {{use: bytes, dim: 16, depth: 1, heads: 2, dropout: 0.1}}
  image: {{use: image, model: {folder}, tokens: 3, width: 10, dropout: 0.1}}
injectors:
  - {{use: decoupled, streams: [text, image], heads: 2}}
backbone: {{use: unet, width: 16, mult: [1, 2], blocks: 1, attention: [1], heads: 2}}
diffusion: {{schedule: cosine, prediction: v}}
guidance: {{use: cfg, scale: 2.0}}
sampler: {{use: ddim, steps: 2}}
""")
    model = assemble(spec)
    open_zeros(model.backbone, taps=True)
    raw = {"text": ["a", "b"], "image": PICTURES[:2]}
    model(torch.randn(2, 1, 8, 8), torch.tensor([10.0, 900.0]), raw, {"image": torch.tensor([True, False])}).sum().backward()
    projection = [parameter for name, parameter in model.named_parameters() if "image_proj" in name]
    assert len(projection) == 4
    assert all(parameter.grad is not None and bool(parameter.grad.any()) for parameter in projection)
    model.eval()
    model.ledger.record("image", torch.tensor([True, False]))
    model.ledger.record("text", torch.tensor([True, False]))
    drawn = [
        model.sample({"text": ["a"], **({"image": [value]} if value else {})}, seed=0).images
        for value in (PICTURES[0], PICTURES[0], PICTURES[1], None)
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.allclose(drawn[0], drawn[2])
    assert not torch.allclose(drawn[0], drawn[3])
