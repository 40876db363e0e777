"""movie → index: the write path, readable top to bottom.

A thread reads the movie and cuts it into segments; this one encodes a few as they come, and stores each batch in one
transaction. A batch's borders depend on segment numbers only, and nothing about the run enters the file, so a build
that was killed and started again ends in the same rows as one that ran through.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from chunkv2l.defaults import MODELS
from chunkv2l.errors import InputError
from chunkv2l.index.file import IndexFile
from chunkv2l.index.meta import USER_FILES
from chunkv2l.index.validation import check_header
from chunkv2l.index.writer import NewSubtitle, Writer
from chunkv2l.indexing import chapter_codes
from chunkv2l.indexing.allocator import freed_memory_kept
from chunkv2l.indexing.chapter_codes import Pictures, store_chapters
from chunkv2l.indexing.progress import BuildReport, Progress, Run
from chunkv2l.indexing.provenance import describe, differences
from chunkv2l.indexing.segments import SegmentBatch
from chunkv2l.indexing.settings import BuildSettings
from chunkv2l.models import ModelSpec
from chunkv2l.timecode import clock
from chunkv2l.video.background import BackgroundIterator
from chunkv2l.video.detectors import Segment
from chunkv2l.video.fingerprint import WHOLE, fingerprint
from chunkv2l.video.notes import Notes
from chunkv2l.video.parallel import coordinator
from chunkv2l.video.parallel.worker import Task
from chunkv2l.video.probe import MovieInfo, probe
from chunkv2l.video.readers.pyav import choose_gpu
from chunkv2l.video.segmentation import CutSegment, Resources, cut
from chunkv2l.video.subtitles import Cue, Speech, take_subtitles

if TYPE_CHECKING:
    from chunkv2l.models import Model


logger = logging.getLogger(__name__)

BATCH: Final = 32
"""Segments that are captioned together and stored in one transaction: what a build that is killed loses at most."""
AHEAD: Final = BATCH
"""Segments that are read ahead of the model."""
LENGTH_TOLERANCE: Final = 1.0
"""Seconds by which the length that a header says may be off before the index says the one that was read."""


def build(
    movie: str | Path,
    out: str | Path | None = None,
    *,
    model: str | Model = "mini",
    hypernet: str | None = None,
    device: str = "auto",
    settings: BuildSettings | None = None,
    force: bool = False,
    progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> BuildReport:
    """Make a movie's index, or go on with one whose build was interrupted.

    An index of the same movie that was built with other settings or another model is replaced, once the new one is
    whole; one of another movie only with `force`; a file that isn't an index never.

    Args:
        movie: a video file.
        out: the index; the movie's name with `.idx` if not given. `OUT.part` holds what is done until it is whole.
        model: a name that `load_model` knows, or a loaded model.
        hypernet, device: for `load_model`.
        settings: how to cut and store; `options` are its fields by name (detector, captions, codes, subtitles …).
        force: build anew even where `out` is up to date.
        progress: called before each stage of each batch.

    Raises:
        InputError: the movie can't be used, a setting can't be, or `out` is in use or something else.
        ChunkV2LError: the disk is full or fails.
        KeyboardInterrupt: passed on. After this or any other exception the same call goes on from the last batch.
    """
    settings = replace(settings or BuildSettings(), **options)
    movie = Path(movie)
    out = movie.with_suffix(".idx") if out is None else Path(out)
    info = probe(movie, settings.stream)  # bad input is told before any weight is fetched or loaded
    _check_out(out, movie)
    Writer.check_free(out)
    run = Run(info.duration, progress)
    with run.listening(), freed_memory_kept():
        subtitles = take_subtitles(movie, settings.subtitles, settings.encoding)
        with run.clock("load"):
            model, own = _load(model, hypernet, device)
        rules = {"batch": BATCH, "chapter_frames": chapter_codes.FRAMES}
        wanted = describe(movie, info, model, settings, rules, own, subtitles.sha256 if subtitles else None)
        cues = subtitles.cues if subtitles else ()
        job = _Job(movie, info, model, settings, wanted, cues, Speech(cues), run, Notes())
        if not force and out.exists() and _up_to_date(out, wanted, run):
            return run.report(out, wanted["movie"], nothing_to_do=True)
        with Writer(out) as writer:
            try:
                similar = _fill(writer, job)
            except _Stale as stale:
                logger.warning("%s can't be gone on with (%s): starting over.", writer.path, stale)
                writer.start_over()
                similar = _fill(writer, job)
            except InputError:
                if not writer.stored():  # nothing to go on from
                    writer.discard()
                raise
            _check_unchanged(writer, job)
            described = _correct_length(writer, job)
            with run.clock("write"):
                if similar is None:
                    writer.publish()
                else:
                    writer.finish(similar)
        return run.report(out, described)


def _check_out(out: Path, movie: Path) -> None:
    """Refuse to put an index where something else is, --force or not."""
    if not out.parent.is_dir():
        raise InputError(f"There is no folder {out.parent} to put {out.name} into.")
    if out.name.endswith(".part"):
        raise InputError(f"{out} is the name of an unfinished index: choose another -o.")
    if out.exists():
        if out.samefile(movie):
            raise InputError(f"The index would replace the movie {movie}: choose another -o.")
        try:
            check_header(out, newer=True)
        except InputError as error:
            raise InputError(f"{str(error).rstrip('.')}, and isn't replaced: choose another -o.") from None


def _up_to_date(out: Path, wanted: dict[str, Any], run: Run) -> bool:
    """Whether the index that is there is the one wanted. Raises InputError if it is another movie's."""
    with IndexFile(out) as index:
        there, run.segments = index.meta.origin(), len(index)
    differing = differences(there, wanted)
    if "movie" in differing:
        name = there["movie"]["name"]
        raise InputError(f"{out} is the index of another movie, {name}: choose another -o, or replace it with --force.")
    if differing:
        logger.warning("%s was built with another %s: building it anew.", out, ", ".join(differing))
        return False
    logger.warning("%s is up to date with %s: nothing to do.", out, wanted["movie"]["name"])
    return True


