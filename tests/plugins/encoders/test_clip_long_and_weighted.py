"""clip: prompts longer than a window, and weights in prompts; neither changes a plain short prompt by a bit."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.errors import PromptError
from cdkit.parts import Stream
from cdkit.testing import check_encoder
from cdkit_encoders.clip import Clip
from cdkit_encoders.emphasis import emphasised, fragments
from torch import Tensor, nn
from torch.testing import assert_close

LETTERS = "abcdefghijklmnopqrstuvwxyz"
START, END, PAD = 90, 91, 92
PROMPTS = ["a red circle", "(two) [three]", "", "x y z " * 40]
LONG = " ".join(LETTERS[i * 7 % 26] for i in range(100))  # a word is a letter is a token


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text encoder of 77 positions whose pieces are letters and brackets, with a norm of its own and thus a mean."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

    path = tmp_path_factory.mktemp("clip")
    letters = [*LETTERS, *"()[]<|>"]
    pieces = {piece: place for place, piece in enumerate([*letters, *(f"{letter}</w>" for letter in letters)])}
    CLIPTokenizer(
        vocab=pieces | {"<|startoftext|>": START, "<|endoftext|>": END, "<|pad|>": PAD},
        merges=[],
        pad_token="<|pad|>",
        model_max_length=77,
    ).save_pretrained(path)
    sizes: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends: dict[str, Any] = {"bos_token_id": START, "eos_token_id": END, "pad_token_id": PAD}
    torch.manual_seed(0)
    network = CLIPTextModelWithProjection(
        CLIPTextConfig(vocab_size=96, projection_dim=12, **sizes, **ends, initializer_factor=10.0)
    )
    nn.init.normal_(network.text_model.final_layer_norm.bias, mean=0.3)
    network.save_pretrained(path)
    return path


def made(folder: Path, **options: Any) -> Clip:
    return Clip(model=str(folder), **options).requires_grad_(False).eval()


def forms(stream: Stream) -> tuple[Tensor, Tensor, Tensor]:
    assert stream.tokens is not None
    assert stream.mask is not None
    assert stream.pooled is not None
    return stream.tokens, stream.mask, stream.pooled


def alike(one: Stream, other: Stream) -> bool:
    return all(torch.equal(a, b) for a, b in zip(forms(one), forms(other), strict=True))


def direct(folder: Path, prompts: list[str]) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, mask and pooled by transformers alone: its tokenizer pads and cuts."""
    from transformers import CLIPTextModel, CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(folder)
    batch = tokenizer(prompts, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
    with torch.no_grad():
        out = CLIPTextModel.from_pretrained(folder).eval()(input_ids=batch["input_ids"])
    return out.last_hidden_state, batch["attention_mask"].bool(), out.pooler_output


# --------------------------------------------------------------------------- windows


def test_one_window_is_what_transformers_reads_bit_for_bit(folder: Path) -> None:
    for ours, theirs in zip(forms(made(folder)(PROMPTS)), direct(folder, PROMPTS), strict=True):
        assert torch.equal(ours, theirs)


def test_two_windows_are_two_prompts_side_by_side(folder: Path) -> None:
    tokens, mask, pooled = forms(made(folder, windows=2)([LONG]))
    first, second = LONG[:150], LONG[150:]  # 75 letters, each with its blank
    halves = direct(folder, [first, second])
    assert torch.equal(tokens[0], halves[0].flatten(0, 1))
    assert torch.equal(mask[0], halves[1].flatten(0, 1))
    assert torch.equal(pooled[0], halves[2][0])
    assert int(mask.sum()) == 100 + 2 * 2


def test_what_comes_late_is_heard_only_with_a_second_window(folder: Path) -> None:
    other = LONG[:-1] + ("a" if LONG[-1] != "a" else "b")
    one, two = made(folder), made(folder, windows=2)
    assert alike(one([LONG]), one([other]))
    assert not torch.allclose(forms(two([LONG]))[0], forms(two([other]))[0])
    assert not torch.allclose(forms(two([LONG]))[0], forms(two([LONG[:150]]))[0])


def test_a_short_prompt_says_the_same_however_many_windows(folder: Path) -> None:
    """What counts of it is what one window reads; the rest reads as the empty prompt and does not count."""
    one, three = forms(made(folder)(["two cats"])), forms(made(folder, windows=3)(["two cats", LONG]))
    empty = forms(made(folder)([""]))[0][0]
    assert three[0].shape == (2, 231, 16)
    assert torch.equal(three[0][0][three[1][0]], one[0][0][one[1][0]])
    assert torch.equal(three[0][0, 154:], empty)
    assert torch.equal(three[2][0], one[2][0])


@pytest.mark.parametrize("pooled", ["end", "projected"])
def test_pooled_is_of_the_first_window_prompt_by_prompt(folder: Path, pooled: Any) -> None:
    prompts = [LONG, "red", LONG[::-1]]
    two, one = made(folder, windows=2, pooled=pooled)(prompts), made(folder, pooled=pooled)(prompts)
    assert_close(forms(two)[2], forms(one)[2], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("windows", "words", "said"), [(1, 75, None), (1, 76, "77 of 78"), (2, 150, None), (2, 151, "154 of 155")]
)
def test_what_fits_in_no_window_is_said_once(
    folder: Path, windows: int, words: int, said: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = made(folder, windows=windows)
    for _ in range(2):
        encoder(["a " * words])
    assert len(caplog.messages) == (said is not None)
    assert said is None or f"is too long: kept {said} tokens" in caplog.messages[0]


@pytest.mark.parametrize("options", [{"windows": 2}, {"windows": 2, "weights": True}], ids=["windows", "weights"])
def test_conforms(folder: Path, options: dict[str, Any]) -> None:
    reason = {"state dict": "its weights are frozen: they come from their folder, and no state dict holds them"}
    check_encoder(partial(made, folder, **options), values=(LONG, "(a:1.5) b"), exceptions=reason)


# --------------------------------------------------------------------------- weights in prompts


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("red cat", [("red cat", 1)]),
        ("", [("", 1)]),
        ("(red:1.3) cat", [("red", 1.3), (" cat", 1)]),
        ("a (red: 1.3 ) cat", [("a ", 1), ("red", 1.3), (" cat", 1)]),
        ("(red:.5)(cat:2.)", [("red", 0.5), ("cat", 2)]),
        ("(red:-1)", [("red", -1)]),
        ("(red:0)", [("red", 0)]),
        ("((red))", [("red", 1.1**2)]),
        ("[red]", [("red", 1 / 1.1)]),
        ("[[red]] cat", [("red", 1.1**-2), (" cat", 1)]),
        ("(a (b:2) c)", [("a ", 1.1), ("b", 2.2), (" c", 1.1)]),
        ("([a])", [("a", 1)]),
        ("(red)(cat)", [("redcat", 1.1)]),
        ("(re:1)d", [("red", 1)]),
        (r"\(red\) \[cat\] \\", [(r"(red) [cat] " + "\\", 1)]),
        (r"(\(red\):1.2)", [("(red)", 1.2)]),
        ("12:30 a:b", [("12:30 a:b", 1)]),
        ("(red:blue)", [("red:blue", 1.1)]),
        # Written wrongly, it is text.
        ("(red", [("(red", 1)]),
        ("red)", [("red)", 1)]),
        ("red:1.3)", [("red:1.3)", 1)]),
        ("[red:1.3]", [("red:1.3", 1 / 1.1)]),
        ("(red]", [("(red]", 1)]),
        ("[red)", [("[red)", 1)]),
        ("(a [b) c]", [("a [b", 1.1), (" c]", 1)]),
        ("(red:1.2.3)", [("red:1.2.3", 1.1)]),
        ("(red:1e9)", [("red:1e9", 1.1)]),
        (")(", [(")(", 1)]),
        (":-(", [(":-(", 1)]),
        ("\\", [("\\", 1)]),
        ("()", [("", 1)]),
    ],
)
def test_what_brackets_mean(prompt: str, expected: list[tuple[str, float]]) -> None:
    found = fragments(prompt)
    assert [part.text for part in found] == [text for text, _ in expected]
    assert [part.weight for part in found] == pytest.approx([weight for _, weight in expected], rel=1e-12)


