"""The drawings of a report: bands that are intervals, numbers that are round, and verdicts that lie where they were found."""

from __future__ import annotations

import re

import pytest
from cdkit.compare.curves import BEYOND, HEIGHT, MARGIN, Frame, band, curves, decades, line, roomy, ticks
from cdkit.compare.forest import forest
from cdkit.compare.report import amount, steps_heard
from cdkit.compare.table import rows
from cdkit.compare.verdict import verdict
from cdkit.compare.words import more
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats


def test_a_band_is_where_the_mean_lies() -> None:
    values = [0.31, 0.38, 0.35, 0.29]
    expected = stats.t.interval(0.95, 3, loc=sum(values) / 4, scale=stats.sem(values))
    assert band(values) == pytest.approx(expected)
    assert band([0.4]) == (0.4, 0.4), "of one seed nobody knows"


def test_a_band_is_drawn_where_it_lies_and_cut_off_at_the_edge() -> None:
    frame = Frame((0.0, 1.0), (0.0, 1.0))
    drawn = line(0, 1, [(0.0, [0.4, 0.6]), (1.0, [0.5, 0.502])], frame)
    corners = re.search(r"polygon points='([^']*)'", drawn)
    assert corners is not None
    upper, upper_right, lower_right, lower = (float(corner.split(",")[1]) for corner in corners[1].split())
    assert (upper, lower) == (MARGIN, HEIGHT - MARGIN), "two seeds so far apart tell nothing"
    low, high = band([0.5, 0.502])
    assert (upper_right, lower_right) == pytest.approx((frame.y(high), frame.y(low)), abs=0.06)


def test_bands_leave_room_for_the_lines() -> None:
    low, high = roomy({"one": [(1.0, [0.2, 0.6])], "other": [(1.0, [0.3, 0.3])]}, [0.2, 0.6, 0.3, 0.3])
    assert (low, high) == pytest.approx((0.2 - BEYOND * 0.4, 0.6 + BEYOND * 0.4))


def test_arms_of_one_scale_stand_beside_each_other() -> None:
    drawn = curves({"one": {"2.0": [0.3, 0.4]}, "other": {"2.0": [0.3, 0.4]}}, "drawn")
    places = re.findall(r"<circle cx='([0-9.]+)'", drawn)
    assert len(set(places)) == 2
    marks = re.findall(r"<text x='(\d+)' y='(\d+)'[^>]*>(2|guidance)</text>", drawn)
    assert len({y for _, y, _ in marks}) == 2, "the axis' name is not written over its number"


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e6), st.integers(2, 8))
def test_ticks_are_round_and_within(low: float, span: float, count: int) -> None:
    high = low + span
    found = ticks(low, high, count=count)
    assert found == sorted(set(found))
    slack = 1e-6 * max(abs(low), abs(high), span)
    assert all(low - slack <= tick <= high + slack for tick in found)
    assert len(found) <= count + 1


def test_ticks_by_hand() -> None:
    assert ticks(0.0, 600.0) == [0, 200, 400, 600]
    assert ticks(-0.74, 0.31) == [-0.5, 0.0]
    assert ticks(0.31, 0.48) == [0.35, 0.4, 0.45]
    assert ticks(1.0, 1.0) == []
    assert decades(0.12, 0.9) == [0.2, 0.5]


def test_a_forest_has_every_interval_where_it_was_found() -> None:
    found = {
        "ours": verdict([[0.9], [0.92], [0.91]], [[0.5], [0.5], [0.5]]).to_json(),
        "theirs": verdict([[0.5], [0.6], [0.4]], [[0.5], [0.5], [0.5]]).to_json(),
        "once": verdict([[0.7]], [[0.5]]).to_json(),
    }
    drawn = forest(found, "reference")
    zero = float(re.findall(r"<path d='M([0-9.]+) 4V", drawn)[0])
    lines = re.findall(r"<path d='M([0-9.]+) \d+H([0-9.]+)'", drawn)
    tones = re.findall(r"<g class='(\w+)'", drawn)
    assert tones == ["good", "unsure", "unsure"]
    assert len(lines) == 2, "one seed has no interval"
    assert zero < float(lines[0][0])
    assert float(lines[1][0]) < zero < float(lines[1][1])
    ours, theirs = found["ours"], found["theirs"]
    scale = (float(lines[0][1]) - float(lines[0][0])) / (ours["high"] - ours["low"])
    assert (float(lines[1][1]) - float(lines[1][0])) / (theirs["high"] - theirs["low"]) == pytest.approx(scale, rel=0.02)


def test_numbers_can_be_read() -> None:
    assert [amount(number) for number in (600, 1444321.0, 4.689e13, 0.0, 55.83)] == ["600", "1,444,321", "46.9 T", "0", "55.8"]
    assert "<td>0.5<small>0.4, 0.6</small></td>" in rows(["score"], [["0.5\n0.4, 0.6"]])
    assert "<small>&lt;b&gt;</small>" in rows(["score"], [["0.5\n<b>"]])


def test_when_words_are_heard_is_a_median() -> None:
    assert steps_heard([188, 38, 112]) == "112\n188, 38, 112"
    assert steps_heard([None, 38, None]) == "not yet\nnot yet, 38, not yet"
    assert steps_heard([]) == "nothing is said"


@pytest.mark.parametrize(("count", "words"), [(1, "; 1 more seed would tell"), (4, "; 4 more seeds would tell")])
def test_one_seed_is_no_seeds(count: int, words: str) -> None:
    assert more({"outcome": "cannot tell", "more": count, "low": -1.0}).startswith(words)
