"""LoRA files as their publishers write them, against diffusers' own networks with W + scale * alpha / r * up @ down in them.

Every layer that anybody adapts is adapted: attentions, feed-forwards, projections, residual blocks, up- and downsamplers, the
first and last convolution and the time's, and the text encoder's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.cli.app import cdkit
from cdkit.engine.load import load
from cdkit.errors import CheckpointError
from cdkit.model import Model
from cdkit.parts import LoraNames, Stream
from cdkit_stable_diffusion import lora_names
from click.testing import CliRunner
from safetensors.torch import save_file
from torch import Tensor, nn

diffusers = pytest.importorskip("diffusers")

RANK, SCALE = 3, 0.7
Factors = dict[str, tuple[Tensor, Tensor, float]]  # by a layer's path: down, up, alpha
OLD = {".to_q": ".processor.to_q_lora", ".to_k": ".processor.to_k_lora", ".to_v": ".processor.to_v_lora"}
OLD_TEXT = {"q_proj": "to_q_lora", "k_proj": "to_k_lora", "v_proj": "to_v_lora", "out_proj": "to_out_lora"}


def factors(network: nn.Module, seed: int, *, alpha: Callable[[int], float]) -> Factors:
    """Random ones, for every layer that is linear in its weights. alpha: by the layer's number."""
    draws = torch.Generator().manual_seed(seed)
    found: Factors = {}
    layers = [(path, m) for path, m in network.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    for number, (path, layer) in enumerate(layers):
        ones = [1] * (layer.weight.dim() - 2)
        down = torch.randn(RANK, *layer.weight.shape[1:], generator=draws) / layer.weight[0].numel() ** 0.5
        found[path] = down, torch.randn(layer.weight.shape[0], RANK, *ones, generator=draws), alpha(number)
    return found


@torch.no_grad()
def by_hand(network: nn.Module, told: Factors, scale: float = SCALE) -> None:
    for path, (down, up, alpha) in told.items():
        weight = network.get_submodule(path).weight
        assert isinstance(weight, Tensor)
        kernel = torch.einsum("or,r...->o...", up.flatten(1).to(weight), down.to(weight))
        weight += scale * alpha / RANK * kernel.reshape(weight.shape)


def published(path: str) -> str:
    """transformers' published name of a text encoder's layer."""
    return path if path.startswith("text_model.") else f"text_model.{path}"


def kohya(unet: Factors, text: Factors) -> dict[str, Tensor]:
    named = {f"lora_unet_{path.replace('.', '_')}": told for path, told in unet.items()}
    named |= {f"lora_te_{published(path).replace('.', '_')}": told for path, told in text.items()}
    tensors: dict[str, Tensor] = {}
    for name, (down, up, alpha) in named.items():
        tensors |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up, f"{name}.alpha": torch.tensor(alpha)}
    return tensors