@pytest.mark.parametrize("prompt", ["(a:1001)", "(a:-1001)", "(" * 100 + "a" + ")" * 100, "(a:" + "9" * 400 + ")"])
def test_a_weight_beyond_reason_is_refused(prompt: str) -> None:
    with pytest.raises(PromptError, match=r"^prompt: 'a' weighs .*; a weight goes to 1000 at most"):
        fragments(prompt)


@pytest.mark.parametrize(
    "prompt",
    ["(" * 50_000, "([" * 25_000, "[" * 50_000 + "]" * 50_000, ":" * 100_000, "(:" + "1" * 99_000, ": " * 50_000, "(a" * 50_000],
)
def test_hostile_brackets_take_linear_time(prompt: str) -> None:
    begun = time.perf_counter()
    fragments(prompt)
    assert time.perf_counter() - begun < 5


def test_plain_prompts_and_weights_of_one_change_nothing(folder: Path) -> None:
    plain, weighing = made(folder), made(folder, weights=True)
    said = ["a red circle", "", LONG, "red cat"]
    assert alike(plain(said), weighing(["a (red:1) circle", "", LONG, "(re:1.0)d ([cat])"]))


def test_without_the_option_brackets_are_text(folder: Path) -> None:
    for ours, theirs in zip(forms(made(folder)(["(red:1.3) [cat]"])), direct(folder, ["(red:1.3) [cat]"]), strict=True):
        assert torch.equal(ours, theirs)


