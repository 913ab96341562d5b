"""clip, t5 and bert: tiny folders with random weights, against the direct call; and folders that are refused."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.errors import EnvironmentFault, PromptError
from cdkit.parts import Stream, Widths
from cdkit_encoders.bert import Bert
from cdkit_encoders.clip import Clip
from cdkit_encoders.pretrained import Pretrained
from cdkit_encoders.t5 import T5
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import Unigram
from tokenizers.pre_tokenizers import Metaspace
from tokenizers.processors import TemplateProcessing
from torch.testing import assert_close

PROMPTS = ["a red circle", "two", ""]
PADDED: dict[str, Any] = {"padding": "max_length", "max_length": 16, "truncation": True, "return_tensors": "pt"}
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def clip_folder(path: Path) -> Path:
    """A text encoder of 3 layers, and a tokenizer whose pieces are letters."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

    marks = {"<|startoftext|>": 60, "<|endoftext|>": 61}
    letters = LETTERS + "<|>"
    pieces = {piece: place for place, piece in enumerate([*letters, *(f"{letter}</w>" for letter in letters)])} | marks
    CLIPTokenizer(vocab=pieces, merges=[], model_max_length=16).save_pretrained(path)
    sizes: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    ends: dict[str, Any] = {"bos_token_id": 60, "eos_token_id": 61, "pad_token_id": 61}
    torch.manual_seed(0)
    # Weights near 0.02, as a new model has them, would make every prompt read nearly alike.
    CLIPTextModelWithProjection(
        CLIPTextConfig(vocab_size=64, projection_dim=12, max_position_embeddings=16, **sizes, **ends, initializer_factor=10.0)
    ).save_pretrained(path)
    return path


def t5_folder(path: Path) -> Path:
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    marks = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    tokenizer = Tokenizer(Unigram([*marks, *((letter, -3.0) for letter in LETTERS)], unk_id=2))
    tokenizer.pre_tokenizer = Metaspace()
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", extra_special_tokens=[]
    ).save_pretrained(path)
    torch.manual_seed(0)
    T5EncoderModel(
        T5Config(vocab_size=256, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, feed_forward_proj="gated-gelu")
    ).save_pretrained(path)
    return path


def bert_folder(path: Path) -> Path:
    from transformers import BertConfig, BertModel, BertTokenizer

    pieces = {piece: place for place, piece in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS])}
    pieces |= {f"##{letter}": len(pieces) + place for place, letter in enumerate(LETTERS)}
    BertTokenizer(vocab=pieces).save_pretrained(path)
    sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=64, max_position_embeddings=64, **sizes, initializer_range=0.5)).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {"clip": clip_folder(root / "clip"), "t5": t5_folder(root / "t5"), "bert": bert_folder(root / "bert")}


def made(kind: str, folder: Path, **options: Any) -> Pretrained:
    encoder = {"clip": Clip, "t5": T5, "bert": Bert}[kind](model=str(folder), **options)
    return encoder.requires_grad_(False).eval()


def forms(stream: Stream) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    assert stream.tokens is not None
    assert stream.mask is not None
    assert stream.pooled is not None
    return stream.tokens, stream.mask, stream.pooled


KINDS = pytest.mark.parametrize("kind", ["clip", "t5", "bert"])


@pytest.mark.parametrize(("layer", "index"), [("last", -1), ("penultimate", -2)])
@pytest.mark.parametrize("norm", [True, False])
def test_clip_layers(folders: dict[str, Path], layer: str, index: int, norm: bool) -> None:
    from transformers import CLIPTextModel, CLIPTokenizer

    direct = CLIPTextModel.from_pretrained(folders["clip"]).eval()
    batch = CLIPTokenizer.from_pretrained(folders["clip"])(PROMPTS, **PADDED)
    with torch.no_grad():
        h = direct.embeddings(batch["input_ids"])
        states, causal = [], torch.full((16, 16), -torch.inf).triu(1)[None, None]
        for block in direct.encoder.layers:
            h = block(h, attention_mask=causal)
            states.append(h[0] if isinstance(h, tuple) else h)
            h = states[-1]
        whole = direct(batch["input_ids"])
    tokens, mask, pooled = forms(made("clip", folders["clip"], layer=layer, norm=norm)(PROMPTS))
    assert_close(tokens, direct.final_layer_norm(states[index]) if norm else states[index], atol=1e-5, rtol=1e-5)
    assert_close(pooled, whole.pooler_output)
    assert torch.equal(mask, batch["attention_mask"].bool())
    if layer == "last" and norm:
        assert_close(tokens, whole.last_hidden_state)


