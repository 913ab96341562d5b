"""A right spec becomes a Spec: values by their hints, defaults, places, providers; and the file it is read from."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from cdkit.errors import PluginError, UsageError
from cdkit.registry import Registry
from cdkit.spec import BrokenParts, Place, Spec, SpecErrors, read_spec
from cdkit.spec.options import REQUIRED, options_of
from cdkit.spec.sections import LoraSection
from cdkit.spec.source import SIZE, file_text

Read = Callable[..., Spec]
Parts = Mapping[tuple[str, str], Callable[..., object]]


def test_a_spec_holds_what_it_says_and_every_default(read: Read, good: str, tmp_path: Path) -> None:
    spec = read(good)
    assert (spec.name, spec.seed, spec.sample.channels, spec.sample.height, spec.sample.width) == ("good", 7, 1, 8, 8)
    assert spec.backbone.options == {
        "width": 64, "mult": (1, 2, 4), "depth": 1, "heads": None, "dropout": 0.0, "wide": False, "groups": 32
    }  # fmt: skip
    assert spec.backbone.place == Place(str(tmp_path / "s.yaml"), 15, 11)
    assert {name: str(place)[-5:] for name, place in spec.backbone.places.items()} == {"width": "15:22", "mult": "15:33"}
    assert (spec.backbone.provider, spec.backbone.factory().__name__) == ("in-memory", "Net")
    assert (spec.sampler.steps, spec.sampler.spacing, spec.sampler.part.options) == (
        20,
        "trailing",
        {"eta": 0.5, "orders": [1, 2]},
    )
    assert (spec.train.steps, spec.train.lr, spec.train.batch, spec.train.betas) == (100, 1e-4, 32, (0.9, 0.999))
    assert spec.diffusion["schedule"] == "cosine"
    assert spec.diffusion["steps"] == 1000
    assert spec.autoencoder is None
    assert spec.places["diffusion"].line == 16


def test_conditions_have_columns_dropout_and_trainability(read: Read, good: str) -> None:
    text, label = read(good).conditions.values()
    assert (text.name, text.column, text.dropout, text.trainable, text.of) == ("text", "text", 0.1, False, ())
    assert (label.name, label.column, label.dropout, label.trainable) == ("label", "label", 0.1, True)
    written = read(good.replace("dim: 16", "column: text.en, dropout: 0, trainable: true")).conditions["text"]
    assert (written.column, written.dropout, written.trainable) == ("text.en", 0.0, True)


def test_a_text_encoder_reads_text_whatever_the_conditions_name(read: Read, good: str) -> None:
    spec = read(good.replace("  text: {", "  caption: {").replace("[text", "[caption"))
    assert (spec.conditions["caption"].column, spec.conditions["label"].column) == ("text", "label")


def test_a_joiner_reads_conditions_and_counts_as_a_reader(read: Read, good: str) -> None:
    spec = read(
        good.replace("injectors:", "  both: {use: join, of: [text, label]}\ninjectors:").replace("[text, label]\n", "[both]\n")
    )
    both = spec.conditions["both"]
    assert (both.of, both.column, both.trainable, both.part.options) == (("text", "label"), "", None, {"axis": "tokens"})
    assert (both.name, both.dropout) == ("both", 0.0)


def test_injectors_are_named_by_use_unless_they_say(read: Read, good: str) -> None:
    film, add = read(good).injectors
    assert (film.name, film.streams, film.sites, film.part.options) == ("film", ("text",), ("*",), {"heads": 2, "gate": None})
    assert (add.name, add.streams, add.sites) == ("add", ("text", "label"), ("down.*", "mid"))
    twice = read(good.replace("use: add\n", "use: film\n    name: second\n"))
    assert [injector.name for injector in twice.injectors] == ["film", "second"]


class Bell:
    def __init__(self, *, every: int = 3) -> None: ...


class Pair:
    def __init__(self, *, pair: tuple[int, str] = (1, "a"), more: list[int | str] | None = None) -> None: ...


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("pair: [x, a]", "<text>:24:24: evaluate.0.pair.0: 'x' is text; expected an integer"),
        ("pair: [1, 2]", "<text>:24:27: evaluate.0.pair.1: 2 is an integer; expected text"),
        ("pair: [1, a, b]", "<text>:24:23: evaluate.0.pair: a list of 3; expected a list of 2: an integer, text"),
        ("more: [1, a, 2.5]", "<text>:24:30: evaluate.0.more.2: 2.5 is a number; expected an integer or text"),
    ],
)
def test_each_place_of_a_list_has_its_own_type(good: str, registry: Registry, written: str, line: str) -> None:
    text = good.replace("{use: score}", f"{{use: pair, {written}}}")
    with pytest.raises(SpecErrors) as caught:
        read_spec(text, registry=registry.extended({("metric", "pair"): Pair}))
    assert [str(problem) for problem in caught.value.problems] == [line]


def test_callbacks_and_a_lora_are_read(good: str, registry: Registry) -> None:
    spec = read_spec(
        f"{good}callbacks:\n  - {{use: bell}}\nlora: {{rank: 4}}\n", registry=registry.extended({("callback", "bell"): Bell})
    )
    assert [(part.kind, part.use, part.options) for part in spec.callbacks] == [("callback", "bell", {"every": 3})]
    assert spec.lora == LoraSection(rank=4)
    assert read_spec(good, registry=registry).lora is None


def test_a_spec_can_be_text_and_nothing_else_is_expanded(good: str, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/root")
    spec = read_spec(good.replace("dim: 16", "model: '${HOME}/~/$(id)'"), registry=registry)
    assert spec.conditions["text"].part.options["model"] == "${HOME}/~/$(id)"
    with pytest.raises(SpecErrors, match=r"<text>:2:7: name: 5 is an integer"):
        read_spec(good.replace("name: good", "name: 5"), registry=registry)


def test_the_smallest_spec_is_unconditional(read: Read) -> None:
    spec = read("cdkit: 1\nname: bare\nsample: {channels: 1, height: 8, width: 8}\nbackbone: {use: net}\n")
    assert (spec.conditions, spec.injectors, spec.sampler, spec.guidance, spec.evaluate) == ({}, [], None, None, [])
    assert spec.diffusion["prediction"] == "v"


def test_sections_that_are_null_are_not_there(read: Read, good: str) -> None:
    spec = read(
        good.replace("guidance: {use: cfg, scale: 2.5}", "guidance: null").replace(
            "sampler: {use: ddim, eta: 0.5, steps: 20}", "sampler:"
        )
    )
    assert (spec.guidance, spec.sampler) == (None, None)


def test_options_that_exclude_each_other_in_the_process_are_refused_in_place(read: Read, good: str) -> None:
    with pytest.raises(SpecErrors, match=r"s\.yaml:16:12: diffusion: .*epsilon"):
        read(good.replace("prediction: v", "prediction: epsilon, zero_terminal_snr: true"))


# --------------------------------------------------------------------------- the file


def test_a_spec_that_is_not_there_names_those_that_are(tmp_path: Path, good: str) -> None:
    (tmp_path / "animals.yaml").write_text(good)
    with pytest.raises(UsageError) as caught:
        read_spec(tmp_path / "animal.yaml")
    assert str(caught.value) == f"there is no spec {tmp_path / 'animal.yaml'}"
    assert caught.value.hint == f"did you mean {tmp_path / 'animals.yaml'}?"
    with pytest.raises(UsageError) as caught:
        read_spec(str(tmp_path / "zzz"))
    assert caught.value.hint == f"in {tmp_path} there are animals.yaml"


def test_twelve_of_many_specs_are_named_and_nothing_else_that_lies_there(tmp_path: Path) -> None:
    for number in range(13):
        (tmp_path / f"s{number:02d}.yaml").touch()
    (tmp_path / "a.yaml").mkdir()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UsageError) as caught:
        read_spec(tmp_path / "another.yaml")
    assert caught.value.hint == f"in {tmp_path} there are {', '.join(f's{number:02d}.yaml' for number in range(12))}"
    with pytest.raises(UsageError) as caught:
        read_spec(tmp_path)
    assert caught.value.hint.startswith(f"in {tmp_path} there are s00.yaml, ")
    with pytest.raises(UsageError) as caught:
        read_spec(tmp_path / "nowhere" / "s.yaml")
    assert (str(caught.value), caught.value.hint) == (f"there is no spec {tmp_path / 'nowhere' / 's.yaml'}", "")


def test_a_spec_of_a_mebibyte_is_read(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(b"#" * SIZE)
    assert len(file_text(path)) == SIZE
    path.write_bytes(b"#" * (SIZE + 1))
    with pytest.raises(SpecErrors, match="larger than 1 MiB; expected a spec"):
        file_text(path)


def test_nothing_stays_open_of_what_is_refused(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    for path in (tmp_path, tmp_path / "none.yaml"):
        with pytest.raises(UsageError):
            read_spec(path)
    assert os.listdir("/proc/self/fd") == before


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for path, kind in [(tmp_path, "folder"), (tmp_path / "pipe.yaml", "pipe"), (Path("/dev/zero"), "device")]:
        with pytest.raises(UsageError, match=f"is a {kind}; expected a YAML file") as caught:
            read_spec(path)
        assert caught.value.exit_code == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_spec_says_why(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("cdkit: 1\n")
    path.chmod(0)
    with pytest.raises(UsageError, match="cannot be read: Permission denied"):
        read_spec(path)


@pytest.mark.parametrize("path", ["a\0b.yaml", "x" * 5000, "s.yaml/inner.yaml"])
def test_impossible_paths_are_usage_errors(tmp_path: Path, path: str) -> None:
    (tmp_path / "s.yaml").write_text("cdkit: 1\n")
    with pytest.raises(UsageError, match="cannot be read"):
        read_spec(tmp_path / path)


# --------------------------------------------------------------------------- plugins


def test_a_broken_plugin_is_quoted_at_the_line_that_names_it(
    tmp_path: Path, good: str, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "cdkit_sick-0.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cdkit-sick\nVersion: 0.2\n")
    (info / "entry_points.txt").write_text("[cdkit]\nsampler.sick = sick_for_a_spec\n")
    (tmp_path / "sick_for_a_spec.py").write_text("import sys\nsys.exit(3)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    sick = Registry.installed().extended(parts)
    with pytest.raises(SpecErrors) as caught:
        read_spec(good.replace("use: ddim", "use: sick").replace("use: net", "use: nett"), registry=sick)
    assert not isinstance(caught.value, BrokenParts), "the unknown backbone is the spec's own mistake"
    with pytest.raises(PluginError) as broken:
        read_spec(good.replace("use: ddim", "use: sick"), registry=sick)
    assert isinstance(broken.value, BrokenParts)
    assert broken.value.exit_code == 4
    assert str(broken.value).startswith(
        "<text>:18:16: sampler.use: sampler 'sick' cannot be used: cdkit-sick 0.2, entry point sampler.sick = sick_for_a_spec: "
        f"it called sys.exit(3) while it was being imported ({tmp_path / 'sick_for_a_spec.py'}:2)"
    )


class Unheard: ...


def no_hint(streams, widths, *, heads=4): ...


def unholdable(streams: object, widths: object, *, device: Unheard) -> None: ...


def lost(streams: object, widths: object, *, size: Nowhere = 3) -> None: ...  # noqa: F821  the point of the test


def clash(streams: object, widths: object, *, sites: int = 3) -> None: ...


@pytest.mark.parametrize(
    ("factory", "why"),
    [
        (no_hint, "the option 'heads' has no type hint; expected one, since hints are the schema"),
        (unholdable, "an option has a type hint that no spec can hold: Unable to generate pydantic-core schema for <class '"),
        (lost, "a type hint of its options cannot be read: name 'Nowhere' is not defined"),
        (clash, "its option 'sites' is a key that core reads for every injector; expected another name"),
    ],
)
def test_a_part_that_cannot_be_described_is_a_plugins_fault(
    good: str, registry: Registry, factory: Callable[..., object], why: str
) -> None:
    with pytest.raises(BrokenParts) as caught:
        read_spec(good.replace("use: film", "use: odd"), registry=registry.extended({("injector", "odd"): factory}))
    assert f"<text>:11:11: injectors.0.use: injector 'odd' of in-memory cannot be used: {why}" in str(caught.value)


@pytest.mark.parametrize("factory", [no_hint, Unheard])
def test_an_encoder_that_is_none_is_a_plugins_fault(good: str, registry: Registry, factory: Callable[..., object]) -> None:
    """A part in memory is held to nothing before a spec names it."""
    with pytest.raises(
        BrokenParts, match=r"encoder 'odd' of in-memory cannot be used: it is no subclass of Encoder or Joiner of cdkit\.parts"
    ):
        read_spec(good.replace("use: words, dim: 16", "use: odd"), registry=registry.extended({("encoder", "odd"): factory}))


def injector(streams: object, widths: object, heads: int = 3, *, gate: float = 0.5) -> None: ...


def backbone(mount: object, sample: object, width: int = 3) -> None: ...


def joiner(widths: object, axis: str = "tokens") -> None: ...


def encoder(dim: int, *, sample: object, **more: object) -> None: ...


@pytest.mark.parametrize(
    ("role", "factory", "options"),
    [
        ("injector", injector, {"heads": 3, "gate": 0.5}),
        ("backbone", backbone, {"width": 3}),
        ("joiner", joiner, {"axis": "tokens"}),
        ("encoder", encoder, {"dim": REQUIRED}),
        ("metric", backbone, None),
    ],
)
def test_what_core_supplies_is_no_option(role: str, factory: Callable[..., object], options: Mapping[str, object] | None) -> None:
    assert {option.name: option.default for option in options_of(factory, role).values()} == (
        options or {"mount": REQUIRED, "sample": REQUIRED, "width": 3}
    )
    assert not any(option.core for option in options_of(factory, role).values())


def test_a_spec_can_be_changed_like_any_dataclass(read: Read, good: str) -> None:
    spec = read(good)
    changed = replace(spec, backbone=replace(spec.backbone, options={**spec.backbone.options, "width": 16}))
    assert changed.filled()["backbone"]["width"] == 16
    assert changed.backbone.factory() is spec.backbone.factory()


def test_refusing_a_file_needs_neither_torch_nor_pydantic(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("a: [1\n")
    code = (
        "import sys\nfrom cdkit.spec import read_spec\n"
        "try: read_spec('s.yaml')\nexcept ValueError as error: print(error)\n"
        "print([name for name in ('torch', 'pydantic', 'numpy') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
