"""wordllama: static token embeddings, distilled from the token tables of Llama-like models, frozen (package `wordllama`)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Interval
from cdkit.hooks import hookimpl
from cdkit.parts import EnvironmentFault, PromptError, Stream, TextEncoder, Widths
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

WIDTH = 256
VOCABULARY = 32_000
START = 1  # the token <s>
TABLE = "weights/l2_supercat_256.safetensors"
TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
PIP = "pip install 'wordllama>=0.4,<0.5'"

log = logging.getLogger("cdkit")


class WordLlama(TextEncoder):
    """Prompts (str) -> tokens (B, L, 256), zero where masked; mask (B, L); pooled (B, 256), the mean of the tokens.

    A token has one vector whatever stands beside it, so order is lost but for what attention makes of it; English alone has
    meanings. An empty prompt is the token <s>; `<s>` in a prompt is three characters. length: the longest L.
    The table is no weight of the model: it is read from the package again, and no checkpoint holds it.
    """

    trainable = False
    licence = "MIT (package wordllama); distilled from tables of Llama models, whose terms are their own"
    table: Tensor

    def __init__(self, *, length: Annotated[int, Interval(ge=1, le=4096)] = 64) -> None:
        from tokenizers import Tokenizer

        super().__init__()
        self.widths = Widths(tokens=WIDTH, pooled=WIDTH)
        self.length = length
        self._said = False
        self._tokenizer: Any = Tokenizer.from_file(str(packaged(TOKENIZER)))
        self.register_buffer("table", torch.empty(VOCABULARY, WIDTH), persistent=False)
        if not self.table.is_meta:  # there a model is only laid out
            self.table.copy_(read_table(packaged(TABLE)))

    def forward(self, raw: Sequence[Any]) -> Stream:
        rows = [torch.tensor(self._ids(value, index)) for index, value in enumerate(raw)]
        ids = pad_sequence(rows, batch_first=True, padding_value=-1).to(self.table.device)
        mask = ids >= 0
        tokens = self.table[ids.clamp(min=0)] * mask[..., None]
        return Stream(tokens=tokens, mask=mask, pooled=tokens.sum(dim=1) / mask.sum(dim=1, keepdim=True))

    def null(self, n: int) -> Stream:
        """The empty prompt, n times."""
        return self([""] * n)

    def _ids(self, value: Any, index: int) -> list[int]:
        """A prompt's tokens, at least one. PromptError for what is no text."""
        if not isinstance(value, str):
            raise PromptError(f"prompt {index}: expected text, got {type(value).__name__}")
        self._tokenizer.encode_special_tokens = True  # here, because a pickled tokenizer forgets it
        try:
            ids: list[int] = self._tokenizer.encode(value, add_special_tokens=False).ids
        except TypeError as error:
            raise PromptError(f"prompt {index}, {value[:40]!a}: it holds half a surrogate pair, which is no text") from error
        if len(ids) > self.length and not self._said:
            self._said = True
            log.warning("prompt %s is too long: kept %s of %s tokens", ascii(value[:40]), self.length, len(ids))
        return ids[: self.length] or [START]


def packaged(file: str) -> Path:
    """A file of the package wordllama, whose code is not run. EnvironmentFault if it is not there."""
    spec = find_spec("wordllama")
    if spec is None or not spec.submodule_search_locations:
        raise EnvironmentFault("wordllama needs its table, which comes in a package that is not installed", hint=PIP)
    path = Path(next(iter(spec.submodule_search_locations))) / file
    if not path.is_file():
        raise EnvironmentFault(f"{path} is not there: the package that is installed is another version", hint=PIP)
    return path


def read_table(path: Path) -> Tensor:
    """(VOCABULARY, WIDTH) float16. EnvironmentFault if the file holds anything else."""
    from safetensors.torch import load_file

    tensors = load_file(path)
    table = tensors.get("embedding.weight")
    if table is None or table.shape != (VOCABULARY, WIDTH):
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        raise EnvironmentFault(f"{path}: expected embedding.weight {VOCABULARY, WIDTH}, found {shapes}", hint=PIP)
    return table


@hookimpl
def cdkit_encoder() -> type[WordLlama]:
    return WordLlama
