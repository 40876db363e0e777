"""Test plots: positions and heights, texts shown literally, and that a file is complete or absent."""

from __future__ import annotations

import io
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chunkv2l.answer.answer import Answer, Timing
from chunkv2l.answer.spans import Span
from chunkv2l.ask import Index
from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.plot import choose_fonts, draw, percent_ticks, segment_scores, tick_seconds, timeline, wrap
from chunkv2l.timecode import clock
from tests.helpers.fake_vlm import fake_model
from tests.helpers.written import random_codes, write_index

QUESTION = "When does a dog earn $5 or $10?"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """12 segments of 4 s."""
    with Index(write_index(tmp_path / "movie.idx", random_codes(12)), fake_model()) as opened:
        yield opened


def span(first: int, last: int, score: float) -> Span:
    return Span(4.0 * first, 4.0 * last + 4, score, tuple(range(first, last + 1)))


def answer(
    *spans: Span, absent: float | None = 0.25, question: str = QUESTION, text: str = "From 0:20 to 0:28."
) -> Answer:
    return Answer(question, text, spans, absent, "route", "fake", Timing(0.0, 0.0, 0.0, 0.0, 0.0))


SPANS = (span(5, 6, 0.4), span(1, 1, 0.2), span(9, 9, 0.05), span(11, 11, 0.02), span(3, 3, 0.01))


def words(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.texts]


def bars(figure: Any) -> dict[float, tuple[float, float, str]]:
    """Start → (seconds, per cent, colour) of each bar."""
    from matplotlib.colors import to_hex

    drawn = [bar for group in figure.axes[0].containers for bar in group]
    return {bar.get_x(): (bar.get_width(), bar.get_height(), to_hex(bar.get_facecolor())) for bar in drawn}


def test_bars_stand_where_segments_are_and_as_high_as_they_score(index: Index) -> None:
    drawn = bars(draw(index, answer(*SPANS)))
    assert {start: height for start, (_, height, _) in drawn.items()} == pytest.approx(
        {20.0: 20.0, 24.0: 20.0, 4.0: 20.0, 36.0: 5.0, 44.0: 2.0, 12.0: 1.0}
    )
    assert {width for width, _, _ in drawn.values()} == {4.0}
    colours = {start: colour for start, (_, _, colour) in drawn.items()}
    assert colours[20.0] == colours[24.0] != colours[4.0] == colours[36.0] == colours[44.0] != colours[12.0]


def test_the_words_are_the_questions_the_answers_and_the_captions(index: Index) -> None:
    texts = words(draw(index, answer(*SPANS)))
    assert texts[0] == QUESTION  # a $ starts no formula
    assert texts[1] == "From 0:20 to 0:28."
    assert any(text.startswith("1   0:20.0 – 0:28.0   40 %") for text in texts)
    assert any(text.startswith("4   0:44.0 – 0:48.0   2 %") for text in texts)
    assert index.segments[5].caption in texts and index.segments[1].caption in texts
    assert not any(text.startswith("5   ") for text in texts)
    assert "movie.mp4 · 12 segments · policy route · fake" in texts


def test_thumbnails_and_ranks_of_the_best_few(index: Index) -> None:
    figure = draw(index, answer(*SPANS))
    timeline_axes, *pictures = figure.axes
    assert len(pictures) == 4
    for pane in pictures:
        (image,) = pane.images
        assert np.asarray(image.get_array(), float)[12, 16, :3] == pytest.approx([200, 30, 30], abs=6)
    ranks = {text.get_text() for text in timeline_axes.texts if len(text.get_text()) == 1}
    assert ranks == {"1", "2", "3", "4"}


def test_ranks_dont_cover_each_other(index: Index) -> None:
    near = (span(5, 5, 0.2), span(6, 6, 0.2), span(7, 7, 0.19), span(8, 8, 0.18))
    small = [Span(s.start / 40, s.end / 40, s.score, s.segments) for s in near]
    figure = draw(index, answer(*small))
    positions = [text.xy for text in figure.axes[0].texts if len(text.get_text()) == 1]
    for i, position in enumerate(positions):
        for other in positions[:i]:
            assert np.hypot(position[0] - other[0], position[1] - other[1]) >= 16 * 120 / 72


