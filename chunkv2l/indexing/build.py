"""movie → index: the write path, readable top to bottom.

A thread reads the movie and cuts it into segments; this one encodes a few as they come, and stores each batch in one
transaction. A batch's borders depend on segment numbers only, and nothing about the run enters the file, so a build
that was killed and started again ends in the same rows as one that ran through.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from chunkv2l.channels.cues import ChannelCue
from chunkv2l.defaults import MODELS
from chunkv2l.errors import InputError
from chunkv2l.files import local_path
from chunkv2l.index.file import IndexFile
from chunkv2l.index.meta import CHANNEL_KEYS, CHANNELS, USER_FILES
from chunkv2l.index.schema import MAX_SEGMENTS, part_path
from chunkv2l.index.validation import check_header
from chunkv2l.index.writer import Writer
from chunkv2l.indexing import chapter_codes
from chunkv2l.indexing.allocator import freed_memory_kept
from chunkv2l.indexing.channels import PlannedRecognition, extend_index, plan_recognitions, store_recognitions
from chunkv2l.indexing.chapter_codes import Pictures, store_chapters
from chunkv2l.indexing.progress import BuildReport, Progress, Run
from chunkv2l.indexing.provenance import describe, differences
from chunkv2l.indexing.segments import SegmentBatch
from chunkv2l.indexing.sentences import store_sentences
from chunkv2l.indexing.settings import BuildSettings
from chunkv2l.indexing.uncertain import find_uncertain
from chunkv2l.models import ModelSpec
from chunkv2l.sanitize import plural, quoted
from chunkv2l.timecode import clock
from chunkv2l.video.background import BackgroundIterator
from chunkv2l.video.detectors import Segment
from chunkv2l.video.fingerprint import WHOLE, fingerprint
from chunkv2l.video.notes import Note, Notes
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
LENGTH_TOLERANCE: Final = 0.01
"""Seconds by which the length that a header says may be off before the index says the one that was read."""


def build(
    movie: str | Path,
    out: str | Path | None = None,
    *,
    model: str | Model | LoadedModel = "mini",
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
        model: a name that `load_model` knows, or a loaded model (`load_for_builds`, where many movies are built).
        hypernet, device: for `load_model`.
        settings: how to cut and store; `options` are its fields by name (detector, captions, codes, subtitles …).
        force: build anew, even where `out` is up to date or an interrupted build could be gone on with.
        progress: called before each stage of each batch.

    Raises:
        InputError: the movie can't be used, a setting can't be, or `out` is in use or something else.
        ChunkV2LError: the disk is full or fails.
        KeyboardInterrupt: passed on. After this or any other exception the same call goes on from the last batch.
    """
    settings = replace(settings or BuildSettings(), **options)
    movie = local_path(movie, "movie")
    info = probe(movie, settings.stream)  # errors in the input are reported before any weight is fetched or loaded
    out = movie.with_suffix(".idx") if out is None else Path(out)
    _check_out(out, movie)
    Writer.check_free(out)
    run, notes = Run(info.duration, progress), Notes()
    with run.listening(), freed_memory_kept():
        subtitles = take_subtitles(movie, settings.subtitles, settings.encoding, notes)
        planned = plan_recognitions(info, settings, subtitles is not None)
        with run.clock("load"):
            model, user_files = _load(model, hypernet, device)
        rules = {"batch": BATCH, "chapter_frames": chapter_codes.FRAMES}
        sha256 = subtitles.sha256 if subtitles else None
        description = describe(info, model, settings, rules, user_files, sha256)
        cues = subtitles.cues if subtitles else ()
        job = _Job(movie, info, model, settings, description, cues, Speech(cues), planned, run, notes)
        if not force and out.exists() and (stored := _check_up_to_date(out, description, run)) is not None:
            stored_notes, channels = stored
            missing = [plan for plan in planned if not plan.is_done(channels)]
            if missing:
                return extend_index(out, missing, model.sentences, run, notes, description["movie"])
            logger.warning("%s is up to date with %s: nothing to do.", out, description["movie"]["name"])
            return run.report(out, description["movie"], stored_notes, nothing_to_do=True)
        with Writer(out, anew=force) as writer:
            try:
                similar = _go_on(writer, job)
                _check_unchanged(job)
            except _Changed:
                writer.discard()
                raise
            except InputError:
                if not writer.stored():  # nothing to go on from
                    writer.discard()
                raise
            described = _correct_length(writer, job)
            uncertain = None
            if similar is not None:
                with run.clock("captions") if settings.captions else nullcontext():
                    uncertain = find_uncertain(model, writer.stored_captions())
            with run.clock("write"):
                if similar is None:
                    writer.publish()
                else:
                    writer.finish(similar, [asdict(note) for note in _sort_notes(notes)], uncertain)
        return run.report(out, described, _sort_notes(notes))


