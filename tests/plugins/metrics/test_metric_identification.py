"""identification: a conditional Gaussian's own denoiser finds the true caption; one that ignores the words is at chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from cdkit.parts import DataError, Dataset, Example, SampleShape
from cdkit_metrics.identification import Identification, meaning, questions
from torch import Tensor

CLASSES = ("ant", "bee", "cow", "dog", "emu")
SPREAD = 0.5
SHAPE = (1, 4, 4)
MEANS = {name: torch.randn(SHAPE, generator=torch.Generator().manual_seed(place)) for place, name in enumerate(CLASSES)}


class Clouds(Dataset):
    """A Gaussian cloud of pictures round each class's mean."""

    columns = ("text", "text.en", "label")
    shape = SampleShape(*SHAPE)
    classes = CLASSES

    def __init__(self, n: int = 120, *, backwards: bool = False) -> None:
        self.n, self.backwards = n, backwards

    def split(self, name: Literal["train", "validation", "test"]) -> Sequence[Example]:
        generator = torch.Generator().manual_seed(len(name))
        examples = [
            Example(
                f"{name}-{i}",
                MEANS[(said := CLASSES[i % 5])] + SPREAD * torch.randn(SHAPE, generator=generator),
                {
                    "text": (f"an {said}", f"一只{said}"),
                    "text.en": (f"an {said}",),
                    "text.zh": (f"一只{said}",),
                    "label": (said,),
                },
            )
            for i in range(self.n)
        ]
        return examples[::-1] if self.backwards else examples

    def fingerprint(self) -> str:
        return "clouds"


