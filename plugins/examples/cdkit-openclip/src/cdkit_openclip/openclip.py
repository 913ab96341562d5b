"""openclip: the text half of an open_clip model (Ilharco et al. 2021; Radford et al. 2021), from a local file or from scratch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from cdkit.hooks import hookimpl
from cdkit.parts import Adaptable, Positive, PromptError, Stream, TextEncoder, Widths, layers_of
from torch import nn

PLAIN = {"context_length", "vocab_size", "width", "heads", "layers"}  # what describes CLIP's own text tower


class OpenClip(TextEncoder):
    """Prompts (str) -> tokens (B, 77, D) after the last norm, mask (B, 77) of what was said, pooled (B, P), projected.

    pooled is what open_clip's `encode_text` answers. Tokens after the end are what the network makes of padding; attention is
    causal, so they change nothing before them.
    model: a name of open_clip's list whose text tower is CLIP's own; those that are others (SigLIP, CoCa, Hugging Face's) are
    refused. weights: a local safetensors file as open_clip saves one; "": drawn at random, which learns only with
    `trainable: true`. Nothing is ever downloaded. width, layers: another size than the model's, heads of 64 channels.
    Null: the empty prompt as the network reads it. `<end_of_text>` in a prompt is characters like any others.
    """

    trainable = False

    def __init__(
        self, *, model: str = "ViT-B-32", weights: str = "", width: Positive | None = None, layers: Positive | None = None
    ) -> None:
        from open_clip.transformer import TextTransformer

        super().__init__()
        config = text_config(model)
        if width:
            config |= {"width": width, "heads": max(1, width // 64)}
        if layers:
            config |= {"layers": layers}
        self.tower: Any = TextTransformer(**config, output_tokens=True)
        self.widths = Widths(tokens=config["width"], pooled=config["output_dim"])
        self._tokenizer = tokenizer(self.tower.context_length)
        if weights:
            fill(self.tower, Path(weights))

    def forward(self, raw: Sequence[Any]) -> Stream:
        ids = self._tokenizer(prompts(raw)).to(self.tower.positional_embedding.device)
        end = ids == self._tokenizer.eot_token_id
        pooled, tokens = self.tower(ids)
        return Stream(tokens=tokens, mask=end.flip(1).cumsum(1).flip(1) > 0, pooled=pooled)

    def null(self, n: int) -> Stream:
        said = self([""])
        forms = {"tokens": said.tokens, "mask": said.mask, "pooled": said.pooled}
        return Stream(**{form: value.expand(n, *value.shape[1:]) for form, value in forms.items() if value is not None})

    def adaptable(self) -> dict[str, Adaptable]:
        """The feed-forward layers: attention here is torch's own module, which reads its projections and never calls them."""
        return {path: Adaptable(layer) for path, layer in layers_of(self.tower) if ".attn." not in path}

    @classmethod
    def narrow(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**options, "weights": "", "width": 64, "layers": 1}


def text_config(model: str) -> dict[str, Any]:
    """What makes the text tower of a model in open_clip's list. ValueError if there is none, or it is not CLIP's own."""
    import open_clip
    from open_clip.transformer import QuickGELU

    config: Any = open_clip.get_model_config(model)
    if config is None:
        raise ValueError(f"open_clip has no model {model!r}; `open_clip.list_models()` has them all, ViT-B-32 for example")
    own: dict[str, Any] = config["text_cfg"]
    if others := set(own) - PLAIN:
        raise ValueError(f"the text tower of {model} is not CLIP's own: it is described by {', '.join(sorted(others))}")
    return {**own, "output_dim": config["embed_dim"], "act_layer": QuickGELU if config.get("quick_gelu") else nn.GELU}


def tokenizer(length: int) -> Any:
    """open_clip's byte-pair tokenizer; what looks like one of its marks is text like any other."""
    import regex
    from open_clip.tokenizer import SimpleTokenizer

    made: Any = SimpleTokenizer(context_length=length)
    made.pat = regex.compile(made.pat.pattern.removeprefix("<start_of_text>|<end_of_text>|"), regex.IGNORECASE)
    return made


def prompts(raw: Sequence[Any]) -> list[str]:
    """PromptError for what is no text."""
    for index, value in enumerate(raw):
        if not isinstance(value, str):
            raise PromptError(f"prompt {index}: expected text, got {type(value).__name__}")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise PromptError(f"prompt {index}, {value[:40]!a}: it holds half a surrogate pair, which is no text")
    return cast("list[str]", list(raw))


def fill(tower: nn.Module, path: Path) -> None:
    """Load the text half of what open_clip saved. ValueError if the file is not there, or holds another network."""
    from safetensors.torch import load_file

    if not path.is_file():
        raise ValueError(f"weights: {path} is not there; nothing is downloaded: save one with safetensors from open_clip's model")
    own = tower.state_dict()
    if any(tensor.is_meta for tensor in own.values()):  # there a model is only laid out
        return
    with torch.device("cpu"):
        held = {name.removeprefix("text."): tensor for name, tensor in load_file(path).items()}
    missing = [name for name in own if name not in held]
    if missing:
        raise ValueError(
            f"weights: {path} lacks {len(missing)} of {len(own)} tensors of the text tower, the first is {missing[0]}"
        )
    for name, tensor in own.items():
        if held[name].shape != tensor.shape:
            raise ValueError(f"weights: {path}: {name} is {tuple(held[name].shape)}; this model's is {tuple(tensor.shape)}")
    tower.load_state_dict({name: held[name] for name in own})


@hookimpl
def cdkit_encoder() -> type[OpenClip]:
    return OpenClip
