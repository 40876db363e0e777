"""Show answers, indexes and a build's progress to people."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from chunkv2l.cli.streams import emit, emit_json, say
from chunkv2l.sanitize import plural, shorten

if TYPE_CHECKING:
    from tqdm import tqdm

    from chunkv2l.answer.answer import Answer
    from chunkv2l.index.file import IndexFile
    from chunkv2l.index.rows import TagRow
    from chunkv2l.indexing.progress import BuildReport, Progress

LINE_EVERY = 10.0
"""Seconds between lines of progress where stderr is no terminal."""


def show_answer(answer: Answer, explain: bool = False) -> None:
    """Show an answer: text and spans on stdout, with its route if `explain`; notes, policy and time on stderr."""
    from chunkv2l.answer.certainty import mark_unsure
    from chunkv2l.answer.explain import explain_answer
    from chunkv2l.timecode import between

    lines = mark_unsure(answer.answer, answer.unsure).split("\n")
    for span in answer.spans:
        found_by = f"  {', '.join(span.channels)}" if span.channels else ""
        text = f": “{shorten(span.text, 80)}”" if span.text else ""
        movie = f"  {span.movie}" if span.movie else ""
        lines.append(f"  {between(span, '', '–'):<19} {100 * span.score:3.0f} %{movie}{found_by}{text}")
    if answer.not_there is not None:
        whole = "not in any video" if any(span.movie for span in answer.spans) else "not in the video"
        absent = whole if answer.within is None else f"not in {'those parts' if answer.parts else 'that part'}"
        lines.append(f"  {absent:<19} {100 * answer.not_there:3.0f} %")
    if explain:
        lines += ["", *explain_answer(answer)]
    emit(*lines)
    for note in answer.notes:
        say(f"Note: {note}")
    timing = answer.timing
    loading = f"loaded in {timing.load_s:.1f} s, " if timing.load_s else ""
    texts = f"{answer.text_tokens} text tokens, " if answer.text_tokens else ""
    answering = f"answered in {timing.total_s - timing.load_s:.2f} s"
    say(f"({answer.policy}, {answer.model}, no visual tokens, {texts}{loading}{answering})")


def show_report(report: BuildReport) -> None:
    """Show what a build did."""
    if report.nothing_to_do:  # a notice has said so
        return
    segments = plural(report.segments, "segment")
    emit(
        f"{report.index}: {segments} of {report.movie['name']}, {report.index_bytes / 1e6:.1f} MB, "
        f"in {report.seconds:.1f} s ({report.realtime.get('total', 0.0):.1f} × real time)."
    )
    if report.notes:
        emit("To know:", *(f"  {note.text}" for note in report.notes))


def show_extended(report: BuildReport) -> None:
    """Show what was added to an index."""
    from chunkv2l.channels.cues import SOURCES
    from chunkv2l.index.file import IndexFile

    if report.nothing_to_do:
        say(f"{report.index} has it already: nothing to do. --force does it anew.")
        return
    with IndexFile(report.index) as file:
        cues = file.cues()
    counts = [f"{plural(sum(cue.source == source for cue in cues), 'cue')} {source}" for source in SOURCES]
    emit(f"{report.index}: {', '.join(counts)}, in {report.seconds:.1f} s.")
    if report.notes:
        emit("To know:", *(f"  {note.text}" for note in report.notes))


def show_index(file: IndexFile) -> None:
    """Show an index's segments, and what it was made from."""
    from chunkv2l.index.overview import chapters_json
    from chunkv2l.timecode import clock, precision

    meta = file.meta
    duration = float(meta.movie["duration"])
    length = clock(duration, precision(duration) if duration < 10 else 0)
    settings = ", ".join(f"{name} {value}" for name, value in meta.settings.items())
    lines = [
        f"{meta.movie['name']}: {length}, {plural(len(file), 'segment')}, model {meta.model}",
        f"settings: {settings}",
        *(f"note: {note['text']}" for note in meta.notes),
    ]
    decimals = 1 if duration < 3600 else 0
    tags = file.tags()
    begins = {chapter["first"]: (number, chapter) for number, chapter in enumerate(chapters_json(file), 1)}
    for segment in file.segments:
        if segment.id in begins:
            number, chapter = begins[segment.id]
            times = _show_times(chapter["start"], chapter["end"], decimals)
            lines.append(f"{chapter['group']:>5}  {times:<19} chapter {number}, place {chapter['place']}")
        times = _show_times(segment.start, segment.end, decimals)
        doubt = " (uncertain)" if meta.uncertain and segment.id in meta.uncertain else ""
        lines.append(f"{segment.id:5}  {times:<19} {segment.caption}{doubt}{_show_tags(tags[segment.id])}".rstrip())
    emit(*lines)


def _show_tags(tags: Sequence[TagRow]) -> str:
    """Return a segment's tags behind its caption, marked as such; "" without any."""
    return f"  [tags: {', '.join(f'{tag.name} {100 * tag.p:.0f} %' for tag in tags)}]" if tags else ""


def show_transcript(file: IndexFile, as_json: bool = False) -> None:
    """Show what is said and written, a sentence a line.

    Raises:
        InputError: there is nothing.
    """
    from chunkv2l.channels.sentences import join_sentences
    from chunkv2l.channels.transcript import describe_sentence
    from chunkv2l.errors import InputError

    sentences = file.sentences() or join_sentences(file.cues())
    if not sentences:
        raise InputError(f"{file.path} holds nothing of what is said: chunkv2l listen {file.path} adds it.")
    if as_json:
        emit_json(
            [
                {"start": s.start, "end": s.end, "text": s.text, "source": s.source, "channel": s.channel}
                for s in sentences
            ]
        )
    else:
        emit(*map(describe_sentence, sentences))


def _show_times(start: float, end: float, decimals: int) -> str:
    """Format an interval for a column, with more decimals where its ends would look alike."""
    from chunkv2l.timecode import clock, precision

    if end - start < 0.2:
        decimals = max(decimals, precision(end - start))
    return f"{clock(start, decimals)} – {clock(end, decimals)}"


class ProgressBar:
    """Show a build's progress on stderr: a bar on a terminal, elsewhere a line every `LINE_EVERY` seconds."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._next = time.monotonic() + LINE_EVERY

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, progress: Progress) -> None:
        """Show how far the build is."""
        self.show(progress, "", progress.done / progress.total if progress.total else 0.0)

    def show(self, progress: Progress, heading: str, share: float) -> None:
        """Show how far one of several builds is.

        Args:
            heading: what comes before it.
            share: of all builds that is done.
        """
        from chunkv2l.timecode import clock

        left = "" if progress.eta is None else f", {clock(progress.eta)} left, {progress.realtime:.1f} × real time"
        segments = plural(progress.segments, "segment")
        state = f"{heading}{clock(progress.done)} of {clock(progress.total)}, {segments}{left}, {progress.stage}"
        if sys.stderr is not None and sys.stderr.isatty():
            self._draw(share, state)
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_EVERY
            say(state)

    def _draw(self, share: float, state: str) -> None:
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=1.0, bar_format="{percentage:3.0f} %|{bar:20}| {desc}", file=sys.stderr, leave=False)
        self._bar.n = min(1.0, share)
        self._bar.set_description_str(state)