def _sort_notes(notes: Iterable[Note]) -> tuple[Note, ...]:
    """Return notes in an order that doesn't depend on which part of the movie was read first."""
    return tuple(sorted(notes, key=lambda note: (note.kind, note.text)))


def _check_out(out: Path, movie: Path) -> None:
    """Refuse to put an index where something else is, --force or not, or where no file of that name can be.

    Raises:
        InputError: says what is in the way.
    """
    if os.path.isdir(out):  # False where no file can have such a name
        raise InputError(
            f"{out} is a folder: name a file in it with -o, such as {out / movie.with_suffix('.idx').name}."
        )
    _check_name(out)
    if not out.parent.is_dir():
        raise InputError(f"There is no folder {out.parent} to put {out.name} into.")
    if out.name.endswith(".part"):
        raise InputError(f"{out} is the name of an unfinished index: choose another -o.")
    if os.path.lexists(out):
        if out.exists() and out.samefile(movie):
            raise InputError(f"The index would replace the movie {movie}: choose another -o.")
        try:
            check_header(out, newer=True)
        except InputError as error:
            raise InputError(f"{str(error).rstrip('.')}, and isn't replaced: choose another -o.") from None


def _check_name(out: Path) -> None:
    """Raise InputError if the system allows no file of this name, or none for the unfinished index and its journal."""
    part = part_path(out)
    for path in (out, part.with_name(f"{part.name}-journal")):
        try:
            os.lstat(path)
        except ValueError as error:
            raise InputError(f"{str(out)!r} can't be the name of an index ({error}): choose another -o.") from None
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                name = quoted(out.name)
                raise InputError(f"The name {name} is too long for this file system: choose a shorter -o.") from None


def _check_up_to_date(out: Path, description: dict[str, Any], run: Run) -> tuple[tuple[Note, ...], object] | None:
    """Return notes and channels of the index that is there, if it is of the same description; else None.

    Raises:
        InputError: it is the index of another movie, or of an earlier state of this one.
    """
    with IndexFile(out) as index:
        recorded, run.segments = index.meta.origin(), len(index)
        notes = tuple(Note(note["kind"], note["text"]) for note in index.meta.notes)
        channels = index.meta.extra.get(CHANNELS)
    differing = differences(recorded, description)
    if "movie" in differing:
        name = recorded["movie"]["name"]
        if name == description["movie"]["name"]:
            raise InputError(f"{name} has changed since {out} was built: build it anew with --force.")
        raise InputError(f"{out} is the index of another movie, {name}: choose another -o, or replace it with --force.")
    if differing:
        logger.warning("%s was built with another %s: building it anew.", out, ", ".join(differing))
        return None
    return notes, channels


class LoadedModel(NamedTuple):
    """A loaded model, and those of `USER_FILES` that the user named by a path."""

    model: Model
    user_files: Sequence[str]


def load_for_builds(model: str, hypernet: str | None = None, device: str = "auto") -> LoadedModel:
    """Load a model once for the builds of many movies; arguments as for `build`.

    Raises:
        InputError: it can't be had.
    """
    return _load(model, hypernet, device)


