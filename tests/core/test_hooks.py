"""Every hook is documented with its arguments, and exercised: strangers give a part by each, and it is used."""

# ruff: noqa: E501  a table reads better whole

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import torch
from cdkit import hooks
from cdkit.cli.app import cdkit
from cdkit.hooks import Trial
from cdkit.parts import Foreign, Grid, SampleShape, Site, Stream, Widths
from cdkit.registry import Registry
from click.testing import CliRunner
from torch import nn

HOOKS = {
    name.removeprefix("cdkit_"): hook
    for name, hook in inspect.getmembers(hooks, inspect.isfunction)
    if name.removeprefix("cdkit_") in hooks.KINDS
}
DOCS = Path(__file__).parents[2] / "docs" / "parts.md"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """cdkit-strangers, which implements every hook in one module, installed for this module's tests."""
    folder = tmp_path_factory.mktemp("site")
    (home := folder / "cdkit_strangers-1.0.dist-info").mkdir()
    (home / "METADATA").write_text("Metadata-Version: 2.1\nName: cdkit-strangers\nVersion: 1.0\n")
    (home / "entry_points.txt").write_text("[cdkit]\n" + "".join(f"{kind}.strange = strangers_module\n" for kind in HOOKS))
    (folder / "strangers_module.py").write_text(SOURCE)
    sys.path.insert(0, str(folder))
    yield Registry.installed()
    sys.path.remove(str(folder))
    sys.modules.pop("strangers_module", None)


SOURCE = '''
from dataclasses import dataclass
from pathlib import Path
import click
import torch
from cdkit.hooks import Trial, hookimpl
from cdkit.parts import *
from torch import nn

class Letters(TextEncoder):
    """Each letter's code."""
    def __init__(self, *, dim: Positive = 4):
        super().__init__()
        self.widths, self.table = Widths(dim, dim), nn.Embedding(128, dim)
    def forward(self, raw):
        ids = torch.tensor([[ord(letter) % 128 for letter in text.ljust(12)[:12]] for text in raw])
        tokens = self.table(ids)
        return Stream(tokens, torch.ones(ids.shape, dtype=torch.bool), tokens.mean(1))
    def null(self, n):
        return self([""] * n)

class Shift(Tap):
    """h + project(pooled), zero at birth."""
    def __init__(self, channels, width):
        super().__init__()
        self.project = nn.Linear(width, channels)
        nn.init.zeros_(self.project.weight), nn.init.zeros_(self.project.bias)
    def prepare(self, *streams):
        return self.project(streams[0].pooled)
    def forward(self, h, signal, emb):
        return h + signal[..., None, None]

class Shifts:
    """A shift at every norm."""
    def __init__(self, streams: tuple[str, ...], widths: tuple[Widths, ...]):
        self.width = widths[0].pooled
    def tap(self, site):
        return Shift(site.width, self.width) if site.kind == "norm" else None

class Small(Backbone):
    """Two convolutions with a place between them."""
    def __init__(self, mount: Mount, sample: SampleShape, *, width: Positive = 4):
        super().__init__()
        self.first = nn.Conv2d(sample.channels, width, 3, padding=1)
        self.place = mount(Site("mid.norm", "norm", "map", width, 1, 4))
        self.last = nn.Conv2d(width, sample.channels, 3, padding=1)
    def forward(self, x, t, signals):
        emb = t[:, None].float().repeat(1, 4) / 1000
        h = self.place(self.first(x) + emb.mean(1)[:, None, None, None], signals, emb)
        return self.last(nn.functional.silu(h))

@dataclass(frozen=True)
class Straight:
    """Asks once."""
    def __call__(self, denoise, x, grid, generators):
        return denoise(x, 0)

class Told(Guider):
    """No guidance."""
    def branches(self, conditions, grid, index):
        return (frozenset(),)
    def combine(self, clean, grid, index):
        return clean[0]

@dataclass(frozen=True)
class Halved(Approximation):
    """One module of the network, and half of what it answers."""
    def detours(self, network, sample):
        return [Detour(network, lambda own, given, phase, kept: (own(*given) / 2, None))]

class Same(Autoencoder):
    """Pixels are latents."""
    factor, channels = 1, 3
    def encode(self, pixels, generator=None):
        return pixels
    def decode(self, latents):
        return latents

class Two(Dataset):
    """A dark and a light picture."""
    columns, shape = ("text",), SampleShape(1, 8, 8)
    def split(self, name):
        both = {"dark": -1.0, "light": 1.0}
        return [Example(f"{name}-{word}", torch.full((1, 8, 8), value), {"text": (word,)}) for word, value in both.items()]
    def fingerprint(self):
        return "2"

@dataclass(frozen=True)
class Counted(Metric):
    """How many pictures a data set has."""
    def __call__(self, examinee):
        return {"pictures": len(examinee.dataset.split("test"))}

@dataclass(frozen=True)
class Diary(Callback):
    """Writes the step at which a training ended."""
    file: str = "diary.txt"
    def ended(self, step):
        Path(self.file).write_text(str(step))

@click.command()
def hail():
    "Hails."
    click.echo("hail")

class Plain(Format):
    """A text file."""
    def recognises(self, source):
        return source.suffix == ".strange"
    def read(self, source, *, averaged=None, prediction=None, tokenizer=None):
        return Foreign({"name": source.stem}, {}, None, {})
    def write(self, model, target):
        target.write_text(model.spec["name"])
        return ()
''' + "".join(
    f"\n@hookimpl\ndef cdkit_{kind}():\n    return {made}\n"
    for kind, made in {
        "encoder": "Letters", "injector": "Shifts", "backbone": "Small", "sampler": "Straight", "guider": "Told", "approximation": "Halved", "autoencoder": "Same",
        "dataset": "Two", "metric": "Counted", "callback": "Diary", "command": "hail", "format": "Plain",
        "run": "Path(__file__).parent", "claim": "Path(__file__)", "trial": "Trial({'dim': 6}, exceptions={'null': 'it says so'})",
    }.items()
)  # fmt: skip