def test_clip_projected(folders: dict[str, Path]) -> None:
    from transformers import CLIPTextModelWithProjection, CLIPTokenizer

    direct = CLIPTextModelWithProjection.from_pretrained(folders["clip"]).eval()
    batch = CLIPTokenizer.from_pretrained(folders["clip"])(PROMPTS, **PADDED)
    encoder = made("clip", folders["clip"], pooled="projected")
    assert encoder.widths == Widths(tokens=16, pooled=12)
    with torch.no_grad():
        assert_close(forms(encoder(PROMPTS))[2], direct(batch["input_ids"]).text_embeds)


@KINDS
def test_what_is_read_is_what_transformers_reads(folders: dict[str, Path], kind: str) -> None:
    from transformers import AutoTokenizer, BertModel, CLIPTextModel, T5EncoderModel

    direct = {"clip": CLIPTextModel, "t5": T5EncoderModel, "bert": BertModel}[kind].from_pretrained(folders[kind]).eval()
    tokenizer = AutoTokenizer.from_pretrained(folders[kind])
    encoder = made(kind, folders[kind])
    tokens, mask, pooled = forms(encoder(PROMPTS))
    assert encoder.widths == Widths(tokens=16, pooled=16)
    for row, prompt in enumerate(PROMPTS):
        with torch.no_grad():
            alone = direct(**tokenizer([prompt], return_tensors="pt")).last_hidden_state[0]
        assert int(mask[row].sum()) == len(alone)
        assert_close(tokens[row, : len(alone)], alone, atol=1e-5, rtol=1e-5)
        if kind != "clip":
            assert not tokens[row, len(alone) :].any()
            assert_close(pooled[row], alone.mean(dim=0), atol=1e-5, rtol=1e-5)


@KINDS
def test_neither_batch_nor_padding_matters(folders: dict[str, Path], kind: str) -> None:
    encoder = made(kind, folders[kind])
    tokens, mask, pooled = forms(encoder(PROMPTS))
    assert (pooled[0] - pooled[1]).norm() > 1e-2
    for row, prompt in enumerate(PROMPTS):
        own, own_mask, own_pooled = forms(encoder([prompt]))
        assert_close(tokens[row][mask[row]], own[0][own_mask[0]], atol=1e-6, rtol=1e-5)
        assert_close(pooled[row], own_pooled[0], atol=1e-6, rtol=1e-5)


@KINDS
def test_null_is_the_empty_prompt(folders: dict[str, Path], kind: str) -> None:
    encoder = made(kind, folders[kind])
    for null, empty in zip(forms(encoder.null(2)), forms(encoder([" "])), strict=True):
        assert torch.equal(null, torch.cat([empty, empty]))


@KINDS
def test_long_prompts_are_cut(folders: dict[str, Path], kind: str, caplog: pytest.LogCaptureFixture) -> None:
    encoder = made(kind, folders[kind], **({} if kind == "clip" else {"length": 16}))
    _, mask, _ = forms(encoder(["abcdefgh " * 9]))
    assert mask.sum() == 16
    assert len([message for message in caplog.messages if "is too long: kept 16 of " in message]) == 1