def _load(model: str | Model, hypernet: str | None, device: str) -> tuple[Model, list[str]]:
    """Return the model, and those of `USER_FILES` that the user named by a path; of a loaded model none is known."""
    if not isinstance(model, str):
        return model, []
    from chunkv2l.models import load_model

    spec = ModelSpec(model, hypernet, device)
    return load_model(spec), _own(spec)


def _own(spec: ModelSpec) -> list[str]:
    """Return what of the model the user named by a path."""
    folder = spec.name not in (None, *MODELS) and Path(str(spec.name)).is_dir()
    return [name for name, given in zip(USER_FILES, (folder, spec.hypernet is not None), strict=True) if given]


def _check_unchanged(writer: Writer, job: _Job) -> None:
    """Discard what was stored, and raise InputError, if the movie's file was written to while it was read."""
    before = job.wanted["movie"]
    if not job.info.has_changed():
        return
    try:
        now = fingerprint(job.movie)
    except OSError:
        now = {"size": 0}
    if {name: before[name] for name in now} == now and now["size"] <= WHOLE:
        return  # it was touched, its content is the same
    writer.discard()
    raise InputError(
        f"{job.movie} has changed while it was read ({before['size']:,} bytes then, {now['size']:,} now): "
        "build its index again when it is complete."
    )


def _correct_length(writer: Writer, job: _Job) -> dict[str, Any]:
    """Store the length that was read where the header's is off. Returns the movie's description."""
    described: dict[str, Any] = job.wanted["movie"]
    _, end = writer.stored()[-1]
    if abs(end - job.info.duration) > LENGTH_TOLERANCE:
        described = {**described, "duration": end}
        writer.write(meta={"movie": described})
    return described


@dataclass(frozen=True)
class _Job:
    """What one build is to make, and of what."""

    movie: Path
    info: MovieInfo
    model: Model
    settings: BuildSettings
    wanted: dict[str, Any]
    cues: tuple[Cue, ...]
    speech: Speech
    run: Run
    notes: Notes