def _load(model: str | Model | LoadedModel, hypernet: str | None, device: str) -> LoadedModel:
    """Return the model, loaded; of one that was handed in loaded, no file of the user's is known."""
    if isinstance(model, LoadedModel):
        return model
    if not isinstance(model, str):
        return LoadedModel(model, [])
    from chunkv2l.models import load_model

    spec = ModelSpec(model, hypernet, device)
    is_folder = model not in MODELS and Path(model).is_dir()
    given = zip(USER_FILES, (is_folder, hypernet is not None), strict=True)
    return LoadedModel(load_model(spec), [name for name, is_given in given if is_given])


def _check_unchanged(job: _Job) -> None:
    """Raise `_Changed` if the movie's file was written to while it was read."""
    before = job.description["movie"]
    if not job.info.has_changed():
        return
    try:
        now = fingerprint(job.movie)
    except OSError:
        now = {"size": 0}
    is_same = {name: before[name] for name in now} == now
    if is_same and now["size"] <= WHOLE:
        return  # it was touched, its content is the same
    if is_same and job.movie.stat().st_mtime_ns == job.info.modified:
        job.notes.add(
            "file",
            f"{job.movie.name} was renamed, linked or changed while it was read. What was compared of it is the same; "
            "build its index anew with --force if you have edited it.",
        )
        return
    raise _Changed(
        f"{job.movie} has changed while it was read ({before['size']:,} bytes then, {now['size']:,} now): "
        "build its index again when it is complete."
    )


def _correct_length(writer: Writer, job: _Job) -> dict[str, Any]:
    """Store the length that was read where the header's is off. Returns the movie's description."""
    described: dict[str, Any] = job.description["movie"]
    _, end = writer.stored()[-1]
    if abs(end - job.info.duration) > LENGTH_TOLERANCE:
        described = {**described, "duration": end}
        writer.write(meta={"movie": described})
    return described


@dataclass(frozen=True)
class _Job:
    """The input of one build: movie, model, settings, and what the index records of them."""

    movie: Path
    info: MovieInfo
    model: Model
    settings: BuildSettings
    description: dict[str, Any]
    cues: tuple[Cue, ...]
    speech: Speech
    planned: tuple[PlannedRecognition, ...]
    run: Run
    notes: Notes


class _Changed(InputError):
    """The movie's file was written to while it was read: nothing that was stored is of use."""


class _Stale(Exception):
    """The .part is of no use to this build; the message says why."""


def _go_on(writer: Writer, job: _Job) -> list[tuple[int, int, float]] | None:
    """Go on with what the .part holds, or start over where that can't be; as `_fill`."""
    try:
        return _fill(writer, job)
    except _Stale as stale:
        logger.warning("%s can't be gone on with (%s): starting over.", writer.path, stale)
        writer.start_over()
        return _fill(writer, job)


def _fill(writer: Writer, job: _Job) -> list[tuple[int, int, float]] | None:
    """Store all segments and chapters that the .part doesn't hold yet.

    Returns:
        The pairs of similar segments; None where all is stored, and only the name is missing.
    """
    stored = _resume(writer, job)
    if writer.is_complete():
        return None
    count = 0
    batch = SegmentBatch(writer, job.model, job.settings, job.speech, job.run)
    with Pictures(writer.path.parent) as pictures:
        with BackgroundIterator(_keep_pictures(_cut(job), pictures), AHEAD, name="read") as segments:
            for count, item in enumerate(job.run.waiting(segments), start=1):
                if count > MAX_SEGMENTS:
                    raise InputError(
                        f"{job.movie} is cut into more than {MAX_SEGMENTS} segments: choose a longer --min-length."
                    )
                if count > len(stored):
                    batch.add(*item)
                    if count % BATCH == 0:
                        if job.info.has_another_size():  # a recording that goes on may have no end
                            _check_unchanged(job)
                        batch.store(count)
                elif stored[count - 1] != (item.segment.start, item.segment.end):
                    raise _Stale("the movie's cuts are found elsewhere now")
            batch.store(count)
            job.run.stages["read"] = segments.seconds
        if count < len(stored) or (len(stored) % BATCH and count > len(stored)):
            raise _Stale("the movie's cuts are found elsewhere now")
        if not count:
            raise InputError(f"{job.movie} has no picture that can be decoded.")
        similar = store_chapters(writer, pictures, job.model, job.settings.codes, job.run)
    _store_subtitles(writer, job)
    store_recognitions(writer, job.planned, job.run)
    if writer.cues():
        job.run.tell("sentences")
        with job.run.clock("sentences"):
            store_sentences(writer, job.model.sentences, job.notes)
    return similar


