"""Every encoder passes what cdkit.testing asks of any: those that need no weights of others, and minilm and e5 if installed."""

from functools import partial
from importlib.util import find_spec
from types import ModuleType

import pytest
import torch
from cdkit.parts import Encoder, SampleShape
from cdkit.testing import check_encoder
from cdkit_encoders import e5, minilm
from cdkit_encoders.bytes import Bytes
from cdkit_encoders.e5 import E5
from cdkit_encoders.label import Label
from cdkit_encoders.map import Map
from cdkit_encoders.minilm import MiniLM
from cdkit_encoders.sentencepiece import SentencePiece
from cdkit_encoders.size import Size

WORDS = ("猫", "<s>", "🙂", "a  b")


@pytest.mark.parametrize(
    ("factory", "values"),
    [
        (partial(Bytes, dim=32, depth=2, heads=4), WORDS),
        (partial(SentencePiece, vocab=120, dim=32, depth=2, heads=4), WORDS),
        (partial(Label, names=("cat", "dog", "cow"), dim=8), ("cow",)),
        (partial(Label, classes=3, dim=8), (2,)),
        (partial(Size, count=2, dim=8), ((0, 0),)),
        (partial(Size, count=2, dim=8, null="learned"), ((0, 0),)),
        (partial(Map, sample=SampleShape(3, 8, 8), channels=2), (torch.zeros(2, 4, 4),)),
    ],
    ids=["bytes", "sentencepiece", "label-names", "label-classes", "size", "size-learned", "map"],
)
def test_conforms(factory: partial[Encoder], values: tuple[object, ...]) -> None:
    check_encoder(factory, values=values)


@pytest.mark.parametrize(
    ("factory", "home"),
    [
        pytest.param(
            factory,
            home,
            marks=pytest.mark.skipif(find_spec(home.PACKAGE) is None, reason=f"the weights are not installed: {home.PIP}"),
        )
        for factory, home in ((MiniLM, minilm), (E5, e5))
    ],
    ids=["minilm", "e5"],
)
def test_one_from_a_package_conforms(factory: type[Encoder], home: ModuleType) -> None:
    check_encoder(
        lambda: factory().requires_grad_(False),
        values=WORDS if home is e5 else (),
        exceptions={"state dict": "its weights are frozen: they come from their package, and no state dict holds them"},
    )