@pytest.mark.parametrize("kind", ["t5", "bert"])
def test_a_language_that_it_cannot_read_is_said_once(
    folders: dict[str, Path], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = made(kind, folders[kind])
    encoder(["a red circle", "猫 and the dog", ""])
    assert not caplog.messages, "one strange word among known ones is nothing to speak of"
    encoder(["猫 狗", "鼠 鸟"])
    (message,) = caplog.messages
    assert message.startswith(r"prompt '\u732b \u72d7': 2 of ")
    assert message.endswith("tokens are unknown to this encoder, which cannot tell them apart")


@pytest.mark.parametrize(("kind", "mark"), [("clip", "<|endoftext|>"), ("t5", "</s>"), ("bert", "[SEP]")])
def test_marks_in_a_prompt_are_text(folders: dict[str, Path], kind: str, mark: str) -> None:
    """`</s>` typed into a prompt does not end it: one token of that kind is there, the encoder's own."""
    encoder = made(kind, folders[kind])
    seen: list[torch.Tensor] = []
    encoder.load()
    encoder.network.register_forward_pre_hook(lambda _, __, given: seen.append(given["input_ids"]), with_kwargs=True)
    encoder([f"a {mark} b", "a b"])
    tokenizer: Any = encoder._tokenizer  # pyright: ignore[reportPrivateUsage]  # for the mark's id
    first, end = ((ids == tokenizer.convert_tokens_to_ids(mark)).int().argmax() for ids in seen[0])
    assert first > end


def test_hostile_prompts_are_refused_before_weights_are_looked_for() -> None:
    with pytest.raises(PromptError, match="it holds a NUL character"):
        Clip()(["a\0"])


@pytest.mark.parametrize(
    ("make", "count"),
    [
        (lambda: Clip(), 123_060_480),
        (lambda: Clip(model="laion/CLIP-ViT-H-14-laion2B-s32B-b79K", pooled="projected"), 354_032_640),
        (lambda: Clip(model="laion/CLIP-ViT-bigG-14-laion2B-39B-b160k", pooled="projected"), 694_659_840),
        (lambda: T5(model="google/t5-v1_1-xxl"), 4_762_310_656),
        (lambda: Bert(), 109_482_240 - 768 * 769),
    ],
    ids=["ViT-L", "ViT-H", "bigG", "t5-xxl", "bert"],
)
def test_known_encoders_are_counted_without_weights(make: Any, count: int) -> None:
    encoder = make()
    assert sum(parameter.numel() for parameter in encoder.parameters()) == count
    assert not encoder.trainable
    assert not encoder.double().state_dict()


def test_missing_weights_are_a_fault_when_they_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    encoder = Clip(model="laion/CLIP-ViT-H-14-laion2B-s32B-b79K")
    for use in (lambda: encoder(["a cat"]), lambda: encoder.fit(["a cat"]), lambda: encoder.null(1)):
        with pytest.raises(
            EnvironmentFault, match=r"the weights of laion/CLIP-ViT-H-14-laion2B-s32B-b79K are not on this"
        ) as caught:
            use()
        assert "hf download laion/CLIP-ViT-H-14-laion2B-s32B-b79K" in caught.value.hint


@pytest.mark.parametrize("name", ["openai/clip-vit-large-patch", "https://example.org/model", "../x", "", "a/b"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(ValueError, match="is no folder here, and no configuration of that name ships with cdkit; the nearest"):
        Clip(model=name)


def test_frozen_weights_are_looked_up_again(folders: dict[str, Path]) -> None:
    encoder = made("bert", folders["bert"])
    before = encoder(["a cat"])
    assert not encoder.state_dict()
    fresh = made("bert", folders["bert"])
    fresh.load_state_dict(encoder.state_dict())
    assert_close(fresh(["a cat"]).pooled, before.pooled)
    encoder.load_state_dict({})
    assert_close(encoder(["a cat"]).pooled, before.pooled)


@KINDS
def test_trained_weights_travel(folders: dict[str, Path], kind: str, tmp_path: Path) -> None:
    encoder = {"clip": Clip, "t5": T5, "bert": Bert}[kind](model=str(folders[kind])).eval()
    encoder.fit([])
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    save_file(encoder.state_dict(), tmp_path / "model.safetensors")
    fresh = {"clip": Clip, "t5": T5, "bert": Bert}[kind](model=str(folders[kind])).eval()
    fresh.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert_close(fresh(PROMPTS).tokens, encoder(PROMPTS).tokens)


def test_gradients_reach_every_weight_of_a_trained_one(folders: dict[str, Path]) -> None:
    encoder = Bert(model=str(folders["bert"]))
    encoder.fit([])
    forms(encoder(PROMPTS))[2].square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


@pytest.mark.parametrize("key", ["auto_map", "trust_remote_code", "_attn_implementation_internal", "quantization_config"])
@pytest.mark.parametrize("deep", [False, True])
def test_a_configuration_may_not_name_code(folders: dict[str, Path], tmp_path: Path, key: str, deep: bool) -> None:
    config = json.loads((folders["clip"] / "config.json").read_text())
    config |= {"text": [{key: "x.Y"}]} if deep else {key: "x.Y"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=f"the key '{key}' is refused: a model folder may not say which code is run"):
        Clip(model=str(tmp_path))


def test_nor_may_a_tokenizer(tmp_path: Path) -> None:
    folder = bert_folder(tmp_path / "bert")
    written = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(written | {"auto_map": {"AutoTokenizer": "x.Y"}}))
    with pytest.raises(ValueError, match="the key 'auto_map' is refused"):
        made("bert", folder)(["a"])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"hidden_size": 10**9}, "hidden_size is 1000000000; expected one number from 0 to"),
        ({"hidden_size": [1]}, r"hidden_size is \[1\]; expected one number"),
        ({"hidden_size": 30, "num_attention_heads": 4}, "makes no network"),
        ([], "expected a JSON object"),
    ],
)
def test_impossible_configurations(tmp_path: Path, config: Any, message: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message):
        Clip(model=str(tmp_path))


