"""Draw an answer: the movie's timeline with each segment's score, and above it thumbnails of the best moments.

    from chunkv2l import plot

    plot.timeline(index, index.ask("When does a dog catch the ball?"), "ball.png")

Needs matplotlib, the optional extra "plot". Matplotlib's global state is left as it is.
"""

from __future__ import annotations

import io
import logging
import textwrap
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from chunkv2l.answer.spans import Span
from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.files import atomic_write
from chunkv2l.sanitize import one_line, plural
from chunkv2l.timecode import between, clock

if TYPE_CHECKING:
    from chunkv2l.answer.answer import Answer
    from chunkv2l.ask import Index

logger = logging.getLogger("chunkv2l")

FORMATS: Final = (".png", ".svg")
INSTALL: Final = "Plots need matplotlib, which isn't installed here: pip install 'chunkv2l[plot]'"
SHOWN: Final = 4
"""Largest number of moments with a thumbnail."""

_INK = "#1f2933"
_FINE_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # for movies of less than two seconds
_TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)  # seconds between marks on the clock
_WIDTH, _DPI = 12.0, 120  # inches, dots an inch
_LEFT, _ACROSS = 0.75, 10.9  # inches: where the time axis begins, and its length
_PLAIN_FONT = "DejaVu Sans"  # comes with matplotlib
_UNSUITABLE_FONTS = ("Last Resort", "Adobe NotDef", "STIX", "cm")  # boxes for every letter, and formulas
_LISTED_LETTERS = 10  # letters that a warning names
_ASKED = "#fff6d6"  # the part of the movie that the question is about
_SLOT = _ACROSS / SHOWN  # inches: the width of a moment's column
_FAINT, _LINE = "#66707a", "#d9dee4"
_BEST, _GOOD, _BAR = "#e4572e", "#f4ae98", "#b8c4d0"  # bars: the best moment, other moments with a picture, all others
_SCENES = ("#cfe3d4", "#f3e2c0", "#d5dcf0", "#efd3d7", "#d3e8ea", "#e5dcef")  # chapters: one colour a scene


