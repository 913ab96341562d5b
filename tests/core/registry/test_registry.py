"""Names come from metadata; a plugin is imported when it is named, alone, and whatever it does stays its own affair."""

# ruff: noqa: E501  a table reads better whole

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cdkit.errors import PluginError
from cdkit.hooks import KINDS
from cdkit.registry import BrokenPlugin, Registry, UnknownPart
from cdkit.registry.frames import innermost
from cdkit.registry.metadata import Doors
from cdkit.registry.record import Entry, Record, Status
from cdkit.version import VERSION

Distribution = Callable[..., Path]
SAMPLER = """
from dataclasses import dataclass
from cdkit.hooks import hookimpl

@dataclass(frozen=True)
class Mine:
    eta: float = 0.0

    def __call__(self, denoise, x, grid, generators):
        return x

@hookimpl
def cdkit_sampler():
    return Mine
"""


def test_our_own_parts_are_found_without_being_imported() -> None:
    before = {name for name in sys.modules if name.startswith("cdkit_")}
    registry = Registry.installed()
    assert "unet" in registry.names("backbone")
    assert "cross_attention" in registry.names("injector")
    assert registry.provider("backbone", "unet").startswith("cdkit==")
    assert {name for name in sys.modules if name.startswith("cdkit_")} == before


def test_a_plugin_is_imported_when_it_is_named_and_no_other(distribution: Distribution) -> None:
    entries = {"sampler.first_one": "first_one", "sampler.second_one": "second_one"}
    distribution("cdkit-two", entries, first_one=SAMPLER, second_one=SAMPLER)
    registry = Registry.installed()
    assert {"first_one", "second_one"} <= set(registry.names("sampler"))
    assert "first_one" not in sys.modules
    assert registry.get("sampler", "first_one")().eta == 0.0
    assert "first_one" in sys.modules
    assert "second_one" not in sys.modules
    assert registry.get("sampler", "first_one") is registry.get("sampler", "cdkit-two/first_one")


def test_an_object_in_a_module_is_a_plugin_too(distribution: Distribution) -> None:
    source = SAMPLER + "\nclass Other:\n    @hookimpl\n    def cdkit_sampler(self):\n        return Mine\n\nother = Other()\n"
    distribution("cdkit-object", {"sampler.of_object": "of_object:other"}, of_object=source)
    assert Registry.installed().get("sampler", "of_object").__name__ == "Mine"


def test_a_record_says_what_became_of_an_entry_point(distribution: Distribution) -> None:
    distribution("CDKit_Told", {"sampler.told": "told_module"}, version="0.3", told_module=SAMPLER)
    registry = Registry.installed()
    assert registry.record("sampler", "told").status == "installed"
    registry.get("sampler", "told")
    row = registry.record("sampler", "told").to_json()
    assert (row["distribution"], row["version"], row["module"], row["status"]) == ("cdkit-told", "0.3", "told_module", "loaded")
    assert row["milliseconds"] > 0


