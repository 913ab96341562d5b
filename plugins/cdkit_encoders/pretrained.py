"""What clip, t5, bert and minilm share: a network that others trained, made without its weights and filled when it is used."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from cdkit.parts import Adaptable, Stream, TextEncoder, layers_of
from torch import Tensor, nn

from cdkit_encoders.hf import Source, load_network, load_tokenizer
from cdkit_encoders.prompts import Truncation, distinct, read
from cdkit_encoders.transformer import repeated, spread


class Kind(NamedTuple):
    """The classes of transformers that a network is made of."""

    network: Any
    tokenizer: Any


class Pretrained(TextEncoder):
    """A text encoder whose weights come from a folder, at first use or when `load` or `fit` is called, and not before.

    Until then its network lies on the meta device: it can be counted and frozen, takes no memory, and stays where it is
    when the model moves. Its weights are part of the state dict only where they are trained and loaded: frozen ones are
    looked up again. Null: the empty prompt as the network reads it.
    """

    trainable: ClassVar[bool] = False
    origin: Tensor

    def __init__(self, source: Source, kind: Kind, config: Any, length: int) -> None:
        super().__init__()
        self.source = source
        self.length = length
        self._kind = kind
        self._config = config
        self._tokenizer: Any = None
        self._loaded = False
        self._truncation = Truncation("tokens")
        self.register_buffer("origin", torch.zeros(()), persistent=False)  # where, and in which dtype, the weights will lie
        with torch.device("meta"):
            self.network: nn.Module = kind.network(config)
        self.register_state_dict_post_hook(leave_out)
        self.register_load_state_dict_pre_hook(make_room)

    @abstractmethod
    def read(self, ids: Tensor, mask: Tensor) -> Stream:
        """ids (B, L) int, mask (B, L) bool -> a stream of batch B."""

    @abstractmethod
    def tokenized(self, tokenizer: Any, prompts: list[str]) -> Mapping[str, Tensor]:
        """`input_ids` and `attention_mask` (B, L), at most `length` long."""

    def forward(self, raw: Sequence[Any]) -> Stream:
        """B prompts -> a stream; equal prompts are read once. PromptError for no text, EnvironmentFault for no weights."""
        prompts, index = distinct(read(raw))
        self.load()
        prompts = [without_marks(prompt, self._tokenizer.all_special_tokens) for prompt in prompts]
        batch = self.tokenized(self._tokenizer, prompts)
        self._say_if_cut(prompts, batch["attention_mask"])
        device = self.origin.device
        return spread(self.read(batch["input_ids"].to(device), batch["attention_mask"].bool().to(device)), index)

    def null(self, n: int) -> Stream:
        """The empty prompt, n times."""
        return repeated(self([""]), n)

    def fit(self, values: Iterable[Any]) -> None:
        """Nothing is learned, but weights that are missing are missed before training begins."""
        del values
        self.load()

    def load(self) -> None:
        """Weights and tokenizer, if they are not there yet. EnvironmentFault, saying how to get them, if they cannot be had."""
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer(self._kind.tokenizer, self.source.found())
        if not self._loaded:
            self._fill(load_network(self._kind.network, self._config, self.source.found()))

    def adaptable(self) -> dict[str, Adaptable]:
        """Every layer of the network by its path there, the weights loaded: only those that stay can be adapted."""
        self.load()
        return {path: Adaptable(layer) for path, layer in layers_of(self.network)}

    @classmethod
    def narrow(cls, options: Mapping[str, Any]) -> None:
        """Too heavy for a proof: it starts at the stream."""
        del options

    def materialise(self) -> None:
        """Room for weights that a state dict brings."""
        if not self._loaded:
            with torch.device("cpu"), torch.random.fork_rng(devices=[]):
                self._fill(self._kind.network(self._config))

    @property
    def kept(self) -> bool:
        """True if the state dict holds the network's weights."""
        return self._loaded and any(parameter.requires_grad for parameter in self.network.parameters())

    def _fill(self, network: nn.Module) -> None:
        learns = {name: parameter.requires_grad for name, parameter in self.network.named_parameters()}
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(learns[name])
        self.network = network.to(self.origin).train(self.training)
        self._loaded = True

    def _say_if_cut(self, prompts: Sequence[str], mask: Tensor) -> None:
        for prompt, kept in zip(prompts, mask.sum(dim=1).tolist(), strict=True):
            if kept == self.length:
                self._truncation.say(kept, len(self._tokenizer(prompt, verbose=False)["input_ids"]), prompt)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Pretrained:
        """Weights that are not there cannot move; `origin` moves, and they follow when they are loaded."""
        return super()._apply(fn, recurse and self._loaded)  # pyright: ignore[reportReturnType]  # nn.Module returns self


def leave_out(encoder: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    """A state dict holds the network only where it is trained, and each tensor once."""
    assert isinstance(encoder, Pretrained)
    seen: set[int] = set()
    for name, tensor in encoder.network.state_dict(keep_vars=True).items():
        if not encoder.kept or id(tensor) in seen:
            state.pop(f"{prefix}network.{name}", None)
        seen.add(id(tensor))


def make_room(encoder: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Before a state dict is loaded: memory for a network that it holds; what was left out stands in for itself."""
    assert isinstance(encoder, Pretrained)
    if any(key.startswith(f"{prefix}network.") for key in state):
        encoder.materialise()
    own = encoder.network.state_dict(keep_vars=True)
    told = {id(tensor): state[f"{prefix}network.{name}"] for name, tensor in own.items() if f"{prefix}network.{name}" in state}
    for name, tensor in own.items():
        state.setdefault(f"{prefix}network.{name}", told.get(id(tensor), tensor))


def without_marks(prompt: str, marks: Sequence[str]) -> str:
    """A tokenizer's own marks, such as `</s>`, broken by a blank where a prompt holds them: there they are text."""
    for mark in marks:
        prompt = prompt.replace(mark, f"{mark[0]} {mark[1:]}")
    return prompt


def mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """tokens (B, L, D), mask (B, L) -> their mean (B, D) where they count."""
    weight = mask.unsqueeze(-1).to(tokens.dtype)
    return (tokens * weight).sum(dim=1) / weight.sum(dim=1)