def test_a_weight_is_of_its_tokens_alone(folder: Path) -> None:
    """AUTOMATIC1111's arithmetic written out: red's three letters times 1.3, then everything times one number."""
    before = forms(made(folder)(["a red cat"]))[0][0]
    after, _, pooled = forms(made(folder, weights=True)(["a (red:1.3) cat"]))
    weights = torch.ones(77, 1)
    weights[2:5] = 1.3  # start, a, r e d
    expected = before * weights
    restored = expected * before.mean() / expected.mean()
    assert_close(after[0], restored, atol=1e-6, rtol=1e-5)
    assert_close(after.mean(), before.mean())
    ratio = (after[0] / before).median(dim=1).values
    common = ratio[0]
    assert_close(ratio / common, weights[:, 0], atol=1e-4, rtol=1e-4)
    assert not torch.isclose(common, torch.ones(()), atol=1e-4)
    assert torch.equal(pooled, forms(made(folder)(["a red cat"]))[2])


def test_a_weight_reaches_its_window(folder: Path) -> None:
    """The hundredth word is weighed: the second window changes, the first does not by a bit."""
    encoder = made(folder, windows=2, weights=True)
    before, after = (forms(encoder([prompt]))[0][0] for prompt in (LONG, LONG[:-1] + f"({LONG[-1]}:1.5)"))
    assert torch.equal(before[:77], after[:77])
    assert not torch.allclose(before[77:], after[77:])


def test_no_prompt_hears_the_weights_of_another(folder: Path) -> None:
    encoder = made(folder, weights=True)
    beside, alone = encoder(["a (red:1.3) cat", "dog"]), encoder(["dog"])
    assert torch.equal(forms(beside)[0][1], forms(alone)[0][0])


def test_marks_cannot_be_put_together_out_of_fragments(folder: Path) -> None:
    encoder = made(folder, weights=True)
    encoder.load()
    seen: list[Tensor] = []
    encoder.network.register_forward_pre_hook(lambda _, __, given: seen.append(given["input_ids"]), with_kwargs=True)
    encoder(["a <|endof(text:1)|> b"])
    pieces = ["a", "<", "|", *"endoftext", "|", ">", "b"]
    assert int((seen[0][0] == END).int().argmax()) == 1 + len(pieces)


def test_a_mean_that_is_only_rounding_is_not_restored() -> None:
    tokens = torch.tensor([[[1.0, -1.0], [2.0, -2.0 + 1e-7]], [[1.0, 0.5], [2.0, 1.0]]])
    weights = torch.tensor([[1.0, 3.0], [1.0, 3.0]])
    found = emphasised(tokens, weights)
    assert torch.equal(found[0], tokens[0] * weights[0, :, None])
    assert_close(found[1], tokens[1] * weights[1, :, None] * (4.5 / 10.5))
