"""train.cache: what frozen parts make is made once, changes nothing, and is never taken for another maker's."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cdkit.build import assemble
from cdkit.cache import cache_folder
from cdkit.engine.journal import losses_of
from cdkit.engine.kept import Kept, Made, digest_of
from cdkit.engine.remember import named, remember
from cdkit.engine.run import Run
from cdkit.engine.train import train
from cdkit.parts import Stream
from cdkit.spec import Spec, read_spec

Tiny = Callable[..., Spec]
FROZEN = ("conditions.text.trainable=false", "train.steps=6", "train.checkpoint_every=100")
LATENT = Path(__file__).parents[3] / "specs" / "latent_shapes.yaml"
SMALL = (
    "conditions.text={use: bytes, dim: 16, depth: 1, heads: 1}", "backbone.width=16", "backbone.blocks=1", "backbone.mult=[1]",
    "backbone.attention=[0]", "backbone.heads=1", "autoencoder.width=8", "data.count=16", "train.warmup=2", "train.batch=8",
    "train.steps=4", "train.log_every=1", "train.sample_every=0", "train.checkpoint_every=100", "train.prompts=[]",
)  # fmt: skip


def quiet(line: str) -> None:
    del line


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own; its data sets are bundled or drawn."""
    monkeypatch.setenv("CDKIT_CACHE", str(tmp_path / "cache"))
    return cache_folder() / "made"


def counting(spec: Spec, kind: str, name: str, method: str, calls: list[Any]) -> Spec:
    """The same spec, whose part notes what it is asked."""
    real: Any = spec.registry.get(kind, name)

    def noted(self: Any, asked: Any, *more: Any) -> Any:
        calls.append(asked)
        return getattr(super(Counting, self), method)(asked, *more)

    Counting: Any = type("Counting", (real,), {method: noted, "__doc__": real.__doc__})
    registry = spec.registry.extended({(kind, name): Counting})
    parts = {key: replace(one, part=replace(one.part, registry=registry)) for key, one in spec.conditions.items()}
    eyes = spec.autoencoder and replace(spec.autoencoder, part=replace(spec.autoencoder.part, registry=registry))
    return replace(spec, conditions=parts, autoencoder=eyes, registry=registry)


def cached(spec: Spec) -> Spec:
    return replace(spec, train=replace(spec.train, cache=True))


def weights(run: Run) -> dict[str, bytes]:
    files = run.checkpoints.glob("step-*/*.safetensors")
    return {file.name: file.read_bytes() for file in files}


def losses(run: Run) -> list[float]:
    return list(losses_of(run.path).values())


def streams(folder: Path) -> list[Path]:
    return sorted(folder.glob("streams/*/*/*.safetensors"))


LABEL = (
    "conditions.text={use: label, dim: 8, column: label, trainable: false, names: [zero, one, two, three, four, five, six, "
    "seven, eight, nine]}"
)


@pytest.mark.parametrize("use", ["label", "bytes"])
def test_the_second_training_encodes_nothing_and_learns_the_same(tmp_path: Path, tiny: Tiny, folder: Path, use: str) -> None:
    """To the bit with an encoder whose answers depend on no neighbours; `bytes`, which multiplies matrices of a whole batch, is
    the same to rounding."""
    calls: list[Sequence[str]] = []
    spec = counting(tiny(*FROZEN, *([LABEL] if use == "label" else [])), "encoder", use, "forward", calls)
    plain = train(spec, tmp_path / "plain", say=quiet)
    said: list[str] = []
    first = train(cached(spec), tmp_path / "first", say=said.append)
    calls.clear()
    second = train(cached(spec), tmp_path / "second", say=quiet)
    examples = {"label": [["zero"], ["one"]], "bytes": [["a red cat"], ["a big dog"]]}
    assert calls == examples[use], "its two examples, by which it is known, and nothing of the data"
    assert weights(second) == weights(first)
    assert losses(first) == pytest.approx(losses(plain), rel=1e-5)
    assert use == "bytes" or weights(first) == weights(plain)
    assert f"streams of text: made once, and kept in {folder}" in said
    assert streams(folder)