def _store_subtitles(writer: Writer, job: _Job) -> None:
    """Store the cues that begin before the movie's end, which is known now that all of it was read.

    Cues over the end are shortened to it, and spoken in the last segment even where their middle lies behind it.
    """
    _check_speech(writer, job)
    start, end = writer.stored()[-1]
    cues = [replace(cue, end=min(cue.end, end)) for cue in job.cues if cue.start < end]
    if behind := len(job.cues) - len(cues):
        begin = "begins" if behind == 1 else "begin"
        text = f"{behind} of the subtitles {begin} behind the movie's end ({clock(end)}): are they for another cut?"
        job.notes.add("subtitles", text)
    given = [ChannelCue(cue.start, cue.end, cue.text, "given") for cue in cues]
    writer.write_given(given, Speech(cues).within(Segment(start, end)))


def _check_speech(writer: Writer, job: _Job) -> None:
    """Raise _Stale if the stored segments say what the subtitles don't.

    The last one is left out: it may also have what is said over the movie's end.
    """
    expected = [job.speech.within(Segment(start, end)) for start, end in writer.stored()]
    if writer.stored_speech()[:-1] != expected[:-1]:
        raise _Stale("the subtitles don't say what it has")


def _keep_pictures(
    segments: Generator[CutSegment, None, object], pictures: Pictures
) -> Generator[CutSegment, None, None]:
    """Yield the segments, each once its frames for the chapters are kept.

    That is done in the thread that reads, as the model has enough to do.
    """
    with closing(segments):
        for item in segments:
            pictures.add(item.segment, item.clip)
            yield item


def _resume(writer: Writer, job: _Job) -> list[tuple[float, float]]:
    """Return (start, end) of the segments that an interrupted build of the same description left.

    Raises:
        _Stale: it was of another description, or speech is stored that the subtitles don't have.
    """
    run = job.run
    recorded = writer.read_meta()
    for name in ("segments", "notes", *CHANNEL_KEYS):
        recorded.pop(name, None)
    if recorded and (differing := differences(recorded, job.description)):
        raise _Stale(f"it was made with another {', '.join(differing)}")
    if recorded != job.description:
        writer.write(meta=job.description)
    stored = writer.stored()
    _check_speech(writer, job)
    run.segments = run.resumed = len(stored)
    run.done = run.begun = stored[-1][1] if stored else 0.0
    if stored:
        logger.warning("Going on after the %s that an interrupted build left.", plural(len(stored), "segment"))
    run.tell("read")
    return stored


def _cut(job: _Job) -> Generator[CutSegment, None, object]:
    """Read the movie and yield its segments in order, each with its clip and a picture."""
    vlm, settings = job.model.vlm, job.settings
    sampling, workers = vlm.sampling, coordinator.count_workers()
    is_long = coordinator.is_worthwhile(job.info, vlm.device.type, workers)
    is_large = coordinator.needs_limits(job.info)
    is_named = isinstance(settings.detector, str)  # the caller's own detector stays in this process
    if is_named and (is_long or is_large):
        gpu = choose_gpu(job.info, vlm.device, workers) if is_long and settings.reader == "auto" else None
        resources = Resources(coordinator.LIMITED_ROOM if is_large else coordinator.ROOM, gpu)
        task = Task(str(job.movie), sampling, settings.segmentation, resources)
        length = None if is_long else job.info.duration
        return coordinator.cut_in_parallel(task, workers if is_long else 1, notes=job.notes, length=length)
    return cut(job.movie, sampling, settings.segmentation, notes=job.notes)