def use_encoder(made: Any) -> None:
    stream = made(dim=6)(["a", "b"])
    assert stream.tokens.shape == (2, 12, 6)
    assert not torch.equal(stream.pooled[0], stream.pooled[1])


def use_injector(made: Any) -> None:
    injector = made(("text",), (Widths(0, 5),))
    assert injector.tap(Site("a", "attend", "tokens", 3, 1, 4)) is None
    tap = injector.tap(Site("n", "norm", "map", 3, 1, 4))
    nn.init.ones_(tap.project.weight)
    told = tap(torch.zeros(1, 3, 2, 2), tap.prepare(Stream(pooled=torch.ones(1, 5))), torch.zeros(1, 4))
    assert torch.equal(told, torch.full((1, 3, 2, 2), 5.0))


def use_backbone(made: Any) -> None:
    class Slot(nn.Module):
        def forward(self, h: torch.Tensor, signals: Any, emb: torch.Tensor) -> torch.Tensor:
            del signals, emb
            return h

    sites: list[Site] = []
    network = made(lambda site: sites.append(site) or Slot(), SampleShape(1, 8, 8))
    assert network(torch.zeros(2, 1, 8, 8), torch.zeros(2), {}).shape == (2, 1, 8, 8)
    assert [site.name for site in sites] == ["mid.norm"]


def use_sampler(made: Any) -> None:
    grid = Grid(torch.tensor([900.0, 0]), torch.tensor([0.1, 1]), torch.tensor([1.0, 0]))
    assert made()(lambda x, i: x * 0 + i, torch.ones(1, 1, 2, 2), grid, []).sum() == 0


def use_guider(made: Any) -> None:
    assert made().branches(("text",), None, 0) == (frozenset(),)
    assert made().combine([torch.ones(1)], None, 0) == 1


def use_approximation(made: Any) -> None:
    (detour,) = made().detours(nn.Identity(), SampleShape(1, 2, 2))
    assert detour.around(detour.module.forward, (torch.ones(1),), made().phase(0, 1), None) == (0.5, None)


def use_autoencoder(made: Any) -> None:
    pixels = torch.rand(1, 3, 4, 4)
    assert made().loss(pixels, pixels) == 0


def use_dataset(made: Any) -> None:
    assert [example.values["text"] for example in made().split("test")] == [("dark",), ("light",)]