@pytest.mark.parametrize(
    ("source", "error", "line"),
    [
        (
            "import cdkit.hooks\nimport there_is_no_such_module\n",
            "ModuleNotFoundError: No module named 'there_is_no_such_module'",
            2,
        ),
        ("x = 1\ny = (\n", "SyntaxError: '(' was never closed", 2),
        ("import sys\nsys.exit(0)\n", "it called sys.exit(0) while it was being imported", 2),
        ("raise RuntimeError('no\\nluck')\n", "RuntimeError: no luck", 1),
        ("class Odd(BaseException): pass\nraise Odd('odd')\n", "Odd: odd", 2),
        ("def f():\n    return 1 / 0\nf()\n", "ZeroDivisionError: division by zero", 2),
        ("x = 1\n", "it does not implement cdkit_sampler", None),
        (SAMPLER.replace("cdkit_sampler", "cdkit_samplr"), "unknown hook 'cdkit_samplr'; the hooks are cdkit_encoder, ", None),
        (SAMPLER.replace("cdkit_sampler", "cdkit_samplr"), "did you mean 'cdkit_sampler'?", None),
        (SAMPLER.replace("cdkit_sampler", "cdkit_guider"), "it does not implement cdkit_sampler, only cdkit_guider", None),
        (
            SAMPLER.replace("cdkit_sampler()", "cdkit_sampler(config)"),
            "Argument(s) {'config'} are declared in the hookimpl",
            None,
        ),
        (SAMPLER.replace("return Mine", "return 3"), "cdkit_sampler returned 3; expected a class or a function", None),
        (SAMPLER.replace("return Mine", "return None"), "cdkit_sampler returned None; expected the part", None),
        (SAMPLER.replace("__call__", "call"), "Mine does not define __call__, which every sampler must", None),
        ("cdkit_api = 2\n" + SAMPLER, "the plugin needs API 2, cdkit has 1", None),
    ],
)
def test_a_plugin_that_fails_is_set_aside_and_quoted(
    distribution: Distribution, source: str, error: str, line: int | None
) -> None:
    folder = distribution("cdkit-sick", {"sampler.sick": "sick_module", "sampler.well": "well_module"}, version="0.2",
                          sick_module=source, well_module=SAMPLER)  # fmt: skip
    registry = Registry.installed()
    for _ in range(2):
        with pytest.raises(BrokenPlugin) as caught:
            registry.get("sampler", "sick")
        said = str(caught.value)
        assert said.startswith("sampler 'sick' cannot be used: cdkit-sick 0.2, entry point sampler.sick = sick_module: ")
        assert error in said
        assert line is None or said.endswith(f"({folder / 'sick_module.py'}:{line})")
        assert caught.value.exit_code == 4
    record = registry.record("sampler", "sick")
    assert record.status == ("incompatible" if "cdkit_api" in source else "failed")
    assert "Traceback" in record.trace or "SyntaxError" in record.trace
    assert registry.get("sampler", "well")