def peft(unet: Factors, text: Factors) -> dict[str, Tensor]:
    named = {f"unet.{path}": told for path, told in unet.items()}
    named |= {f"text_encoder.{published(path)}": told for path, told in text.items()}
    tensors: dict[str, Tensor] = {}
    for name, (down, up, _) in named.items():
        tensors |= {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
    return tensors


def without_component(unet: Factors, text: Factors) -> dict[str, Tensor]:
    """As `unet.save_lora_adapter` writes it."""
    del text
    return {key.removeprefix("unet."): tensor for key, tensor in peft(unet, {}).items()}


def old(unet: Factors, text: Factors) -> dict[str, Tensor]:
    """What diffusers wrote before it knew peft: processors of attentions, and `lora` or `lora_linear_layer` elsewhere."""
    tensors: dict[str, Tensor] = {}
    for path, (down, up, _) in unet.items():
        tail = next((tail for tail in OLD if path.endswith(tail)), "")
        name = f"{path}.lora" if ".attn" not in path else path.removesuffix(tail) + OLD.get(tail, "")
        if path.endswith(".to_out.0"):
            name = path.removesuffix(".to_out.0") + ".processor.to_out_lora"
        tensors |= {f"unet.{name}.down.weight": down, f"unet.{name}.up.weight": up}
    for path, (down, up, _) in text.items():
        stem, _, last = published(path).rpartition(".")
        name = f"{stem}.{OLD_TEXT[last]}" if last in OLD_TEXT else f"{stem}.{last}.lora_linear_layer"
        tensors |= {f"text_encoder.{name}.down.weight": down, f"text_encoder.{name}.up.weight": up}
    return tensors


NAMINGS = {"kohya": kohya, "peft": peft, "bare": without_component, "old": old}
ALPHAS: dict[str, Callable[[int], float]] = {"kohya": lambda number: 1.0 + number % 3}


@pytest.fixture(params=NAMINGS)
def naming(request: pytest.FixtureRequest) -> str:
    return request.param


def networks(folder: Path) -> tuple[nn.Module, nn.Module]:
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    return pipeline.unet.double().eval(), pipeline.text_encoder.double().eval()


def made(folder: Path, naming: str, out: Path, *, text: bool = True) -> tuple[Path, Factors, Factors]:
    """A file of this naming, and what it holds by the networks' own paths."""
    unet, encoder = networks(folder)
    alpha = ALPHAS.get(naming, lambda _: float(RANK))
    one = factors(unet, 1, alpha=alpha)
    other = factors(encoder, 2, alpha=alpha) if text and naming != "bare" else {}
    path = out / f"{naming}.safetensors"
    save_file(NAMINGS[naming](one, other), path)
    return path, one, other


@torch.no_grad()
def our_answer(model: Model) -> tuple[Tensor, Tensor]:
    x, t, words = told()
    return model.backbone(x, t, model.prepare({"text": Stream(tokens=words)})), tokens_of(model)


def tokens_of(model: Model) -> Tensor:
    tokens = model.encode({"text": ["a cat on a mat"]})["text"].tokens
    assert tokens is not None
    return tokens


@torch.no_grad()
def their_answer(folder: Path, unet: nn.Module, encoder: nn.Module) -> tuple[Tensor, Tensor]:
    from transformers import CLIPTokenizer

    x, t, words = told()
    read = CLIPTokenizer.from_pretrained(folder / "tokenizer")("a cat on a mat", padding="max_length", return_tensors="pt")
    return unet(x, t, encoder_hidden_states=words).sample, encoder(read["input_ids"]).last_hidden_state


def told() -> tuple[Tensor, Tensor, Tensor]:
    draws = torch.Generator().manual_seed(5)
    x, words = torch.randn(2, 4, 8, 8, generator=draws).double(), torch.randn(2, 77, 32, generator=draws).double()
    return x, torch.tensor([981.0, 20.0], dtype=torch.float64), words


def close(ours: Tensor, theirs: Tensor) -> bool:
    return torch.allclose(ours, theirs, rtol=0, atol=1e-9 * float(theirs.abs().max()))


def test_a_file_says_what_its_matrices_say_in_diffusers_own_network(sd1: Path, naming: str, tmp_path: Path) -> None:
    path, one, other = made(sd1, naming, tmp_path)
    unet, encoder = networks(sd1)
    plain = their_answer(sd1, unet, encoder)
    by_hand(unet, one)
    by_hand(encoder, other)
    theirs = their_answer(sd1, unet, encoder)
    model = load(sd1).double()
    assert all(map(close, our_answer(model), plain))
    added = model.lora(path, SCALE)
    assert len(added) == len(one) + len(other)
    assert not close(theirs[0], plain[0])
    assert all(map(close, our_answer(model), theirs))
    model.merge_loras()
    assert all(map(close, our_answer(model), theirs))


def test_two_files_add_up_and_come_off_again(sd1: Path, tmp_path: Path) -> None:
    first, one, _ = made(sd1, "peft", tmp_path, text=False)
    unet, encoder = networks(sd1)
    second, more = tmp_path / "more.safetensors", factors(unet, 9, alpha=lambda _: 2.0)
    save_file(kohya(more, {}), second)
    model = load(sd1).double()
    plain = our_answer(model)[0]
    sets = [model.lora(first, SCALE), model.lora(second, -0.2)]
    by_hand(unet, one)
    by_hand(unet, more, -0.2)
    assert close(our_answer(model)[0], their_answer(sd1, unet, encoder)[0])
    for added in sets:
        added.detach_()
    assert torch.equal(our_answer(model)[0], plain)


def test_alpha_is_read_out_of_the_header(sd1: Path, tmp_path: Path) -> None:
    """diffusers keeps peft's configuration there; a pattern is the end of a path."""
    unet, encoder = networks(sd1)
    attn = {path: (down, up, 5.0 if path.endswith("to_k") else 2.0) for path, (down, up, _) in
            factors(unet, 1, alpha=lambda _: 0.0).items() if ".attn" in path}  # fmt: skip
    config = {"unet.lora_alpha": 2, "unet.r": RANK, "unet.alpha_pattern": {"to_k": 5}, "unet.use_rslora": False}
    path = tmp_path / "header.safetensors"
    save_file(peft(attn, {}), path, {lora_names.METADATA: json.dumps(config)})
    model = load(sd1).double()
    model.lora(path, SCALE)
    by_hand(unet, attn)
    assert close(our_answer(model)[0], their_answer(sd1, unet, encoder)[0])
    save_file(peft(attn, {}), path, {lora_names.METADATA: json.dumps({**config, "unet.use_rslora": True})})
    with pytest.raises(CheckpointError, match=r"unet\.use_rslora, which is another arithmetic"):
        model.lora(path)


def test_our_own_names_are_read_too(sd1: Path, tmp_path: Path) -> None:
    path, *_ = made(sd1, "kohya", tmp_path)
    model = load(sd1).double()
    added = model.lora(path, SCALE)
    expected = our_answer(model)
    tensors = {key: value.contiguous() for key, value in added.tensors().items()}
    added.detach_()
    save_file(tensors, tmp_path / "ours.safetensors")
    model.lora(tmp_path / "ours.safetensors", SCALE)
    assert all(map(close, our_answer(model), expected))


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("lora_unet_down_blocks_9_attentions_0_proj_in.lora_down.weight", (3, 4)),
        ("lora_unet_mid_block_attentions_0_proj_in.dora_scale", (3,)),
        ("lora_te2_text_model_encoder_layers_99_mlp_fc1.alpha", ()),
    ],
)
def test_no_tensor_is_left_out_in_silence(sd1: Path, tmp_path: Path, key: str, shape: tuple[int, ...]) -> None:
    path, *_ = made(sd1, "kohya", tmp_path)
    from safetensors.torch import load_file

    tensors = load_file(path)
    save_file({**tensors, key: torch.zeros(shape)}, path)
    model = load(sd1)
    with pytest.raises(CheckpointError, match=rf"1 of {len(tensors) + 1} tensors belong to no layer of .*: {key}") as caught:
        model.lora(path)
    assert "compvis, diffusers" in caught.value.hint
    assert not model.loras
    assert not any(layer.layer._forward_hooks for layer in model.layers().values())  # pyright: ignore[reportPrivateUsage]