def use_metric(made: Any) -> None:
    class Examined:
        dataset = Registry.installed().get("dataset", "strange")()

    assert made()(Examined()) == {"pictures": 2}


def use_callback(made: Any, tmp_path: Path) -> None:
    made(file=str(tmp_path / "d")).ended(7)
    assert (tmp_path / "d").read_text() == "7"


def use_command(made: Any) -> None:
    assert isinstance(made, click.Command)
    assert CliRunner().invoke(cdkit, ["strange"]).output == "hail\n"


def use_format(made: Any, tmp_path: Path) -> None:
    file = tmp_path / "x.strange"
    assert made().write(Foreign({"name": "x"}, {}, None, {}), file) == ()
    assert made().recognises(file)
    assert made().read(file).spec == {"name": "x"}


def use_run(made: Any) -> None:
    assert (made / "strangers_module.py").is_file()


def use_claim(made: Any) -> None:
    assert made.is_file()


USES: dict[str, Callable[..., None]] = {
    name.removeprefix("use_"): use for name, use in globals().copy().items() if name.startswith("use_")
}


@pytest.mark.parametrize("kind", HOOKS)
def test_hook_is_documented_with_its_arguments(kind: str) -> None:
    hook = HOOKS[kind]
    arguments = list(inspect.signature(hook).parameters)
    said = inspect.getdoc(hook) or ""
    assert said, f"cdkit_{kind} has no docstring"
    assert f"`{kind}.NAME`" in said, "how an entry point names it"
    assert all(f"{name}:" in said for name in arguments) if arguments else "Takes nothing." in said
    assert f"| `cdkit_{kind}` | `{kind}.NAME` |" in DOCS.read_text(encoding="utf-8")


def test_no_hook_but_the_trial_stands_beside_those_of_the_kinds(registry: Registry) -> None:
    beside = {name for name, _ in inspect.getmembers(hooks, inspect.isfunction) if name.startswith("cdkit_")}
    assert beside - {f"cdkit_{kind}" for kind in HOOKS} == {"cdkit_trial"}
    assert "`cdkit_trial`" in DOCS.read_text(encoding="utf-8")
    assert registry.trial("sampler", "strange") == Trial({"dim": 6}, exceptions={"null": "it says so"})
    assert registry.trial("sampler", "ddim") == Trial()


@pytest.mark.parametrize("kind", HOOKS)
def test_hook_is_exercised(kind: str, registry: Registry, tmp_path: Path) -> None:
    """A new hook fails here until a stranger gives a part by it and `use_KIND` uses it."""
    assert kind in USES, f"write use_{kind}, and give the strangers a part"
    made = registry.get(kind, "strange")
    assert registry.provider(kind, "strange") == "cdkit-strangers==1.0"
    USES[kind](*((made, tmp_path) if "tmp_path" in inspect.signature(USES[kind]).parameters else (made,)))


def test_the_parts_of_strangers_make_a_model(registry: Registry, tmp_path: Path) -> None:
    """Named in a spec they are built, told something, trained for two steps, heard of by the callback, and scored."""
    del registry
    (file := tmp_path / "strange.yaml").write_text(
        "cdkit: 1\nname: strange\nsample: {channels: 1, height: 8, width: 8}\nconditions:\n  text: {use: strange}\n"
        "injectors:\n  - {use: strange, streams: [text]}\nbackbone: {use: strange}\nguidance: {use: strange}\n"
        f"sampler: {{use: strange, steps: 2}}\ndata: {{use: strange}}\ncallbacks:\n  - {{use: strange, file: {tmp_path}/diary}}\n"
        "evaluate:\n  - {use: strange}\ntrain: {steps: 2, batch: 2}\n"
    )
    built = CliRunner().invoke(cdkit, ["build", str(file)])
    assert "reaches the output through strange" in built.output, built.output
    run = str(tmp_path / "run")
    trained = CliRunner().invoke(cdkit, ["train", str(file), "--out", run, "--device", "cpu"], catch_exceptions=False)
    assert trained.exit_code == 0, trained.output
    assert (tmp_path / "diary").read_text() == "2"
    scored = CliRunner().invoke(cdkit, ["evaluate", run], catch_exceptions=False)
    assert "pictures" in scored.output