def test_ctrl_c_during_an_import_is_not_swallowed(distribution: Distribution) -> None:
    distribution("cdkit-stop", {"sampler.stop": "stop_module"}, stop_module="raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        Registry.installed().get("sampler", "stop")


def test_what_a_plugin_prints_goes_to_stderr(distribution: Distribution, capsys: pytest.CaptureFixture[str]) -> None:
    distribution("cdkit-loud", {"sampler.loud": "loud_module"}, loud_module="print('hello')\n" + SAMPLER)
    Registry.installed().get("sampler", "loud")
    out = capsys.readouterr()
    assert (out.out, out.err) == ("", "[cdkit-loud 1.0] hello\n")


@pytest.mark.parametrize(
    ("kind", "body", "error"),
    [
        ("encoder", "class P(parts.Guider): pass", "P is no encoder; expected a subclass of Encoder or Joiner of cdkit.parts"),
        ("encoder", "class P(parts.TextEncoder): pass", "P does not define forward, which every encoder must"),
        ("backbone", "class P: pass", "P is no backbone; expected a subclass of Backbone of cdkit.parts"),
        ("injector", "class P: pass", "P does not define tap, which every injector must"),
        ("run", "P = 'runs/x'", "cdkit_run returned 'runs/x'; expected a pathlib.Path"),
        ("claim", "P = 'x.yaml'", "cdkit_claim returned 'x.yaml'; expected a pathlib.Path"),
    ],
)
def test_a_part_of_the_wrong_shape_is_named(distribution: Distribution, kind: str, body: str, error: str) -> None:
    source = f"from cdkit import parts\nfrom cdkit.hooks import hookimpl\n{body}\n@hookimpl\ndef cdkit_{kind}():\n    return P\n"
    distribution("cdkit-shape", {f"{kind}.misshapen": "misshapen"}, misshapen=source)
    with pytest.raises(BrokenPlugin) as caught:
        Registry.installed().get(kind, "misshapen")
    assert f"entry point {kind}.misshapen = misshapen: {error}" in str(caught.value)


def test_a_joiner_may_name_the_streams_that_it_takes(distribution: Distribution) -> None:
    """The interface takes any number of them; one that joins two takes two."""
    source = "from cdkit import parts\nfrom cdkit.hooks import hookimpl\nclass P(parts.Joiner):\n    def forward(self, one, two, three): ...\n@hookimpl\ndef cdkit_encoder():\n    return P\n"
    distribution("cdkit-joins", {"encoder.joins": "joins_module"}, joins_module=source)
    assert Registry.installed().get("encoder", "joins").__name__ == "P"


@pytest.mark.parametrize(
    ("admitted", "barred", "dist", "refusal"),
    [
        (None, (), "x", ""),
        ((), (), "x", "CDKIT_PLUGINS admits no plugin"),
        (("b", "a"), (), "x", "CDKIT_PLUGINS admits a, b"),
        (("x",), (), "x", ""),
        (("x",), ("y", "x"), "x", "CDKIT_NO_PLUGIN bars x, y"),
        ((), ("cdkit",), "cdkit", ""),
    ],
)
def test_who_is_let_in(admitted: tuple[str, ...] | None, barred: tuple[str, ...], dist: str, refusal: str) -> None:
    doors = Doors(None if admitted is None else frozenset(admitted), frozenset(barred))
    assert doors.refusal(dist) == refusal


@pytest.mark.parametrize(
    ("kind", "name", "value", "line"),
    [
        ("sampler", "mine", "mine_module:plugin", "sampler.mine = mine_module:plugin"),
        ("sampler", "", "m", "sampler. = m"),
        ("", "mine", "m", ".mine = m"),
        ("", "", "", "entry_points.txt"),
        ("sampler", "a" * 300, "m", f"sampler.{'a' * 191}…"),
    ],
)
def test_an_entry_point_is_shown_as_its_author_wrote_it(kind: str, name: str, value: str, line: str) -> None:
    assert Entry(kind, name, "cdkit-mine", "1.0", value).line == line


@pytest.mark.parametrize(
    ("status", "fault"),
    [("installed", False), ("loaded", False), ("shut out", False), ("failed", True), ("incompatible", True), ("refused", True)],
)
def test_what_its_user_shut_out_is_no_fault_of_a_plugin(status: Status, fault: bool) -> None:
    assert Record(Entry("sampler", "mine", "cdkit-mine", "1.0", "m"), status).at_fault is fault


def test_a_record_in_json_says_null_for_what_is_not_known() -> None:
    entry = Entry("sampler", "mine", "cdkit-mine", "1.0", "m")
    known = {"kind": "sampler", "name": "mine", "distribution": "cdkit-mine", "version": "1.0", "module": "m"}
    nothing = dict.fromkeys(("milliseconds", "error", "where", "mend", "traceback"))
    assert Record(entry, "installed").to_json() == {**known, "status": "installed", **nothing}
    said = {"milliseconds": 2.5, "error": "OSError", "where": "m.py:1", "mend": "update it", "traceback": "Traceback"}
    assert Record(entry, "failed", 2.5, "OSError", "m.py:1", "Traceback", "update it").to_json() == {
        **known,
        "status": "failed",
        **said,
    }


@pytest.mark.parametrize(
    ("stack", "place"),
    [
        (["/lib/runpy.py:1", "/x/mine/a.py:2", "/x/mine/b.py:3", "/lib/json.py:4"], "/x/mine/b.py:3"),
        (["/x/mine.py:5", "/x/mines.py:6", "/x/minefield/a.py:7"], "/x/mine.py:5"),
        (["/lib/json.py:4"], ""),
        ([], ""),
    ],
)
def test_the_last_frame_of_a_plugins_own_is_told(stack: list[str], place: str) -> None:
    assert innermost(stack, Entry("sampler", "mine", "cdkit-mine", "1.0", "mine.parts:plugin")) == place


def test_two_distributions_of_one_name_are_both_reached_by_their_full_names(distribution: Distribution) -> None:
    distribution("cdkit-a", {"sampler.shared": "shared_a"}, shared_a=SAMPLER)
    distribution("cdkit-b", {"sampler.shared": "shared_b"}, version="2.0", shared_b=SAMPLER)
    registry = Registry.installed()
    with pytest.raises(UnknownPart) as caught:
        registry.get("sampler", "shared")
    assert str(caught.value) == "sampler 'shared' is offered by cdkit-a==1.0 and cdkit-b==2.0, so the name alone says neither"
    assert caught.value.hint == "write `cdkit-a/shared` or `cdkit-b/shared`"
    assert registry.get("sampler", "cdkit-a/shared").__module__ == "shared_a"
    assert registry.get("sampler", "cdkit-b/shared").__module__ == "shared_b"
    assert registry.provider("sampler", "cdkit-b/shared") == "cdkit-b==2.0"
    assert {"cdkit-a/shared", "cdkit-b/shared"} <= set(registry.names("sampler"))
    assert "shared" not in registry.names("sampler")


def test_nobody_takes_the_name_of_our_own_parts(distribution: Distribution) -> None:
    distribution("cdkit-thief", {"backbone.unet": "thief"}, thief="raise SystemExit\n")
    registry = Registry.installed()
    assert registry.get("backbone", "unet").__name__ == "UNet", "what is installed changes no spec's meaning"
    assert registry.get("backbone", "cdkit/unet") is registry.get("backbone", "unet")
    assert {"unet", "cdkit-thief/unet"} <= set(registry.names("backbone"))
    with pytest.raises(BrokenPlugin, match=r"it called sys\.exit"):
        registry.get("backbone", "cdkit-thief/unet")


def test_a_note_says_how_a_part_is_reached_that_has_no_name_to_itself(distribution: Distribution) -> None:
    distribution("cdkit-a", {"sampler.shared": "shared_a", "backbone.unet": "unet_a", "sampler.alone": "alone_a"})
    distribution("cdkit-b", {"sampler.shared": "shared_b"})
    registry = Registry.installed()

    def notes() -> dict[str, str]:
        return {record.entry.value: registry.note(record.entry) for record in registry.records()}

    found = notes()
    assert found["shared_a"] == "as `cdkit-a/shared`, since cdkit-b==1.0 has the name too"
    assert found["shared_b"] == "as `cdkit-b/shared`, since cdkit-a==1.0 has the name too"
    assert found["unet_a"] == f"as `cdkit-a/unet`, since cdkit=={VERSION} has the name too"
    assert {registry.note(record.entry) for record in registry.records() if record.entry.dist == "cdkit"} == {""}
    assert found["alone_a"] == ""
    distribution("cdkit-c", {"sampler.shared": "shared_c"})
    distribution("cdkit-d", {"sampler.shared": "shared_d"}, metadata="Requires-Dist: cdkit<0.0.1\n")
    registry = Registry.installed()
    assert notes()["shared_c"] == "as `cdkit-c/shared`, since cdkit-a==1.0 and cdkit-b==1.0 have the name too"
    assert notes()["shared_d"] == "", "nobody reaches what cannot be used"


def test_parts_are_our_own_or_not(distribution: Distribution) -> None:
    distribution("cdkit-other", {"sampler.other": "other_module"})
    registry = Registry.installed()
    assert registry.own("sampler", "ddim") is True
    assert registry.own("sampler", "other") is False
    assert registry.extended({("sampler", "ddim"): dict}).own("sampler", "ddim") is False


def test_an_entry_point_listed_twice_is_one(distribution: Distribution) -> None:
    distribution("cdkit-twice", {"sampler.twice": "twice_module"}, twice_module=SAMPLER)
    again = distribution("cdkit-other", {}) / "cdkit_twice-1.0.dist-info" / "entry_points.txt"
    again.write_text(again.read_text() + "sampler.twice = twice_module\n")
    assert Registry.installed().names("sampler").count("twice") == 1
    assert Registry.installed().get("sampler", "twice")


@pytest.mark.parametrize(
    ("allowed", "names"), [("", set()), ("cdkit-a", {"in_a"}), (" CDKit_A , cdkit-b ", {"in_a", "in_b"}), ("nobody", set())]
)
def test_cdkit_plugins_admits_those_that_it_names(
    distribution: Distribution, monkeypatch: pytest.MonkeyPatch, allowed: str, names: set[str]
) -> None:
    distribution("cdkit-a", {"sampler.in_a": "in_a"}, in_a=SAMPLER)
    distribution("cdkit-b", {"sampler.in_b": "in_b"}, in_b=SAMPLER)
    monkeypatch.setenv("CDKIT_PLUGINS", allowed)
    registry = Registry.installed()
    assert set(registry.names("sampler")) & {"in_a", "in_b"} == names
    assert "ddim" in registry.names("sampler"), "our own parts are always there"
    for name in {"in_a", "in_b"} - names:
        with pytest.raises(UnknownPart, match=r"cdkit-[ab]==1.0 offers it, but CDKIT_PLUGINS admits"):
            registry.get("sampler", name)


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        ("encodr.mine", "there is no kind 'encodr'; the kinds are encoder, "),
        ("sampler.Mine", "'Mine' is no name; expected lower-case letters"),
        ("sampler", "'' is no name"),
        ("sampler.os:system", "'os:system' is no name"),
    ],
)
def test_a_claim_that_is_no_name_is_refused(distribution: Distribution, entry: str, error: str) -> None:
    distribution("cdkit-wild", {entry: "wild_module"}, wild_module=SAMPLER)
    records = [record for record in Registry.installed().records() if record.entry.dist == "cdkit-wild"]
    assert [record.status for record in records] == ["refused"]
    assert error in records[0].error


