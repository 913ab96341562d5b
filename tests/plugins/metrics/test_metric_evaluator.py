"""The evaluator: good on pictures it never saw, blind to them while it learns, the same each time, safe in its cache."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any, Literal

import pytest
import torch
from cdkit.parts import DataError, Dataset, Example, SampleShape
from cdkit_data.digits import Digits
from cdkit_metrics.evaluator import FOLDER, Evaluator, evaluator_of, images_of
from cdkit_metrics.keeping import keep, kept
from cdkit_metrics.learning import Lesson, learn, lesson_for
from cdkit_metrics.network import Recogniser
from cdkit_metrics.warping import Limits, warped
from cdkit_metrics.words import label_of


class Watched(Dataset):
    """Digits that remember which examples were varied for training, with a test split that can be poisoned."""

    shape = SampleShape(1, 8, 8)

    def __init__(self, *, size: int | None = None, poisoned: bool = False) -> None:
        self.inner = Digits()
        self.classes = self.inner.classes
        self.columns = self.inner.columns
        self.size, self.poisoned = size, poisoned
        self.seen: set[str] = set()

    def split(self, name: Literal["train", "validation", "test"]) -> Sequence[Example]:
        examples = list(self.inner.split(name))[: self.size]
        if name == "test" and self.poisoned:
            return [Example(e.id, -e.image, {**e.values, "label": ("zero",)}) for e in examples]
        return examples

    def fingerprint(self) -> str:
        return f"{self.inner.fingerprint()}{self.size}{self.poisoned}"

    def augment(self, example: Example, generator: torch.Generator) -> Example:
        del generator
        self.seen.add(example.id)
        return example


def weights(dataset: Dataset, lesson: Lesson) -> dict[str, torch.Tensor]:
    def new() -> Recogniser:
        return Recogniser(dataset.shape, classes=len(dataset.classes), width=lesson.width)

    def truth(example: Example) -> int:
        return label_of(example, dataset)

    return learn(dataset, lesson, new, truth, device=torch.device("cpu"), say=lambda _: None).state_dict()


def test_recognises_real_pictures_it_never_saw(evaluator: Evaluator) -> None:
    assert evaluator.accuracy.n > 150
    assert evaluator.accuracy.value >= 0.93


def test_reported_accuracy_is_that_of_the_test_split(evaluator: Evaluator, digits: Digits) -> None:
    examples = digits.split("test")
    named = evaluator.recognise(images_of(examples))
    hits = sum(digits.classes[place] == e.values["label"][0] for place, e in zip(named.tolist(), examples, strict=True))
    assert (evaluator.accuracy.count, evaluator.accuracy.n) == (hits, len(examples))


def test_learns_from_the_training_split_alone() -> None:
    dataset = Watched(size=200)
    weights(dataset, lesson_for(dataset, epochs=1))
    assert dataset.seen <= {e.id for e in dataset.split("train")}
    assert len(dataset.seen) >= 128
    assert not dataset.seen & {e.id for name in ("validation", "test") for e in dataset.inner.split(name)}


def test_the_test_split_changes_no_weight() -> None:
    clean, poisoned = Watched(size=100), Watched(size=100, poisoned=True)
    lesson = lesson_for(clean, epochs=1)
    one, other = weights(clean, lesson), weights(poisoned, lesson)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_seed_of_a_lesson_decides_the_weights_and_nothing_else_does() -> None:
    dataset = Watched(size=100)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = weights(dataset, Lesson(width=4, batch=64, epochs=1, seed=3))
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    again, other = (
        weights(dataset, Lesson(width=4, batch=64, epochs=1, seed=3)),
        weights(dataset, Lesson(width=4, batch=64, epochs=1, seed=4)),
    )
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])


def test_learns_alike_wherever_it_is_asked(tmp_path: Path, stub: Any) -> None:
    plain = evaluator_of(stub(Watched(size=70), tmp_path / "plain"), epochs=1)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        inside = evaluator_of(stub(Watched(size=70), tmp_path / "inside"), epochs=1)
    assert all(torch.equal(a, b) for a, b in zip(plain.network.parameters(), inside.network.parameters(), strict=True))


def test_comes_out_of_the_cache_the_same(evaluator: Evaluator, digits: Digits, cache: Path, stub: Any, epochs: int) -> None:
    examinee = stub(digits, cache)
    again = evaluator_of(examinee, epochs=epochs)
    images = images_of(digits.split("validation"))
    assert examinee.said == []
    assert again.accuracy == evaluator.accuracy
    assert torch.equal(again.features(images), evaluator.features(images))


def test_who_asks_at_the_same_time_waits_for_the_one_lesson(tmp_path: Path, stub: Any) -> None:
    """Threads open the lock's file each for itself, and so compete for it as processes do."""
    examinees = [stub(Watched(size=70), tmp_path) for _ in range(3)]
    start = Barrier(len(examinees))

    def ask(examinee: Any) -> Evaluator:
        start.wait()
        return evaluator_of(examinee, epochs=1)

    with ThreadPoolExecutor(len(examinees)) as pool:
        found = list(pool.map(ask, examinees))
    learned = [examinee for examinee in examinees if any("learning" in line for line in examinee.said)]
    assert len(learned) == 1
    first = found[0].network.state_dict()
    assert all(torch.equal(first[key], value) for one in found for key, value in one.network.state_dict().items())


