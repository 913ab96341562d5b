"""size: the sinusoids of the reference, and what is refused."""

import pytest
import torch
from cdkit.errors import PromptError
from cdkit.parts import Widths
from cdkit_encoders.size import Size
from torch.testing import assert_close

SDXL = (1024, 512, 0, 8, 1024, 1024)


def test_as_diffusers_writes_them() -> None:
    embeddings = pytest.importorskip("diffusers.models.embeddings")
    expected = embeddings.get_timestep_embedding(
        torch.tensor(SDXL, dtype=torch.float32), 256, flip_sin_to_cos=True, downscale_freq_shift=0
    ).reshape(1, -1)
    encoder = Size()
    assert encoder.widths == Widths(pooled=1536)
    assert torch.equal(encoder([SDXL]).pooled, expected)


def test_closed_form() -> None:
    pooled = Size(count=1, dim=4).double()([3.0]).pooled
    expected = torch.tensor([3.0, 0.03], dtype=torch.float64)
    assert_close(pooled, torch.cat([expected.cos(), expected.sin()]).unsqueeze(0), atol=1e-6, rtol=0)


def test_a_default_is_what_silence_says() -> None:
    encoder = Size(count=2, dim=8, default=(1024, 3))
    assert torch.equal(encoder.null(3).pooled, encoder([(1024, 3)]).pooled.expand(3, -1))
    assert not encoder.state_dict()
    with pytest.raises(ValueError, match=r"default has 3 numbers, \[1, 2, 3\]; expected 2, the `count`"):
        Size(count=2, default=(1, 2, 3))
    with pytest.raises(ValueError, match="a default and a learned null exclude each other"):
        Size(count=1, default=(1,), null="learned")


@pytest.mark.parametrize("value", [(1, 2), [1.0, 2.0], "1, 2", "1 2.0", torch.tensor([1, 2])])
def test_numbers_however_they_come(value: object) -> None:
    encoder = Size(count=2, dim=8)
    assert_close(encoder([value]).pooled, encoder([(1, 2)]).pooled)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((1, 2, 3), "size 0: expected 2 finite numbers, got 3: (1, 2, 3)"),
        ((1, float("nan")), "size 0: expected 2 finite numbers, got 2: (1, nan)"),
        ("a b", "size 0: expected 2 finite numbers, got 'a b'"),
        (None, "size 0: expected 2 finite numbers, got 'None'"),
        ((1, 10**400), "size 0: expected 2 finite numbers, got '(1, 10000"),
    ],
)
def test_refused(value: object, message: str) -> None:
    with pytest.raises(PromptError) as caught:
        Size(count=2)([value])
    assert str(caught.value).startswith(message)


def test_nulls() -> None:
    zeros, learned = Size(count=2, dim=4), Size(count=2, dim=4, null="learned")
    assert not list(zeros.parameters())
    assert not zeros.state_dict()
    assert torch.equal(zeros.null(3).pooled, torch.zeros(3, 8))  # pyright: ignore[reportArgumentType]
    silent = learned.null(3).pooled
    assert silent is not None
    silent.sum().backward()
    assert_close(learned.empty.grad, torch.full((8,), 3.0))


def test_odd_width() -> None:
    with pytest.raises(ValueError, match="dim is 7; expected an even number, such as 8"):
        Size(dim=7)