@pytest.mark.parametrize(("absent", "label"), [(0.25, "probability, %"), (None, "weight, %")])
def test_that_it_isnt_there_is_a_line(index: Index, absent: float | None, label: str) -> None:
    axes = draw(index, answer(*SPANS, absent=absent)).axes[0]
    assert axes.get_ylabel() == label
    texts = [text.get_text() for text in axes.texts]
    assert ("not in the video: 25 %" in texts) == (absent is not None)
    assert [line.get_ydata()[0] for line in axes.lines] == ([] if absent is None else [25.0])


def test_chapters_are_bands_coloured_by_scene(index: Index, tmp_path: Path) -> None:
    from matplotlib.patches import Rectangle

    def bands(opened: Index) -> list[Any]:
        axes = draw(opened, answer(*SPANS)).axes[0]
        return [patch for patch in axes.patches if isinstance(patch, Rectangle) and patch.get_y() < 0]

    assert bands(index) == []  # an index from before there were chapters
    path = write_index(tmp_path / "chapters.idx", random_codes(12))
    connection = sqlite3.connect(path)
    code = connection.execute("SELECT code FROM segments WHERE id = 0").fetchone()[0]
    for number, (first, last) in enumerate([(0, 3), (4, 8), (9, 11)]):
        connection.execute("INSERT INTO chapters VALUES (?, ?, ?, ?)", (number, first, last, code))
    connection.commit()
    connection.close()
    with Index(path, fake_model()) as opened:
        drawn = bands(opened)
        assert [(band.get_x(), band.get_width()) for band in drawn] == [(0.0, 16.0), (16.0, 20.0), (36.0, 12.0)]
        scenes = [opened.graph.nodes[f"g{i}"]["place"] for i in range(3)] if "g0" in opened.graph else [0, 1, 2]
        colours = [band.get_facecolor() for band in drawn]
        assert all((colours[i] == colours[j]) == (scenes[i] == scenes[j]) for i in range(3) for j in range(3))
        assert {"g0", "g1", "g2"} <= {text.get_text() for text in draw(opened, answer(*SPANS)).axes[0].texts}


def test_a_real_answer_as_png_and_svg(index: Index, tmp_path: Path) -> None:
    asked = index.ask("When does a dog catch the ball?")
    for name in ("out.png", "out.svg", "OUT.PNG"):
        assert timeline(index, asked, tmp_path / name) == tmp_path / name
    with Image.open(tmp_path / "out.png") as image:
        assert image.size[0] == 1440 and image.info["Software"] == "chunkv2l"
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
        assert (pixels == [0xE4, 0x57, 0x2E]).all(axis=1).sum() > 500  # the best moment's bar and frame
    svg = (tmp_path / "out.svg").read_text()
    assert svg.startswith("<?xml") and svg.rstrip().endswith("</svg>") and "<dc:date>" not in svg
    assert sorted(path.name for path in tmp_path.iterdir()) == ["OUT.PNG", "movie.idx", "out.png", "out.svg"]