def test_a_folder_without_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"config.json: expected a JSON file of at most"):
        Clip(model=str(tmp_path))


def test_pickled_weights_are_never_read(tmp_path: Path) -> None:
    folder = bert_folder(tmp_path / "bert")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(EnvironmentFault, match=r"has no model.safetensors \(pickled weights are there, and are never read\)"):
        made("bert", folder)(["a"])


def test_damaged_or_incomplete_weights(tmp_path: Path) -> None:
    folder = bert_folder(tmp_path / "bert")
    # Tensors that are loaded lie in the mapped file: to write over it they have to be copied.
    weights = {key: tensor.clone() for key, tensor in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").write_bytes(b"\x80\x04" * 100)
    with pytest.raises(EnvironmentFault, match="cannot be read"):
        made("bert", folder)(["a"])
    weights.pop("embeddings.position_embeddings.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EnvironmentFault, match=r"lack 1 tensors, such as embeddings.position_embeddings.weight"):
        made("bert", folder)(["a"])


@pytest.mark.parametrize("shard", ["../model.safetensors", "/etc/passwd", "a/b.safetensors", "model.bin"])
def test_shards_lie_in_the_folder(tmp_path: Path, shard: str) -> None:
    folder = bert_folder(tmp_path / "bert")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": shard}}))
    with pytest.raises(EnvironmentFault, match="is refused: a shard lies in the folder itself"):
        made("bert", folder)(["a"])


def test_the_layout_of_a_stable_diffusion_folder(folders: dict[str, Path], tmp_path: Path) -> None:
    """Weights with the old prefix in text_encoder, the tokenizer beside it."""
    folder = clip_folder(tmp_path / "text_encoder")
    (tmp_path / "tokenizer").mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).rename(tmp_path / "tokenizer" / name)
    weights = {
        key if key.startswith("text_model.") else f"text_model.{key}": tensor.clone()
        for key, tensor in load_file(folder / "model.safetensors").items()
        if key != "text_projection.weight"
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert_close(made("clip", folder)(PROMPTS).tokens, made("clip", folders["clip"])(PROMPTS).tokens)


def test_transformers_is_not_imported_with_the_modules() -> None:
    code = "import sys, cdkit_encoders.clip, cdkit_encoders.t5, cdkit_encoders.minilm; print('transformers' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


@KINDS
def test_spans_say_what_each_token_was_read_from(kind: str, folders: dict[str, Path]) -> None:
    encoder, prompt = made(kind, folders[kind]), "a red circle"
    spans, (tokens, _, _) = encoder.spans(prompt), forms(encoder([prompt]))
    assert spans is not None
    assert len(spans) == tokens.shape[1]
    covered = sorted({place for start, end in spans for place in range(start, end)})
    assert "".join(prompt[place] for place in covered).replace(" ", "") == "aredcircle"
    assert spans[-1] == (0, 0)


def test_what_is_read_otherwise_has_no_spans(folders: dict[str, Path]) -> None:
    assert made("clip", folders["clip"]).spans("a <|endoftext|>") is None
    assert made("clip", folders["clip"], weights=True).spans("a (red) circle") is None
    long = made("clip", folders["clip"], windows=2).spans("abcdefghijklmnop")
    assert long is not None
    assert len(long) == 32
    assert [place for place, span in enumerate(long) if span == (0, 0)][:3] == [0, 15, 16]