def test_an_unknown_name_is_told_what_exists_and_what_is_near() -> None:
    registry = Registry.installed()
    with pytest.raises(UnknownPart) as caught:
        registry.get("backbone", "unett")
    assert str(caught.value) == f"there is no backbone 'unett'; did you mean 'unet' (cdkit=={VERSION})?"
    with pytest.raises(UnknownPart, match=r"there is no backbone 'cdkti/unet'; did you mean 'cdkit/unet' \(cdkit==.*\)\?"):
        registry.get("backbone", "cdkti/unet")
    assert f"dit, mmdit, unet, unet_classic (cdkit=={VERSION})" in caught.value.hint
    with pytest.raises(UnknownPart, match=r"there is no backbone 'film'; 'film' of cdkit==.* is of the kind injector"):
        registry.get("backbone", "film")
    with pytest.raises(PluginError, match=r"there is no kind 'backbon'; did you mean 'backbone'\?"):
        registry.names("backbon")


def test_of_the_other_kinds_of_a_name_one_is_told() -> None:
    with pytest.raises(
        UnknownPart, match=r"^there is no backbone 'animals'; 'animals' of cdkit==\S+ is of the kind (dataset|run)$"
    ):
        Registry.installed().get("backbone", "animals")


def test_a_kind_that_a_plugin_made_up_is_no_kind(distribution: Distribution) -> None:
    distribution("cdkit-wild", {"samplr.wild": "wild_module"})
    with pytest.raises(PluginError, match=r"^there is no kind 'samplr'; did you mean 'sampler'\?"):
        Registry.installed().get("samplr", "wild")