@pytest.mark.parametrize("name", ["out.png", "out.svg"])
def test_tex_sets_no_text(name: str, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    monkeypatch.setenv("PATH", str(tmp_path))  # has no LaTeX, whose lack would be an error
    monkeypatch.setitem(matplotlib.rcParams, "text.usetex", True)  # as a matplotlibrc in the current folder may say
    timeline(index, answer(*SPANS), tmp_path / name)
    assert matplotlib.rcParams["text.usetex"]


def test_what_is_odd_is_drawn_all_the_same(index: Index, tmp_path: Path) -> None:
    long = "Wann tanzt ein Elefant? 象はいつ踊りますか " * 30
    for asked in (
        answer(),
        answer(text=""),
        answer(span(0, 11, 1.0), absent=0.0),
        answer(*SPANS, question=long, text=long),
        answer(span(3, 3, 0.0), absent=None),
    ):
        assert timeline(index, asked, tmp_path / "out.png").stat().st_size > 5000


def test_without_thumbnails_words_remain(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for broken in (b"\xff\xd8\xff broken", b"GIF89a"):
        monkeypatch.setattr(type(index.file), "thumbnail", lambda *_, blob=broken: io.BytesIO(blob).read())
        figure = draw(index, answer(*SPANS))
        assert len(figure.axes) == 1 and any(text.startswith("1   0:20.0") for text in words(figure))


@pytest.mark.parametrize(
    ("when", "borders"), [("in the last 20 seconds", (28.0, 48.0)), ("in the first 9 seconds", (0.0, 9.0))]
)
def test_the_part_that_was_asked_about_is_marked(index: Index, when: str, borders: tuple[float, float]) -> None:
    axes = draw(index, index.ask(f"When does a dog catch the ball {when}?")).axes[0]
    extents = [patch.get_extents().transformed(axes.transData.inverted()) for patch in axes.patches]
    assert any((box.x0, box.x1, box.y0) == pytest.approx((*borders, 0.0), abs=0.05) for box in extents)
    texts = [text.get_text() for text in axes.texts]
    assert "asked about" in texts and any(text.startswith("not in that part: ") for text in texts)


def test_nothing_is_marked_where_all_of_the_movie_was_asked_about(index: Index) -> None:
    axes = draw(index, index.ask("When does a dog catch the ball?")).axes[0]
    assert "asked about" not in [text.get_text() for text in axes.texts]


@pytest.mark.parametrize(("top", "ticks"), [(100.0, [0, 25, 50, 75, 100]), (1.0, [0, 1]), (60.0, [0, 15, 30, 45, 60])])
def test_no_probability_is_above_one_hundred_per_cent(top: float, ticks: list[float]) -> None:
    assert percent_ticks(top) == ticks


def test_the_axis_ends_at_one_hundred_per_cent(index: Index) -> None:
    assert max(draw(index, answer(span(3, 3, 1.0), absent=0.0)).axes[0].get_yticks()) == 100.0


# ---- letters and lines


def write_font(path: Path, name: str, letters: str) -> Path:
    """A font with a square for each of these letters."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    pen = TTGlyphPen(None)
    for step, point in enumerate([(0, 0), (0, 900), (900, 900), (900, 0)]):
        (pen.lineTo if step else pen.moveTo)(point)
    pen.closePath()
    square = pen.glyph()
    names = [".notdef", *(f"u{ord(letter):04X}" for letter in letters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(letter): f"u{ord(letter):04X}" for letter in letters})
    builder.setupGlyf(dict.fromkeys(names, square))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": name, "styleName": "Regular"})
    builder.setupOS2(usWeightClass=400)
    builder.setupPost()
    builder.save(path)
    return path


@pytest.fixture
def fonts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Matplotlib's fonts: only its own plain one, until a test adds others."""
    from matplotlib.font_manager import fontManager

    plain = [entry for entry in fontManager.ttflist if entry.name == "DejaVu Sans"]
    monkeypatch.setattr(fontManager, "ttflist", plain)
    return fontManager


def test_a_font_is_chosen_that_has_the_letters(
    index: Index, tmp_path: Path, fonts: Any, caplog: pytest.LogCaptureFixture
) -> None:
    fonts.addfont(write_font(tmp_path / "few.ttf", "Few", "象"))
    fonts.addfont(write_font(tmp_path / "many.ttf", "Many", "象踊る"))
    fonts.addfont(write_font(tmp_path / "other.ttf", "Other", "ไ"))
    assert choose_fonts(["When does 象 踊る?", "A ไ."]) == (["DejaVu Sans", "Many", "Other"], [])
    figure = draw(index, answer(*SPANS, question="象踊る"))
    assert figure.texts[0].get_fontfamily() == ["DejaVu Sans", "Many"]
    figure.canvas.draw()
    assert not caplog.messages


def test_letters_that_no_font_has_are_named(index: Index, fonts: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert choose_fonts(["plain words – Größe, ничего"]) == (["DejaVu Sans"], [])
    draw(index, answer(*SPANS, question="象踊"))
    assert [message for message in caplog.messages if "象 踊" in message and "drawn as boxes" in message]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        ("one two three", ["one two", "three"]),
        ("one two three four five", ["one two", "three …"]),
        ("a-word-without-end", ["a-word-", "withou …"]),
        ("象はいつ踊り", ["象はいつ", "踊り"]),
        ("象はいつ踊りますか", ["象はいつ", "踊りま …"]),
    ],
)
def test_lines_are_as_long_as_their_letters_are_wide(text: str, lines: list[str]) -> None:
    assert wrap(text, 8, 2) == lines


def test_a_movie_of_one_picture(tmp_path: Path) -> None:
    path = write_index(tmp_path / "one.idx", random_codes(1))
    connection = sqlite3.connect(path)
    connection.execute("UPDATE segments SET end = 0.04")
    connection.commit()
    connection.close()
    with Index(path, fake_model()) as opened:
        moment = Span(0.0, 0.04, 0.5, (0,))
        figure = draw(opened, answer(moment))
    assert any(text.startswith("1   0:00.00 – 0:00.04") for text in words(figure))
    assert any("· 1 segment ·" in text for text in words(figure))
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()][:2] == ["0:00.00", "0:00.01"]