def noised(images: Tensor, level: float, seeds: Sequence[int]) -> tuple[Tensor, float, float]:
    noise = torch.stack([torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    alpha, sigma = (1 - level**2) ** 0.5, level
    return alpha * images + sigma * noise, alpha, sigma


def best(images: Tensor, told: Tensor, level: float, seeds: Sequence[int]) -> Tensor:
    """The error of the best denoiser there is if `told` (N, C, H, W) is the mean: E[clean | noisy] of a Gaussian."""
    x, alpha, sigma = noised(images, level, seeds)
    gain = alpha * SPREAD**2 / (alpha**2 * SPREAD**2 + sigma**2)
    return (told + gain * (x - alpha * told) - images).square().flatten(1).mean(1)


def listening(images: Tensor, values: Mapping[str, Sequence[Any]], level: float, seeds: Sequence[int]) -> Tensor:
    told = torch.stack([MEANS[text.removeprefix("an ")] for text in values["text"]])
    return best(images, told, level, seeds)


def deaf(images: Tensor, values: Mapping[str, Sequence[Any]], level: float, seeds: Sequence[int]) -> Tensor:
    del values
    return best(images, torch.stack(list(MEANS.values())).mean(0).expand_as(images), level, seeds)


def misled(images: Tensor, values: Mapping[str, Sequence[Any]], level: float, seeds: Sequence[int]) -> Tensor:
    told = [MEANS[CLASSES[(CLASSES.index(text.removeprefix("an ")) + 1) % 5]] for text in values["text"]]
    return best(images, torch.stack(told), level, seeds)


def test_who_listens_finds_the_true_caption(tmp_path: Path, stub: Any) -> None:
    result = Identification(pairs=100)(stub(Clouds(), tmp_path, losses=listening))
    assert result["identified"]["share"] >= 0.98
    assert result["chance"] == 0.2
    assert result["candidates"] == 5
    assert set(result["levels"]) == {str(level / 10) for level in range(1, 10)}
    assert all(share["share"] > 0.5 and share["n"] == 100 for share in result["levels"].values())


def test_who_does_not_listen_is_at_chance_exactly(tmp_path: Path, stub: Any) -> None:
    result = Identification(pairs=100)(stub(Clouds(), tmp_path, losses=deaf))
    for share in (result["identified"], *result["levels"].values()):
        assert share["count"] == 20


@pytest.mark.parametrize("place", range(5))
def test_who_answers_by_the_place_is_at_chance(tmp_path: Path, stub: Any, place: int) -> None:
    def by_place(images: Tensor, values: Mapping[str, Sequence[Any]], level: float, seeds: Sequence[int]) -> Tensor:
        del values, level, seeds
        return (torch.arange(len(images)) % 5 != place).float()

    result = Identification(pairs=100, levels=(0.5,))(stub(Clouds(), tmp_path, losses=by_place))
    assert result["identified"]["share"] == 0.2


def test_places_of_rivals_do_not_betray_the_answer() -> None:
    asked = questions(Clouds(1000), "test", 1000, 5, 0)
    for place in range(5):
        kinds = [question.candidates[place].values["label"][0] for question in asked]
        assert all(150 < kinds.count(name) < 250 for name in CLASSES)


def test_who_learned_the_wrong_words_finds_nothing(tmp_path: Path, stub: Any) -> None:
    result = Identification(pairs=60, levels=(0.3, 0.6))(stub(Clouds(), tmp_path, losses=misled))
    assert result["identified"]["share"] <= 0.05


def test_every_caption_of_a_picture_meets_the_same_noise_and_no_other_picture_does(tmp_path: Path, stub: Any) -> None:
    met: dict[float, list[int]] = {}

    def noted(images: Tensor, values: Mapping[str, Sequence[Any]], level: float, seeds: Sequence[int]) -> Tensor:
        met.setdefault(level, []).extend(seeds)
        return listening(images, values, level, seeds)

    Identification(pairs=20, candidates=4, levels=(0.2, 0.7), batch=7)(stub(Clouds(), tmp_path, losses=noted))
    for seeds in met.values():
        rows = torch.tensor(seeds).unflatten(0, (20, 4))
        assert (rows == rows[:, :1]).all()
        assert len(set(rows[:, 0].tolist())) == 20
    assert not set(met[0.2]) & set(met[0.7])


def test_the_score_depends_on_neither_batch_nor_order(tmp_path: Path, stub: Any) -> None:
    results = [
        Identification(pairs=30, levels=(0.5, 0.9), batch=batch)(stub(Clouds(backwards=flip), tmp_path, losses=listening))
        for batch, flip in ((50, False), (7, False), (50, True))
    ]
    assert results[0] == results[1] == results[2]


def test_more_draws_do_not_hurt(tmp_path: Path, stub: Any) -> None:
    one, many = (
        Identification(pairs=100, levels=(0.95,), draws=draws)(stub(Clouds(), tmp_path, losses=listening)) for draws in (1, 4)
    )
    assert many["identified"]["share"] >= one["identified"]["share"] - 0.02


def test_rivals_mean_something_else() -> None:
    for question in questions(Clouds(), "test", 50, 4, 0):
        kinds = [meaning(candidate, CLASSES) for candidate in question.candidates]
        assert len(set(kinds)) == 4
        assert question.candidates[question.answer] is question.example


def test_without_classes_the_captions_are_what_is_meant(tmp_path: Path, stub: Any) -> None:
    rows = [Example(str(i), MEANS[CLASSES[i % 5]], {"text": (f"an {CLASSES[i % 5]}",)}) for i in range(40)]

    class Captioned(Clouds):
        classes = ()

        def split(self, name: Literal["train", "validation", "test"]) -> Sequence[Example]:
            del name
            return rows

    result = Identification(candidates=3)(stub(Captioned(), tmp_path, losses=listening))
    assert (result["candidates"], result["identified"]["share"], result["identified"]["n"]) == (3, 1.0, 40)


def test_a_caption_that_is_true_of_both_is_no_rival(tmp_path: Path, stub: Any) -> None:
    rows = [
        Example(str(i), MEANS[CLASSES[i % 5]], {"text": (f"an {CLASSES[i % 5]}", *["an animal"] * (i < 3))}) for i in range(5)
    ]

    class Vague(Clouds):
        classes = ()

        def split(self, name: Literal["train", "validation", "test"]) -> Sequence[Example]:
            del name
            return rows

    asked = questions(Vague(), "test", 5, 3, 0)
    vague = {"0", "1", "2"}
    for question in asked:
        if question.example.id in vague:
            assert vague & {candidate.id for candidate in question.candidates} == {question.example.id}
    with pytest.raises(DataError, match="has 2 rivals; expected 3") as caught:
        Identification(candidates=4)(stub(Vague(), tmp_path, losses=listening))
    assert "fewer `candidates`" in caught.value.hint


def test_one_meaning_is_no_question(tmp_path: Path, stub: Any) -> None:
    class Same(Clouds):
        def split(self, name: Literal["train", "validation", "test"]) -> Sequence[Example]:
            return [e for e in super().split(name) if e.values["label"] == ("ant",)]

    with pytest.raises(DataError, match="all 24 pictures of split 'test' mean the same"):
        Identification()(stub(Same(), tmp_path, losses=listening))


@pytest.mark.parametrize("level", [0.0, 1.0, -0.5])
def test_levels_lie_between_clean_and_noise(level: float) -> None:
    with pytest.raises(ValueError, match=r"lie outside \(0, 1\)"):
        Identification(levels=(0.5, level))


class Kinds(Clouds):
    """Half of the held-out pictures are of a kind that the examinee knows nothing of."""

    columns = (*Clouds.columns, "split_kind")

    def split(self, name: Literal["train", "validation", "test"]) -> Sequence[Example]:
        def kind(place: int) -> str:
            return "seen" if name == "train" else ("pair", "thing")[place // 5 % 2]

        return [replace(e, values={**e.values, "split_kind": (kind(i),)}) for i, e in enumerate(super().split(name))]


def test_what_is_new_is_told_apart_from_what_was_seen(tmp_path: Path, stub: Any) -> None:
    data = Kinds()
    strangers = {e.image.sum().item() for e in data.split("test") if e.values["split_kind"] == ("thing",)}

    def knows(images: Tensor, values: Mapping[str, Sequence[Any]], level: float, seeds: Sequence[int]) -> Tensor:
        strange = torch.tensor([image.sum().item() in strangers for image in images])
        return torch.where(strange, deaf(images, values, level, seeds), listening(images, values, level, seeds))

    result = Identification(pairs=100, levels=(0.3, 0.6))(stub(data, tmp_path, losses=knows))
    kinds = result[Identification.groups]
    assert set(kinds) == {"seen", "pair", "thing"}
    assert kinds["seen"]["n"] == 100
    assert kinds["pair"]["n"] + kinds["thing"]["n"] == 100
    assert min(kinds["seen"]["share"], kinds["pair"]["share"]) > 0.9
    assert kinds["thing"]["share"] < 0.4


def test_every_picture_is_told_of(tmp_path: Path, stub: Any) -> None:
    result = Identification(pairs=30, levels=(0.3, 0.6))(stub(Clouds(), tmp_path, losses=listening))
    assert sum(result[Identification.by].values()) == result["identified"]["count"]
    assert len(result["pictures"]) == 30
    assert "kinds" not in result
