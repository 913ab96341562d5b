"""map: every way in which a picture comes, at the sample's resolution."""

import numpy as np
import pytest
import torch
from cdkit.errors import PromptError
from cdkit.parts import SampleShape, Widths
from cdkit_encoders.map import Map
from PIL import Image
from torch.testing import assert_close

SHAPE = SampleShape(4, 8, 6)


def spatial(encoder: Map, *values: object) -> torch.Tensor:
    stream = encoder(list(values))
    assert stream.spatial is not None
    assert stream.tokens is None
    return stream.spatial


def test_numbers_are_taken_as_they_are() -> None:
    encoder = Map(sample=SHAPE, channels=2).double()
    value = torch.randn(2, 8, 6, dtype=torch.float64)
    assert encoder.widths == Widths(spatial=2)
    assert torch.equal(spatial(encoder, value, -value), torch.stack([value, -value]))


def test_bytes_and_images_come_to_the_unit_range() -> None:
    array = np.arange(48, dtype=np.uint8).reshape(8, 6) * 5
    expected = torch.from_numpy(array).float().div(127.5).sub(1)[None, None]
    encoder = Map(sample=SHAPE)
    for value in (array, torch.from_numpy(array), array[None], Image.fromarray(array)):
        assert_close(spatial(encoder, value), expected)


def test_colour_and_depth_of_images() -> None:
    array = np.random.default_rng(0).integers(0, 256, (8, 6, 3), dtype=np.uint8)
    expected = torch.from_numpy(array).permute(2, 0, 1).float().div(127.5).sub(1)[None]
    assert_close(spatial(Map(sample=SHAPE, channels=3), Image.fromarray(array)), expected)
    assert spatial(Map(sample=SHAPE), Image.fromarray(array)).shape == (1, 1, 8, 6)
    deep = Image.fromarray(np.full((8, 6), 65535, dtype=np.uint16))
    assert_close(spatial(Map(sample=SHAPE), deep), torch.ones(1, 1, 8, 6))


def test_masks_are_zero_and_one() -> None:
    mask = torch.zeros(16, 12, dtype=torch.bool)
    mask[:, :6] = True
    resized = spatial(Map(sample=SHAPE, resize="nearest"), mask)
    assert torch.equal(resized[0, 0], torch.tensor([1.0, 1, 1, 0, 0, 0]).expand(8, 6))


def test_resizing_keeps_the_mean_where_it_halves() -> None:
    value = torch.randn(1, 1, 1).expand(1, 32, 24) + torch.linspace(-1, 1, 24)
    assert_close(spatial(Map(sample=SHAPE), value).mean(), value.mean(), atol=1e-5, rtol=0)


def test_sizes_may_differ_in_a_batch() -> None:
    assert spatial(Map(sample=SHAPE), torch.zeros(8, 6), torch.ones(3, 5)).shape == (2, 1, 8, 6)


def test_null_is_zero_and_the_examples_differ() -> None:
    encoder = Map(sample=SHAPE, channels=2)
    null = encoder.null(3).spatial
    assert null is not None
    assert torch.equal(null, torch.zeros(3, 2, 8, 6))
    a, b = spatial(encoder, *encoder.examples())
    assert not torch.allclose(a, b)
    assert a.any()
    assert b.any()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.zeros(3, 8, 6), r"map 0: expected \(1, H, W\), got \(3, 8, 6\)"),
        (torch.zeros(6), r"map 0: expected \(1, H, W\), got \(6,\)"),
        (torch.zeros(0, 6), r"map 0: expected \(1, H, W\), got \(1, 0, 6\)"),
        (torch.full((8, 6), float("nan")), "map 0: it holds numbers that are not finite"),
        ("cat.png", "map 0: expected a tensor, an array or a PIL image, got str"),
    ],
)
def test_refused(value: object, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        Map(sample=SHAPE)([value])


def test_refusing_to_resize() -> None:
    with pytest.raises(PromptError, match="map 1: expected 8 x 6, got 4 x 3"):
        Map(sample=SHAPE, resize="refuse")([torch.zeros(8, 6), torch.zeros(4, 3)])