def test_scores_of_a_span_are_shared_out() -> None:
    assert segment_scores(answer(*SPANS[:2])) == pytest.approx({5: 0.2, 6: 0.2, 1: 0.2})


def test_with_a_route_every_segment_that_was_scored_has_its_own(index: Index) -> None:
    asked = index.ask("When does a dog catch the ball?", budget="all")
    scores = segment_scores(asked)
    assert sorted(scores) == list(range(12))
    assert sum(scores.values()) + (asked.not_there or 0.0) == pytest.approx(1.0, abs=1e-4)
    for moment in asked.spans:
        assert sum(scores[number] for number in moment.segments) == pytest.approx(moment.score)
    walked = replace(asked, spans=(span(2, 3, 0.6),))  # a score that isn't what the router gave
    assert segment_scores(walked) == {**scores, 2: 0.3, 3: 0.3}
    assert len(bars(draw(index, asked))) == 12


@pytest.mark.parametrize(
    ("start", "end", "first", "step"),
    [
        (0.0, 5.0, 0.0, 1.0),
        (0.0, 66.2, 0.0, 10.0),
        (12.0, 70.0, 15.0, 5.0),
        (0.0, 3600.0, 0.0, 300.0),
        (0, 3e5, 0, 25200),
    ],
)
def test_ticks_are_round_times(start: float, end: float, first: float, step: float) -> None:
    ticks = tick_seconds(start, end)
    assert ticks[:2] == [first, first + step] and len(ticks) <= 13 and ticks[-1] <= end < ticks[-1] + step
    assert len({clock(tick) for tick in ticks}) == len(ticks)


# ---- what is refused


@pytest.mark.parametrize(("name", "message"), [("out.gif", "must end in .png or .svg"), ("no/out.png", "no folder")])
def test_files_that_cannot_be_written_are_refused(index: Index, tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        timeline(index, answer(*SPANS), tmp_path / name)


def test_another_indexs_answer_is_refused(index: Index, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"segments that .*movie.idx doesn't"):
        timeline(index, answer(span(12, 12, 0.5)), tmp_path / "out.png")


def test_without_matplotlib_a_sentence_says_what_to_install(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for attempt in (lambda: timeline(index, answer(), tmp_path / "out.png"), lambda: draw(index, answer())):
        with pytest.raises(InputError, match=r"pip install 'chunkv2l\[plot\]'"):
            attempt()


def test_a_disk_that_fails_leaves_what_was_there(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = timeline(index, answer(*SPANS), tmp_path / "out.png")
    before = out.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(ChunkV2LError, match=r"Can't write .*out.png \(No space left on device\)"):
        timeline(index, answer(*SPANS[:1]), out)
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["movie.idx", "out.png"]