def check_out(path: str | Path) -> Path:
    """Return the path that a plot will be written to, after checking it and that matplotlib is installed.

    Raises:
        InputError: a name that doesn't end in .png or .svg, no such folder, or no matplotlib.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"A plot's name must end in {' or '.join(FORMATS)}, which {path} doesn't.")
    if not path.parent.is_dir():
        raise InputError(f"There is no folder {path.parent} to put {path.name} into.")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise InputError(INSTALL) from error
    return path


def timeline(index: Index, answer: Answer, path: str | Path) -> Path:
    """Draw an answer into a file and return the file's path.

    Args:
        index: the index that was asked.
        answer: what it answered.
        path: .png or .svg. An older file is replaced once the picture is complete.

    Raises:
        InputError: see `check_out`; or an answer that isn't this index's.
        ChunkV2LError: the disk is full or fails.
    """
    path = check_out(path)
    _save(draw(index, answer), path)
    return path


def draw(index: Index, answer: Answer) -> Any:
    """Return the plot as a matplotlib Figure, for a notebook or a figure of your own.

    Raises:
        InputError: an answer that isn't this index's; no matplotlib.
    """
    if any(number >= len(index) for span in answer.spans for number in span.segments):
        raise InputError(f"This answer has segments that {index.path} doesn't: ask it first.")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(INSTALL) from error
    with _without_tex():
        return _draw(index, answer, Figure)


@contextmanager
def _without_tex() -> Iterator[None]:
    """Keep texts from being set by TeX, whatever a `matplotlibrc` says, be it one in the current folder.

    TeX takes a text for a program, which may read files, and an index says what is in a plot's texts.
    """
    import matplotlib

    with matplotlib.rc_context({"text.usetex": False}):
        yield


def _draw(index: Index, answer: Answer, make_figure: Callable[..., Any]) -> Any:
    shown = _best(answer)
    question = wrap(one_line(answer.question), 72, 2)
    reply = wrap(one_line(answer.answer), 112, 3)
    scores = segment_scores(answer)
    chosen = [max(span.segments, key=scores.__getitem__) for span in shown]
    captions = ["\n".join(wrap(one_line(index.segments[number].caption), 38, 2)) for number in chosen]
    count = plural(len(index), "segment")
    footer = one_line(f"{index.file.meta.movie['name']} · {count} · policy {answer.policy} · {answer.model}")
    fonts, missing = choose_fonts([*question, *reply, *captions, footer])
    if missing:
        more = " …" if len(missing) > _LISTED_LETTERS else ""
        logger.warning(
            "No installed font has these letters of the plot, which are drawn as boxes: %s%s. "
            "Install a font that has them, such as one of the Noto fonts.",
            " ".join(missing[:_LISTED_LETTERS]),
            more,
        )
    below = 0.95 if index.file.chapters() else 0.7
    header = 0.35 + 0.32 * len(question) + 0.23 * len(reply) + 0.25
    pictures = 2.35 if shown else 0.0
    height = header + pictures + 2.3 + below
    figure = make_figure(figsize=(_WIDTH, height), dpi=_DPI, facecolor="white")
    _text(figure, _LEFT, height - 0.3, "\n".join(question), size=17, weight="bold", family=fonts)
    _text(figure, _LEFT, height - 0.4 - 0.32 * len(question), "\n".join(reply), size=12, family=fonts)
    _text(figure, _LEFT + _ACROSS, 0.1, footer, size=9, color=_FAINT, ha="right", va="bottom", family=fonts)
    axes = figure.add_axes(_box(figure, _LEFT, below, _ACROSS, 2.1))
    _scores(axes, index, answer, shown, scores)
    _chapters(axes, index)
    for rank, span in enumerate(shown):
        left = _LEFT + (_ACROSS - _SLOT * len(shown)) / 2 + _SLOT * rank
        _moment(figure, span, rank, _thumbnail(index, chosen[rank]), captions[rank], fonts, left, below + 2.3)
    _badges(axes, scores, shown)
    return figure


def _best(answer: Answer) -> list[Span]:
    """Return the moments that get a picture: the best few, without those that score under 1 % (the best always)."""
    return [span for span in answer.spans[:SHOWN] if span is answer.spans[0] or span.score >= 0.01]


def segment_scores(answer: Answer) -> dict[int, float]:
    """Return the score of each segment that the answer has one of: {segment number: probability or weight}.

    These are the router's probabilities, from the answer's route. Where a span's score isn't their sum (a policy that
    walks in time, or an answer without a route), the span's score is divided equally among its segments.
    """
    looks = answer.route.looks if answer.route is not None else ()
    candidates = looks[-1].candidates if looks else ()
    scores = {candidate.node: candidate.p for candidate in candidates if isinstance(candidate.node, int)}
    for span in answer.spans:
        known = [scores[number] for number in span.segments if number in scores]
        if len(known) < len(span.segments) or abs(sum(known) - span.score) > 1e-6:
            scores.update(dict.fromkeys(span.segments, span.score / len(span.segments)))
    return scores


def _scores(axes: Any, index: Index, answer: Answer, shown: Sequence[Span], scores: Mapping[int, float]) -> None:
    """Draw each segment's score as a bar over the time axis, the moments with a picture in colour."""
    segments = index.segments
    start, end = segments[0].start, segments[-1].end
    within = answer.within
    best = set(shown[0].segments) if shown else set()
    good = {number for span in shown[1:] for number in span.segments}
    top = max([100 * score for score in scores.values()] + [100 * (answer.not_there or 0.0), 1.0])
    for layer, (numbers, colour) in enumerate(((scores.keys() - best - good, _BAR), (good, _GOOD), (best, _BEST))):
        rows = [segments[number] for number in sorted(numbers)]
        least = (end - start) / 900  # a bar is a pixel wide at least, however long the movie
        axes.bar(
            [row.start for row in rows],
            [max(100 * scores[row.id], 0.004 * top) for row in rows],
            [max(row.duration, least) for row in rows],
            align="edge",
            color=colour,
            edgecolor="white" if len(segments) <= 150 else colour,
            linewidth=0.6,
            zorder=2 + layer,
        )
    if answer.not_there is not None:
        height = 100 * answer.not_there
        axes.axhline(height, color=_FAINT, linewidth=1.2, linestyle=(0, (5, 4)), zorder=5)
        axes.annotate(
            f"not in {_name_part(answer)}: {height:.0f} %",
            (end, height),
            xytext=(-4, 4),
            textcoords="offset points",
            ha="right",
            size=10,
            color=_FAINT,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.8},
            zorder=6,
        )
    axes.set_xlim(start, end)
    axes.set_ylim(0, 1.22 * top)
    if within is not None:
        for low, high in answer.parts or [within]:
            _mark_stretch(axes, max(start, low), min(end, high))
    ticks = tick_seconds(start, end)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    decimals = 2 if step < 0.1 else 1 if step < 1 else 0
    axes.set_xticks(ticks, [clock(tick, decimals) for tick in ticks])
    axes.set_yticks(percent_ticks(top))
    axes.set_ylabel("probability, %" if answer.not_there is not None else "weight, %", size=11, color=_FAINT)
    axes.tick_params(labelsize=11, colors=_FAINT, length=0)
    axes.tick_params(axis="x", pad=24 if index.file.chapters() else 6)
    axes.grid(axis="y", color=_LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_FAINT)
    if len(segments) <= 150:
        marks = [segment.start for segment in segments[1:]]
        axes.vlines(marks, -0.02 * top, 0, color=_FAINT, linewidth=0.7, clip_on=False)