def test_what_does_not_fit_is_refused(sd1: Path, tmp_path: Path) -> None:
    name = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    path, model = tmp_path / "odd.safetensors", load(sd1)
    cases = {
        r"the LoRA of mid\.attn\.0\.blocks\.0\.attn1\.to_q has no up": {f"{name}.lora_A.weight": torch.zeros(2, 64)},
        r"the down of mid.* is \(2, 63\), expected \(2, 64\); it is of another model": {
            f"{name}.lora_A.weight": torch.zeros(2, 63), f"{name}.lora_B.weight": torch.zeros(64, 2)},
        r"the up of mid.* is \(64, 3\), expected \(64, 2\)": {
            f"{name}.lora_A.weight": torch.zeros(2, 64), f"{name}.lora_B.weight": torch.zeros(64, 3)},
        "1 tensors hold NaN or infinity": {f"{name}.lora_A.weight": torch.full((2, 64), torch.nan)},
    }  # fmt: skip
    for message, tensors in cases.items():
        save_file(tensors, path)
        with pytest.raises(CheckpointError, match=message):
            model.lora(path)
        assert not any(layer.layer._forward_hooks for layer in model.layers().values()), message  # pyright: ignore
    path.write_bytes(b"no safetensors")
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        model.lora(path)


def test_the_command_draws_with_it(sd1: Path, tmp_path: Path) -> None:
    path, *_ = made(sd1, "kohya", tmp_path)

    def drawn(*more: str) -> tuple[bytes, str]:
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        words = ["sample", str(sd1), "-p", "a cat", "--steps", "2", "--no-metadata", "--out", str(out), *more]
        done = CliRunner().invoke(cdkit, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return next(file for file in sorted(out.glob("*.png")) if file.name != "grid.png").read_bytes(), done.output

    plain, _ = drawn()
    with_it, said = drawn("--lora", f"{path}:0.1")
    assert "in encoders, rank 3, times 0.1" in said
    assert with_it != plain
    assert drawn("--lora", f"{path}:0")[0] == plain
    both, _ = drawn("--lora", f"{path}:0.05", "--lora", f"{path}:0.05")
    assert both != plain
    words = ["sample", str(sd1), "-p", "a", "--lora", str(tmp_path / "none.safetensors")]
    done = CliRunner().invoke(cdkit, words)
    assert isinstance(done.exception, CheckpointError)


SGM: dict[str, Any] = {
    "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q": "down.1.attn.0.blocks.0.attn1.to_q",
    "lora_unet_input_blocks_4_1_proj_in": "down.1.attn.0.proj_in",
    "lora_unet_input_blocks_4_0_in_layers_2": "down.1.res.0.conv1",
    "lora_unet_input_blocks_3_0_op": "down.0.downsample.0.conv",
    "lora_unet_middle_block_1_transformer_blocks_9_ff_net_0_proj": "mid.attn.0.blocks.9.ff.proj",
    "lora_unet_output_blocks_2_2_conv": "up.0.upsample.0.conv",
    "lora_unet_output_blocks_0_1_transformer_blocks_9_attn2_to_out_0": (
        "up.0.attn.0.blocks.9.attend.taps.cross_attention.attn2.to_out"
    ),
    "lora_unet_label_emb_0_0": "embed_site.taps.add.project.0",
    "lora_unet_time_embed_2": "time.linear2",
    "lora_te1_text_model_encoder_layers_0_self_attn_q_proj": "encoders.text_l.encoder.layers.0.self_attn.q_proj",
    "lora_te2_text_model_encoder_layers_31_mlp_fc1": "encoders.text_g.text_model.encoder.layers.31.mlp.fc1",
}


def test_xl_is_read_by_the_names_of_sgm() -> None:
    """As kohya's trainer writes them for SDXL: on a network of the published size, without its weights."""
    from cdkit.build import assemble
    from cdkit.spec import read_spec

    spec = read_spec(Path(__file__).parents[3] / "specs" / "sdxl_like.yaml")
    model = assemble(spec, device="meta")
    layers = [*model.layers(), *(name for name in SGM.values() if name.startswith("encoders."))]
    keys = [f"{name}.lora_down.weight" for name in SGM]
    names = lora_names.kohya(keys, layers, spec.filled())
    assert isinstance(names, LoraNames)
    assert {key.partition(".")[0]: meant.layer for key, meant in names.keys.items()} == SGM
