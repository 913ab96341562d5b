"""What every encoder around a pretrained network shares: it is made without its weights and filled when it is used."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import torch
from cdkit.parts import Adaptable, Encoder, layers_of
from torch import Tensor, nn

from cdkit_encoders.hf import Source, load_network

CAPTURES = "transformers.utils.output_capturing"


class Lazy(Encoder):
    """An encoder whose network's weights come from a folder, at first use or when `load` or `fit` is called, and not before.

    Until then its network lies on the meta device: it can be counted and frozen, takes no memory, and stays where it is
    when the model moves. Its weights are part of the state dict only where they are trained and loaded: frozen ones are
    looked up again. Other modules that an encoder has are as any others.
    """

    trainable: ClassVar[bool] = False
    origin: Tensor

    def __init__(self, source: Source, network: Any, config: Any) -> None:
        """network: its class in transformers, made of config."""
        super().__init__()
        self.source = source
        self._class = network
        self._config = config
        self._loaded = False
        self.register_buffer("origin", torch.zeros(()), persistent=False)  # where, and in which dtype, the weights will lie
        with torch.device("meta"):
            self.network: nn.Module = network(config)
        self.register_state_dict_post_hook(leave_out)
        self.register_load_state_dict_pre_hook(make_room)

    def fit(self, values: Iterable[Any]) -> None:
        """Nothing is learned, but weights that are missing are missed before training begins."""
        del values
        self.load()

    def load(self) -> None:
        """The weights, if they are not there yet. EnvironmentFault, saying how to get them, if they cannot be had."""
        if not self._loaded:
            self._fill(load_network(self._class, self._config, self.source.found()))

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
                self._fill(self._class(self._config))

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

    def __getstate__(self) -> dict[str, Any]:
        """What a copy, or a process that is sent this encoder, is made of."""
        return {**self.__dict__, "_modules": {**self._modules, "network": without_hooks(self.network)}}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Lazy:
        """Weights that are not there cannot move; `origin` moves, and they follow when they are loaded."""
        for child in self.children() if recurse else ():
            if self._loaded or child is not self.network:
                child._apply(fn)
        return super()._apply(fn, recurse=False)  # pyright: ignore[reportReturnType]  # nn.Module returns self


def without_hooks(network: nn.Module) -> nn.Module:
    """The same network, tensors shared, less what transformers put on it at its first call: local functions, which no process
    can be sent. It puts them there again."""
    tensors: dict[int, Any] = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    bare = copy.deepcopy(network, tensors)
    for module in bare.modules():
        hooks: dict[int, Any] = vars(module)["_forward_hooks"]
        for key in [key for key, hook in hooks.items() if hook.__module__ == CAPTURES]:
            del hooks[key]
        vars(module).pop("_output_capturing_hooks_installed", None)
    return bare


def leave_out(encoder: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    """A state dict holds the network only where it is trained, and each tensor once."""
    assert isinstance(encoder, Lazy)
    seen: set[int] = set()
    for name, tensor in encoder.network.state_dict(keep_vars=True).items():
        if not encoder.kept or id(tensor) in seen:
            state.pop(f"{prefix}network.{name}", None)
        seen.add(id(tensor))


def make_room(encoder: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Before a state dict is loaded: memory for a network that it holds; what was left out stands in for itself."""
    assert isinstance(encoder, Lazy)
    if any(key.startswith(f"{prefix}network.") for key in state):
        encoder.materialise()
    own = encoder.network.state_dict(keep_vars=True)
    told = {id(tensor): state[f"{prefix}network.{name}"] for name, tensor in own.items() if f"{prefix}network.{name}" in state}
    for name, tensor in own.items():
        state.setdefault(f"{prefix}network.{name}", told.get(id(tensor), tensor))