def test_a_stream_is_what_the_encoder_gives_to_the_bit(tiny: Tiny, folder: Path) -> None:
    model = assemble(cached(tiny(*FROZEN))).train()
    prompts = ["seven", "a much longer caption", "seven", ""]
    plain = [model.encode({"text": [prompt]})["text"] for prompt in prompts]
    for _ in range(2):  # made, and read
        model = assemble(cached(tiny(*FROZEN))).train()
        remember(model, "", quiet)
        for prompt, stream in zip(prompts, plain, strict=True):
            found = model.encode({"text": [prompt]})["text"]
            assert all(torch.equal(getattr(found, form), getattr(stream, form)) for form in ("tokens", "mask", "pooled"))
        together = model.encode({"text": prompts})["text"]
        assert together.tokens is not None
        assert together.pooled is not None
        assert torch.equal(together.pooled, torch.cat([one.pooled for one in plain if one.pooled is not None]))
    assert len(streams(folder)) == 3


def test_other_weights_options_and_precision_have_files_of_their_own(tiny: Tiny, folder: Path) -> None:
    def made(*overrides: str) -> int:
        before = len(streams(folder))
        model = assemble(tiny(*FROZEN, *overrides)).train()
        remember(model, "", quiet)
        with torch.autocast("cpu", torch.bfloat16, enabled="half" in overrides):
            model.encode({"text": ["seven"]})
        return len(streams(folder)) - before

    assert [made(), made(), made("seed=1"), made("conditions.text.depth=2"), made("seed=1")] == [1, 0, 1, 1, 0]
    model = assemble(tiny(*FROZEN)).train()
    remember(model, "", quiet)
    before = len(streams(folder))
    with torch.autocast("cpu", torch.bfloat16):
        model.encode({"text": ["seven"]})
    assert len(streams(folder)) == before + 1


@pytest.mark.parametrize("harm", ["cut", "flipped", "another's", "emptied"])
def test_a_broken_file_is_named_and_made_again(tiny: Tiny, folder: Path, harm: str) -> None:
    def encoded(prompt: str, said: list[str]) -> Stream:
        model = assemble(tiny(*FROZEN)).train()
        remember(model, "", said.append)
        return model.encode({"text": [prompt]})["text"]

    whole = encoded("seven", [])
    path = streams(folder)[0]
    content = path.read_bytes()
    encoded("three", [])
    other = next(file for file in streams(folder) if file != path)
    path.write_bytes(
        {
            "cut": content[:-7],
            "flipped": content[:-1] + bytes([content[-1] ^ 1]),
            "another's": other.read_bytes(),
            "emptied": b"",
        }[harm]
    )
    said: list[str] = []
    again = encoded("seven", said)
    assert torch.equal(again.tokens, whole.tokens)  # pyright: ignore[reportArgumentType]
    assert [line for line in said if line.startswith(f"note: {path}: cannot be used (") and line.endswith("it is made again")]
    said.clear()
    encoded("seven", said)
    assert len(said) == 1, "where it is kept, and no complaint"


def test_pictures_are_encoded_once(tmp_path: Path, folder: Path) -> None:
    calls: list[Any] = []
    eyes = train(read_spec(LATENT, overrides=(*SMALL, "task=autoencoder", "train.steps=1")), tmp_path / "eyes", say=quiet)
    spec = read_spec(LATENT, overrides=(*SMALL, f"autoencoder.run={eyes.path}"))
    spec = counting(spec, "autoencoder", "tiny", "encode", calls)
    plain = train(spec, tmp_path / "plain", say=quiet)
    first = train(cached(spec), tmp_path / "first", say=quiet)
    calls.clear()
    second = train(cached(spec), tmp_path / "second", say=quiet)
    assert [call.shape[0] for call in calls] == [1], "the noise by which it is known"
    assert weights(second) == weights(first)
    assert losses(first) == pytest.approx(losses(plain), rel=1e-5), "a convolution of eight pictures rounds otherwise than of one"
    latents = list(folder.glob("latents/*/*/*.safetensors"))
    assert 0 < len(latents) <= 16
    more = cached(replace(spec, train=replace(spec.train, steps=1), data=replace(spec.data, options={"count": 17})))  # pyright: ignore[reportArgumentType,reportCallIssue]
    train(more, tmp_path / "more", say=quiet)
    assert len(list(folder.glob("latents/*"))) == 2, "another data set"