def test_cache_is_keyed_by_pictures_and_lesson(tmp_path: Path, stub: Any) -> None:
    for dataset, epochs in ((Watched(size=70), 1), (Watched(size=80), 1), (Watched(size=70), 2)):
        evaluator_of(stub(dataset, tmp_path), epochs=epochs)
    assert len(list((tmp_path / FOLDER).glob("*.safetensors"))) == 3


@pytest.mark.parametrize("harm", ["flip", "cut", "json", "facts"])
def test_a_damaged_cache_is_learned_again(tmp_path: Path, stub: Any, harm: str) -> None:
    dataset = Watched(size=70)
    first = evaluator_of(stub(dataset, tmp_path), epochs=1)
    blob, facts = next((tmp_path / FOLDER).glob("*.safetensors")), next((tmp_path / FOLDER).glob("*.json"))
    whole = blob.read_bytes()
    if harm == "flip":
        blob.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    elif harm == "cut":
        blob.write_bytes(whole[:-100])
    else:
        facts.write_text("{" if harm == "json" else json.dumps({"sha256": 3}))
    examinee = stub(dataset, tmp_path)
    again = evaluator_of(examinee, epochs=1)
    assert any("learning" in line for line in examinee.said)
    assert all(torch.equal(a, b) for a, b in zip(first.network.parameters(), again.network.parameters(), strict=True))
    assert blob.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_said_and_survived(tmp_path: Path, stub: Any) -> None:
    (tmp_path / FOLDER).write_text("a file where the folder should be")
    examinee = stub(Watched(size=70), tmp_path)
    assert evaluator_of(examinee, epochs=1).accuracy.n == 70
    assert any("not kept" in line for line in examinee.said)


def test_keeping_leaves_no_rubbish_and_gives_back_what_it_got(tmp_path: Path) -> None:
    keep(tmp_path, "it", {"w": torch.arange(6.0).reshape(2, 3).T}, {"n": 1})
    found = kept(tmp_path, "it")
    assert found is not None
    assert torch.equal(found[0]["w"], torch.arange(6.0).reshape(2, 3).T)
    assert found[1]["n"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["it.json", "it.safetensors"]


def test_one_class_is_nothing_to_tell_apart(tmp_path: Path, stub: Any) -> None:
    dataset = Watched()
    dataset.classes = ()
    with pytest.raises(DataError, match="has 0 classes; an evaluator needs two"):
        evaluator_of(stub(dataset, tmp_path))


def test_an_unknown_label_is_named(tmp_path: Path, stub: Any) -> None:
    dataset = Watched(size=70)
    dataset.classes = dataset.classes[1:]
    with pytest.raises(DataError, match=r"label \('zero',\); expected one of one, two"):
        evaluator_of(stub(dataset, tmp_path), epochs=1)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 20, 48), (1, 4, 4)])
def test_any_size_of_picture_will_do(shape: tuple[int, int, int]) -> None:
    network = Recogniser(SampleShape(*shape), classes=7, width=4).eval()
    assert network(torch.zeros(2, *shape)).shape == (2, 7)
    assert network.features(torch.randn(2, *shape)).shape == (2, network.width) == (2, 16)


def test_no_warp_is_no_change_and_a_warp_is_small() -> None:
    images = torch.rand(5, 1, 12, 12) * 2 - 1
    still = warped(images, limits=Limits(0, 0, 0, 0), generator=torch.Generator().manual_seed(0))
    assert torch.allclose(still, images, atol=1e-5)
    shifted = warped(images, limits=Limits(0, 0.07, 0, 0), generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(shifted, images, atol=1e-2)
    assert shifted.abs().max() <= 1


def test_a_warp_turns_by_the_angle_it_says() -> None:
    ramp = torch.linspace(-1, 1, 33).expand(1, 1, 33, 33)
    draws = 2 * torch.rand(1, 6, generator=torch.Generator().manual_seed(5)) - 1
    turned = warped(ramp, limits=Limits(degrees=30, shift=0, zoom=0, shear=0), generator=torch.Generator().manual_seed(5))
    down, right = torch.gradient(turned[0, 0])
    middle = slice(10, 23)
    angle = torch.atan2(down[middle, middle].mean(), right[middle, middle].mean()).rad2deg()
    assert abs(float(angle)) == pytest.approx(abs(30 * float(draws[0, 0])), abs=0.5)