def _name_part(answer: Answer) -> str:
    if answer.parts:
        return "those parts"
    return "the video" if answer.within is None else "that part"


def _mark_stretch(axes: Any, start: float, end: float) -> None:
    """Tint the part of the timeline that the question is about, and label it."""
    axes.axvspan(start, end, facecolor=_ASKED, edgecolor="none", zorder=0)
    axes.vlines([start, end], 0, 1, transform=axes.get_xaxis_transform(), color=_FAINT, linewidth=1, zorder=1)
    low, high = axes.get_xlim()
    middle = (start + end) / 2
    share = (middle - low) / (high - low)
    align, x = ("left", start) if share < 0.15 else ("right", end) if share > 0.85 else ("center", middle)
    axes.annotate(
        "asked about",
        (x, 1),
        xycoords=axes.get_xaxis_transform(),
        xytext=(0, 3),
        textcoords="offset points",
        ha=align,
        va="bottom",
        size=9,
        color=_FAINT,
    )


def percent_ticks(top: float) -> list[float]:
    """Return round percentages from 0 to about `top`, never more than 100."""
    from matplotlib.ticker import MaxNLocator

    return [float(tick) for tick in MaxNLocator(4, integer=True).tick_values(0, top) if tick <= min(100.0, 1.2 * top)]