def test_pictures_that_are_varied_are_not_kept(tmp_path: Path) -> None:
    spec = read_spec(LATENT, overrides=SMALL)
    assert spec.data is not None
    real: Any = spec.data.factory()

    class Varied(real):
        def augment(self, example: Any, generator: torch.Generator) -> Any:
            return replace(example, image=example.image.flip(-1)) if torch.rand((), generator=generator) < 0.5 else example

    registry = spec.registry.extended({("dataset", "varied"): Varied})
    eyes = train(read_spec(LATENT, overrides=(*SMALL, "task=autoencoder", "train.steps=1")), tmp_path / "eyes", say=quiet)
    assert spec.autoencoder is not None
    spec = replace(
        spec,
        data=replace(spec.data, use="varied", registry=registry),
        registry=registry,
        autoencoder=replace(spec.autoencoder, run=str(eyes.path)),
    )
    plain = train(spec, tmp_path / "plain", say=quiet)
    said: list[str] = []
    for name in ("first", "second"):
        assert losses(train(cached(spec), tmp_path / name, say=said.append)) == pytest.approx(losses(plain), rel=1e-5)
    assert said.count("note: the data set varies its pictures at every step; latents of those are not kept") == 2


def test_a_cache_that_cannot_be_written_ends_nothing(tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CDKIT_CACHE", str(tmp_path / "file"))
    said: list[str] = []
    run = train(cached(tiny(*FROZEN)), tmp_path / "run", say=said.append)
    assert run.latest() is not None
    assert len([line for line in said if line.startswith("note: ") and "nothing more is kept here: Not a directory" in line]) == 1


def test_where_nothing_is_frozen_nothing_is_kept(tmp_path: Path, tiny: Tiny, folder: Path) -> None:
    said: list[str] = []
    train(cached(tiny("train.steps=1")), tmp_path / "run", say=said.append)
    assert "note: nothing is frozen here, so train.cache keeps nothing" in said
    assert not folder.exists()


def some(name: str) -> Made:
    return {"tokens": torch.full((1, 50, 64), float(int(name, 16) % 97)), "mask": torch.ones(1, 50, dtype=torch.bool)}


def many(folder: Path, wrong: Any) -> None:
    kept = Kept(folder, {"who": "me"}, lambda line: wrong.put(line))
    for number in range(40):
        name = f"{number * 7919:08x}"
        if digest_of(kept.get(name, lambda name=name: some(name))) != digest_of(some(name)):
            wrong.put(name)


def test_processes_share_a_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    wrong: Any = context.SimpleQueue()
    processes = [context.Process(target=many, args=(tmp_path / "made", wrong)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert wrong.empty()
    assert len(list((tmp_path / "made").rglob("*.safetensors"))) == 40
    assert not list((tmp_path / "made").rglob(".*"))
    assert json.loads(next((tmp_path / "made").rglob("maker.json")).read_text()) == {"who": "me"}


def test_a_value_is_named_by_all_that_it_is() -> None:
    values = [
        "1",
        1,
        1.0,
        True,
        None,
        b"1",
        ("1",),
        ["1"],
        ("1", "2"),
        ("12",),
        torch.ones(2),
        torch.ones(1, 2),
        (torch.ones(2), 3),
    ]
    names = [named(value) for value in values]
    assert None not in names
    assert len(set(names)) == len(values)
    assert named(object()) is None
    assert named(("a", object())) is None