def test_parts_in_memory_go_before_installed_ones() -> None:
    registry = Registry.installed()
    mine = registry.extended({("injector", "mine"): dict, ("injector", "film"): list})
    assert mine.get("injector", "mine") is dict
    assert mine.get("injector", "film") is list
    assert mine.provider("injector", "mine") == "in-memory"
    assert "mine" in mine.names("injector")
    assert "mine" not in registry.names("injector")
    assert mine.extended({("sampler", "x"): set}).get("injector", "mine") is dict
    with pytest.raises(ValueError, match="'os/system' is no name of a sampler; components are names, not imports"):
        registry.extended({("sampler", "os/system"): dict})
    with pytest.raises(PluginError, match=r"there is no kind 'samplr'; did you mean 'sampler'\?"):
        registry.extended({("samplr", "mine"): dict})


def hostile(count: int) -> list[str]:
    """Names that mean harm: paths, imports, templates, look-alikes, control characters, and noise."""
    known = ["os.system:x", "builtins:eval", "__class__", "__import__('os')", "../../etc/passwd", "/etc/passwd", "C:\\x", "unet\0",
             "http://x/y", "file:///etc/passwd", "${HOME}", "$(id)", "{{x}}", "unet\n", " unet", "unеt", "unet\u200b", "\u202eunet",
             "UNET", "", ".", "..", "a/b/c", "/unet", "unet/", "cdkit//unet", "a" * 65, "a" * 100_000, "!!python/object", "*x", "&x",
             "torch.nn.Linear", "subprocess.popen", "cdkit/../unet", "antigravity", "this"]  # fmt: skip
    draw = random.Random(0)
    alphabet = "abz09_.-/\\:%$(){}\u200b\u202e\u0430é \t\n\0ＡI"
    return known + ["".join(draw.choices(alphabet, k=draw.randint(1, 40))) for _ in range(count)]


def test_hostile_names_are_looked_up_and_never_imported() -> None:
    registry = Registry.installed()
    heard: list[str] = []
    listening = [True]
    sys.addaudithook(
        lambda event, args: heard.append(f"{event} {args[:1]}") if listening[0] and event in {"import", "open", "exec"} else None
    )
    before = set(sys.modules)
    known = {kind: set(registry.names(kind)) for kind in KINDS}
    try:
        for index, name in enumerate(hostile(3000)):
            kind = KINDS[index % len(KINDS)]
            assert name not in known[kind]
            with pytest.raises(UnknownPart) as caught:
                registry.get(kind, name)
            assert len(str(caught.value)) < 400
            assert str(caught.value).isprintable()
    finally:
        listening[0] = False
    assert not [event for event in heard if "import" in event]
    assert set(sys.modules) == before
