"""openclip: the promises of an encoder, open_clip's own answers from the same file, and refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from cdkit.parts import PromptError
from cdkit.testing import check_encoder
from cdkit_openclip.openclip import OpenClip
from safetensors.torch import save_file

PROMPTS = ["a red cat", "", "Seven &amp; eight!", "数字七", "word " * 100]
SMALL: dict[str, Any] = {"width": 64, "layers": 2}
TOWER = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 2}


@pytest.fixture(scope="module", autouse=True)
def tiny(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two models added to open_clip's list, of CLIP's shape but small, one with OpenAI's activation."""
    folder = tmp_path_factory.mktemp("models")
    vision = {"image_size": 16, "layers": 1, "width": 64, "patch_size": 8}
    for name, quick in (("tiny", False), ("tiny-quickgelu", True)):
        config = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": TOWER, "quick_gelu": quick}
        (folder / f"{name}.json").write_text(json.dumps(config), encoding="utf-8")
    open_clip.add_model_config(folder)


def peer(model: str) -> Any:
    """open_clip's own model, drawn at random, its biases too."""
    torch.manual_seed(3)
    made: Any = open_clip.create_model(model, pretrained=None)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.02 * torch.randn(parameter.shape)
    return made.eval()


def test_it_keeps_the_promises_of_an_encoder() -> None:
    check_encoder(partial(OpenClip, **SMALL), values=["Seven &amp; eight!", "数字七"])


@pytest.mark.parametrize("model", ["tiny", "tiny-quickgelu"])
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "text half"])
def test_parity_with_encode_text(model: str, whole: bool, tmp_path: Path) -> None:
    """The same file: what open_clip's encode_text answers, in float64."""
    theirs = peer(model)
    state = {name: value.contiguous() for name, value in theirs.state_dict().items()}
    held = (
        state if whole else {f"text.{name}": value for name, value in state.items() if not name.startswith(("visual.", "logit"))}
    )
    save_file(held, tmp_path / "model.safetensors")
    ours = OpenClip(model=model, weights=str(tmp_path / "model.safetensors")).double().eval()
    with torch.no_grad():
        expected = theirs.double().encode_text(open_clip.tokenize(PROMPTS))
        found = ours(PROMPTS).pooled
        other = OpenClip(model=model).double().eval()(PROMPTS).pooled
    assert found is not None
    assert other is not None
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)
    assert (other - expected).abs().max() > 1e-3


def test_the_pooled_vector_is_the_projected_token_at_the_end() -> None:
    encoder = OpenClip(**SMALL).eval()
    with torch.no_grad():
        stream = encoder(PROMPTS)
        assert stream.tokens is not None
        assert stream.mask is not None
        last = stream.mask.sum(dim=1) - 1
        ends = stream.tokens[torch.arange(len(PROMPTS)), last] @ encoder.tower.text_projection
    assert last.tolist()[:2] == [4, 1]
    assert last[-1] == 76
    torch.testing.assert_close(ends, stream.pooled)


def test_a_mark_in_a_prompt_is_text() -> None:
    """An end that somebody types, plain or as HTML, ends nothing."""
    encoder = OpenClip(**SMALL).eval()
    with torch.no_grad():
        for mark in ("<end_of_text>", "&lt;end_of_text&gt;", "<START_OF_TEXT>"):
            first, second = (encoder([f"{mark} {word}"]) for word in ("cat", "dog"))
            assert first.mask is not None
            assert first.mask.sum() > 6
            assert first.pooled is not None
            assert second.pooled is not None
            assert (first.pooled - second.pooled).abs().max() > 1e-4


def test_layers_declared_adaptable_are_called() -> None:
    encoder = OpenClip(**SMALL)
    layers, heard = encoder.adaptable(), set[str]()

    def hear(path: str, *_: object) -> None:
        heard.add(path)

    assert len(layers) == 4
    for path, part in layers.items():
        part.layer.register_forward_hook(partial(hear, path))
    encoder(["a cat"])
    assert heard == set(layers)


def make(**options: Any) -> Callable[[], OpenClip]:
    return partial(OpenClip, **options)


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (make(model="ViT-Z"), "open_clip has no model 'ViT-Z'"),
        (
            make(model="ViT-B-16-SigLIP"),
            "the text tower of ViT-B-16-SigLIP is not CLIP's own: it is described by .*hf_tokenizer_name",
        ),
        (make(model="roberta-ViT-B-32"), "is not CLIP's own: it is described by .*hf_model_name"),
        (make(weights="no/such.safetensors"), "is not there; nothing is downloaded"),
    ],
)
def test_refusals(made: Callable[[], OpenClip], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        made()


def test_other_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=r"lacks \d+ of \d+ tensors of the text tower, the first is positional_embedding"):
        OpenClip(model="tiny", weights=str(path))
    save_file({name: value.contiguous() for name, value in peer("tiny").state_dict().items()}, path)
    with pytest.raises(ValueError, match=r"positional_embedding is \(77, 64\); this model's is \(77, 128\)"):
        OpenClip(model="tiny", width=128, weights=str(path))


@pytest.mark.parametrize(("raw", "text"), [([7], "prompt 0: expected text, got int"), (["a", "\udc00"], "prompt 1, .*surrogate")])
def test_what_is_no_text_is_refused(raw: list[object], text: str) -> None:
    with pytest.raises(PromptError, match=text):
        OpenClip(**SMALL)(raw)


def test_its_metadata_leaves_torch_to_cdkit() -> None:
    asked = requires("cdkit-openclip") or []
    assert any(line.replace(" ", "") in ("cdkit<0.2,>=0.1", "cdkit>=0.1,<0.2") for line in asked)
    assert not any(line.startswith("torch") for line in asked)