def choose_fonts(texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the families of installed fonts that have the letters of some texts, and the letters that none has.

    Matplotlib's own font comes first; others are added only for letters that it lacks, first the one with most of them.
    """
    from matplotlib.font_manager import FontEntry, fontManager, get_font

    def list_letters(entry: FontEntry) -> set[int]:
        with suppress(OSError, RuntimeError, ValueError):  # bitmaps only, or damaged
            return set(get_font(entry.fname).get_charmap())
        return set()

    def rank(entry: FontEntry) -> tuple[bool, int]:
        return entry.style != "normal", abs(entry.weight - 400) if isinstance(entry.weight, int) else 0

    needed = {ord(letter) for text in texts for letter in text if letter.isprintable() and not letter.isspace()}
    plain = min((entry for entry in fontManager.ttflist if entry.name == _PLAIN_FONT), key=rank)
    families, missing = [_PLAIN_FONT], needed - list_letters(plain)
    if missing:
        suitable = [entry for entry in fontManager.ttflist if not entry.name.startswith(_UNSUITABLE_FONTS)]
        regular = {entry.name: entry for entry in sorted(suitable, key=rank, reverse=True)}
        letters = {name: list_letters(entry) & missing for name, entry in sorted(regular.items())}
        while best := max(
            (name for name in letters if letters[name] & missing), key=lambda n: len(letters[n] & missing), default=""
        ):
            families.append(best)
            missing -= letters[best]
    return families, [chr(letter) for letter in sorted(missing)]


def wrap(text: str, columns: int, most: int) -> list[str]:
    """Return a text in lines of so many columns, at most `most` lines; a longer text ends in "…".

    A Chinese, Japanese or Korean letter takes two columns, and a line may end behind it.
    """
    lines = [""]
    for word in text.split():
        is_wide = any(map(_is_wide, word))
        for number, piece in enumerate(word if is_wide else textwrap.wrap(word, columns)):
            gap = " " if number == 0 and lines[-1] else ""
            if lines[-1] and _count_columns(lines[-1] + gap + piece) > columns:
                lines.append(piece)
            else:
                lines[-1] += gap + piece
    if len(lines) > most:
        lines = lines[:most]
        while _count_columns(lines[-1]) > columns - 2:
            lines[-1] = lines[-1][:-1]
        lines[-1] = f"{lines[-1].rstrip()} …"
    return lines if text else []


def _is_wide(letter: str) -> bool:
    return unicodedata.east_asian_width(letter) in "WF"


def _count_columns(text: str) -> int:
    return sum(2 if _is_wide(letter) else 1 for letter in text)


def _chapters(axes: Any, index: Index) -> None:
    """Draw the chapters as bands below the axis, those of one scene in one colour."""
    rows = index.file.chapters()
    segments = index.segments
    width = segments[-1].end - segments[0].start
    from matplotlib.patches import Rectangle

    for row in rows:
        node = f"g{row.id}"
        scene = index.graph.nodes[node].get("place", row.id) if node in index.graph else row.id
        start, end = segments[row.first].start, segments[row.last].end
        band = Rectangle(
            (start, -0.125),
            end - start,
            0.095,
            transform=axes.get_xaxis_transform(),
            facecolor=_SCENES[scene % len(_SCENES)],
            edgecolor="white",
            linewidth=1.5,
            clip_on=False,
        )
        axes.add_patch(band)
        if (end - start) / width > 0.02:
            axes.text(
                (start + end) / 2,
                -0.08,
                node,
                transform=axes.get_xaxis_transform(),
                size=9,
                color=_INK,
                ha="center",
                va="center",
            )


def _moment(
    figure: Any,
    span: Span,
    rank: int,
    picture: Any | None,
    caption: str,
    fonts: list[str],
    left: float,
    bottom: float,
) -> None:
    """Draw one of the best moments: picture, rank, time, score and caption.

    Args:
        rank: 0 for the best one.
        picture, caption: of its best segment.
        left, bottom: where its column begins, inches.
    """
    middle = left + _SLOT / 2
    if picture is not None:
        pane = figure.add_axes(_box(figure, left + 0.08, bottom + 0.78, _SLOT - 0.16, 1.42), anchor="S")
        pane.imshow(picture, interpolation="antialiased")
        pane.set_xticks([])
        pane.set_yticks([])
        for spine in pane.spines.values():
            spine.set(color=_FAINT if rank else _BEST, linewidth=0.8 if rank else 2.5)
    when = f"{rank + 1}   {between(span, '', '–')}   {100 * span.score:.0f} %"
    _text(figure, middle, bottom + 0.72, when, size=11.5, weight="bold", ha="center")
    _text(figure, middle, bottom + 0.49, caption, size=9.5, color=_FAINT, ha="center", family=fonts)


def _badges(axes: Any, scores: Mapping[int, float], shown: Sequence[Span]) -> None:
    """Draw the moments' ranks above their bars; where two would overlap, the later one is higher."""
    placed: list[tuple[float, float]] = []  # points
    for span in sorted(shown, key=lambda span: span.start):
        height = 100 * max(scores[number] for number in span.segments)
        x, y = (value * 72 / _DPI for value in axes.transData.transform(((span.start + span.end) / 2, height)))
        y += 12
        while any(abs(x - other) < 16 and abs(y - above) < 16 for other, above in placed):
            y += 4
        placed.append((x, y))
        axes.annotate(
            str(shown.index(span) + 1),
            (x * _DPI / 72, y * _DPI / 72),
            xycoords="figure pixels",
            ha="center",
            va="center",
            size=10,
            weight="bold",
            color="white",
            bbox={"boxstyle": "circle,pad=0.25", "facecolor": _INK, "edgecolor": "white", "linewidth": 1},
            zorder=8,
            annotation_clip=False,
        )


def _save(figure: Any, path: Path) -> None:
    """Write a figure to a file, atomically. It holds no date, so the same answer gives the same file."""
    suffix = path.suffix.lower()[1:]
    metadata: Mapping[str, Any] = {"Date": None, "Creator": "chunkv2l"} if suffix == "svg" else {"Software": "chunkv2l"}
    try:
        with atomic_write(path) as part, warnings.catch_warnings(), _without_tex():
            warnings.simplefilter("ignore")  # of letters that no font has; `draw` says so
            figure.savefig(part, format=suffix, metadata=metadata)
    except OSError as error:
        raise ChunkV2LError(f"Can't write {path} ({error.strerror}).") from error


def tick_seconds(start: float, end: float, most: int = 12) -> list[float]:
    """Return evenly spaced round times within [start, end], seconds; about `most` of them."""
    steps = (*_FINE_TICKS, *_TICKS) if end - start < 2 else _TICKS
    step = next((step for step in steps if (end - start) / step <= most), None)
    step = step or 3600 * (int((end - start) / 3600 / most) + 1)
    first = -int(-start // step)
    return [round(float(step * i), 2) for i in range(first, int(end // step) + 1)]


def _thumbnail(index: Index, number: int) -> Any | None:
    """Return a segment's thumbnail, uint8 RGB [H, W, 3], or None where the index has none that can be read."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(index.file.thumbnail(number)), formats=["JPEG"]) as image:
            return image.convert("RGB")
    except (InputError, OSError, Image.DecompressionBombError):
        return None


def _box(figure: Any, left: float, bottom: float, width: float, height: float) -> tuple[float, float, float, float]:
    """Convert a rectangle from inches to fractions of the figure."""
    across, up = figure.get_size_inches()
    return left / across, bottom / up, width / across, height / up


def _text(figure: Any, x: float, y: float, words: str, **style: Any) -> None:
    """Draw text at a position in inches, literally: a "$" in a question starts no formula."""
    across, up = figure.get_size_inches()
    figure.text(
        x / across, y / up, words, **{"color": _INK, "va": "top", "parse_math": False, "linespacing": 1.25, **style}
    )
