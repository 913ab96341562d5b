"""wordllama: the promises of an encoder, the package's own vectors, and what is said where something is missing."""

from __future__ import annotations

import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
import torch
from cdkit.parts import EnvironmentFault, PromptError
from cdkit.testing import check_encoder
from cdkit_wordllama import wordllama
from cdkit_wordllama.wordllama import START, WordLlama

PROMPTS = ["a red cat", "seven", "The quick brown fox, twice!", "数字七"]


@pytest.fixture(scope="module")
def encoder() -> WordLlama:
    return WordLlama().eval()


def test_it_keeps_the_promises_of_an_encoder() -> None:
    check_encoder(WordLlama, values=PROMPTS)


def test_pooled_is_what_the_package_embeds(encoder: WordLlama) -> None:
    """Against WordLlama's own inference, from the files in its package."""
    from tokenizers import Tokenizer
    from wordllama.inference import WordLlamaInference

    table = encoder.table.numpy()
    peer = WordLlamaInference(table, Tokenizer.from_file(str(wordllama.packaged(wordllama.TOKENIZER))))
    expected = torch.tensor(peer.embed(PROMPTS))
    pooled = encoder(PROMPTS).pooled
    assert pooled is not None
    torch.testing.assert_close(pooled, expected, atol=1e-6, rtol=1e-6)
    assert (pooled[0] - expected[1]).abs().max() > 1e-3


def test_meanings_that_are_near(encoder: WordLlama) -> None:
    pooled = encoder(["kitten", "cat", "seven", "eight", "king", "monarch"]).pooled
    assert pooled is not None
    unit = torch.nn.functional.normalize(pooled, dim=-1)
    assert (unit @ unit.T).fill_diagonal_(-1).argmax(dim=1).tolist() == [1, 0, 3, 2, 5, 4]


def test_a_word_has_one_vector_wherever_it_stands(encoder: WordLlama) -> None:
    tokens = encoder(["cat dog", "dog cat"]).tokens
    assert tokens is not None
    assert tokens.shape[1] == 2
    torch.testing.assert_close(tokens[0], tokens[1].flip(0), atol=0, rtol=0)


def test_the_empty_prompt_is_the_start_alone(encoder: WordLlama) -> None:
    null = encoder.null(2)
    assert null.tokens is not None
    assert torch.equal(null.tokens[1, 0], encoder.table[START])


def test_a_mark_in_a_prompt_is_text(encoder: WordLlama) -> None:
    tokens, mask = encoder(["<s>"]).tokens, encoder(["<s>"]).mask
    assert tokens is not None
    assert mask is not None
    assert mask.sum() > 1
    assert not (tokens == encoder.table[START]).all(dim=-1).any()


def test_long_prompts_are_cut_and_said_so_once(caplog: pytest.LogCaptureFixture) -> None:
    encoder = WordLlama(length=3)
    tokens = encoder(["one two three four five", "one two three"]).tokens
    assert tokens is not None
    assert torch.equal(tokens[0], tokens[1])
    encoder(["one two three four five six"])
    assert [record.getMessage() for record in caplog.records] == [
        "prompt 'one two three four five' is too long: kept 3 of 5 tokens"
    ]


@pytest.mark.parametrize(
    ("raw", "text"), [(["a", 7], "prompt 1: expected text, got int"), (["\ud800"], "half a surrogate pair, which is no text")]
)
def test_what_is_no_text_is_refused(encoder: WordLlama, raw: list[object], text: str) -> None:
    with pytest.raises(PromptError, match=text):
        encoder(raw)


def test_the_table_is_in_no_checkpoint_and_needs_no_memory_on_meta(encoder: WordLlama) -> None:
    assert not encoder.state_dict()
    with torch.device("meta"):
        assert WordLlama().table.is_meta


def test_the_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordllama, "find_spec", {}.get)
    with pytest.raises(EnvironmentFault, match="which comes in a package that is not installed") as caught:
        WordLlama()
    assert "wordllama>=0.4" in caught.value.hint


def test_another_version_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    with pytest.raises(EnvironmentFault, match=r"no_such_file is not there: the package that is installed is another version"):
        wordllama.packaged("no_such_file")
    save_file({"embedding.weight": torch.zeros(4, 2)}, tmp_path / "table.safetensors")
    with pytest.raises(
        EnvironmentFault, match=r"expected embedding.weight \(32000, 256\), found \{'embedding.weight': \(4, 2\)\}"
    ):
        wordllama.read_table(tmp_path / "table.safetensors")


def test_its_metadata_leaves_torch_to_cdkit() -> None:
    asked = requires("cdkit-wordllama") or []
    assert any(line.replace(" ", "") in ("cdkit<0.2,>=0.1", "cdkit>=0.1,<0.2") for line in asked)
    assert not any(line.startswith("torch") for line in asked)


def test_the_packages_code_is_not_run() -> None:
    """In a process of its own: another test here imports it."""
    import subprocess

    code = (
        "import sys; from cdkit_wordllama.wordllama import WordLlama as W; W()(['a cat']); assert 'wordllama' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