class _Stale(Exception):
    """Why what a .part holds is of no use to this build."""


def _fill(writer: Writer, job: _Job) -> list[tuple[int, int, float]] | None:
    """Store all segments and chapters that the .part doesn't hold yet.

    Returns:
        The pairs of similar segments; None where all is stored, and only the name is missing.
    """
    stored = _take_up(writer, job)
    if writer.is_complete():
        return None
    count = 0
    batch = SegmentBatch(writer, job.model, job.settings, job.speech, job.run)
    with Pictures(writer.path.parent) as pictures:
        with BackgroundIterator(_kept(_cut(job), pictures), AHEAD, name="read") as cuts:
            for count, item in enumerate(job.run.waiting(cuts), start=1):
                if count > len(stored):
                    batch.add(*item)
                    if count % BATCH == 0:
                        batch.store(count)
                elif stored[count - 1] != (item.segment.start, item.segment.end):
                    raise _Stale("the movie's cuts are found elsewhere now")
            batch.store(count)
            job.run.stages["read"] = cuts.seconds
        if count < len(stored) or (len(stored) % BATCH and count > len(stored)):
            raise _Stale("the movie's cuts are found elsewhere now")
        if not count:
            raise InputError(f"{job.movie} has no picture that can be decoded.")
        similar = store_chapters(writer, pictures, job.model, job.settings.codes, job.run)
    _store_subtitles(writer, job)
    return similar


def _store_subtitles(writer: Writer, job: _Job) -> None:
    """Store the cues that begin before the movie's end, which is known now that all of it was read.

    Cues over the end are shortened to it, and spoken in the last segment even where their middle lies behind it.
    """
    start, end = writer.stored()[-1]
    cues = [replace(cue, end=min(cue.end, end)) for cue in job.cues if cue.start < end]
    if behind := len(job.cues) - len(cues):
        logger.warning(
            "%s of the subtitles %s behind the movie's end (%s): are they for another cut?",
            behind,
            "begins" if behind == 1 else "begin",
            clock(end),
        )
    rows = [NewSubtitle(cue.start, cue.end, cue.text) for cue in cues]
    writer.write_subtitles(rows, Speech(cues).within(Segment(start, end)))


def _kept(cuts: Generator[CutSegment, None, object], pictures: Pictures) -> Generator[CutSegment, None, None]:
    """The cuts, each once its frames for the chapters are kept: where they are read, as the model has enough to do."""
    with closing(cuts):
        for item in cuts:
            pictures.add(item.segment, item.clip)
            yield item


def _take_up(writer: Writer, job: _Job) -> list[tuple[float, float]]:
    """(start, end) of the segments that an interrupted build of the same description left."""
    run = job.run
    there = writer.read_meta()
    there.pop("segments", None)
    if there and (differing := differences(there, job.wanted)):
        raise _Stale(f"it was made with another {', '.join(differing)}")
    if there != job.wanted:
        writer.write(meta=job.wanted)
    stored = writer.stored()
    run.segments = run.resumed = len(stored)
    run.done = run.begun = stored[-1][1] if stored else 0.0
    if stored:
        logger.warning("Going on after the %d segments that an interrupted build left.", len(stored))
    run.tell("read")
    return stored


def _cut(job: _Job) -> Generator[CutSegment, None, object]:
    """The movie's segments in order, each with its clip and a picture."""
    vlm, settings = job.model.vlm, job.settings
    sampling, workers = vlm.sampling, coordinator.count_workers()
    is_named = isinstance(settings.detector, str)  # the caller's own detector stays in this process
    if is_named and coordinator.is_worthwhile(job.info, vlm.device.type, workers):
        gpu = choose_gpu(job.info, vlm.device, workers) if settings.reader == "auto" else None
        task = Task(str(job.movie), sampling, settings.segmentation, Resources(coordinator.ROOM, gpu))
        return coordinator.cut_in_parallel(task, workers, notes=job.notes)
    return cut(job.movie, sampling, settings.segmentation, notes=job.notes)
