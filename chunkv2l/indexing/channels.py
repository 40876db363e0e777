"""Add what is said and written to an index: in a build, or to one that is there (`chunkv2l listen`, `chunkv2l read`).

Each step of a recogniser is stored in one transaction with the state that the next follows from, so that what was
killed goes on from there and ends in the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from chunkv2l.channels.cues import ChannelCue, Source, Word
from chunkv2l.channels.recognition import Recognition
from chunkv2l.errors import InputError
from chunkv2l.files import local_path
from chunkv2l.index.file import IndexFile
from chunkv2l.index.meta import CHANNELS, LISTENING
from chunkv2l.index.writer import Writer
from chunkv2l.indexing.progress import BuildReport, Progress, Run
from chunkv2l.indexing.sentences import store_sentences
from chunkv2l.indexing.settings import BuildSettings
from chunkv2l.screen_text import wants_screen_text
from chunkv2l.speech import choose_recogniser
from chunkv2l.speech.audio import choose_audio_track
from chunkv2l.video.notes import Notes
from chunkv2l.video.probe import MovieInfo, probe

if TYPE_CHECKING:
    from chunkv2l.models.sentence.minilm import Sentences

_EPSILON: Final = 1e-3  # seconds


@dataclass(frozen=True)
class PlannedRecognition:
    """A recogniser that a build runs, not loaded yet.

    Attributes:
        identity: what its choice depends on: recogniser and track.
        is_automatic: nobody asked for this one: another one's cues serve as well.
        prepare: fetches what it needs.
    """

    source: Source
    identity: Mapping[str, Any]
    is_automatic: bool
    prepare: Callable[[], Recognition]

    def is_done(self, channels: object) -> bool:
        """Tell whether an index holds its cues, by the meta value `CHANNELS`."""
        recorded = channels.get(self.source) if isinstance(channels, dict) else None
        if not isinstance(recorded, dict):
            return False
        return self.is_automatic or self.identity.items() <= recorded.items()


def plan_recognitions(info: MovieInfo, settings: BuildSettings, has_subtitles: bool) -> tuple[PlannedRecognition, ...]:
    """Return the recognisers that settings ask for, of those that are installed and have something to recognise.

    Raises:
        InputError: one was named that isn't installed, or an audio stream that isn't there.
    """
    planned: list[PlannedRecognition] = []
    track = None if settings.speech == "off" else choose_audio_track(info.path, settings.audio_track, info.stream)
    name = choose_recogniser(settings.speech, track is not None, has_subtitles)
    if name is not None and track is not None:
        planned.append(_plan_listening(info, settings.speech == "auto", name, settings.audio_track))
    if wants_screen_text(settings.screen_text):
        planned.append(_plan_reading(info))
    return tuple(planned)


def _plan_reading(info: MovieInfo) -> PlannedRecognition:
    from chunkv2l.screen_text.reading import ScreenReading

    return PlannedRecognition("read", {"recogniser": "rapidocr"}, True, lambda: ScreenReading(info))


def _plan_listening(info: MovieInfo, is_automatic: bool, name: str, number: int | None) -> PlannedRecognition:
    from chunkv2l.speech.listening import Listening

    track = choose_audio_track(info.path, number, info.stream)
    assert track is not None
    identity = {"recogniser": Path(name).name if Path(name).is_dir() else name, "track": track.number}
    return PlannedRecognition(
        "heard", identity, is_automatic, lambda: Listening.prepare(info.path, track, name, info.duration)
    )


def store_recognitions(writer: Writer, planned: Iterable[PlannedRecognition], run: Run) -> None:
    """Run recognisers, each from where an interrupted run of it stopped, and store their cues."""
    listening = _read_states(writer)
    for plan in planned:
        if plan.source in listening or not plan.is_done(writer.read_meta().get(CHANNELS)):
            _store_recognition(writer, plan.prepare(), run)
    for source in _read_states(writer):  # of a recogniser that isn't run any more
        writer.drop_cues(source, {LISTENING: _without(_read_states(writer), source)})


def _store_recognition(writer: Writer, recognition: Recognition, run: Run) -> None:
    source, identity = recognition.source, dict(recognition.identity)
    states, (_, end) = _read_states(writer), writer.stored()[-1]
    begun = states.get(source)
    state = None if begun is None else begun["state"]
    if begun is None or begun["identity"] != identity or not (state is None or recognition.is_possible(state, end)):
        begun = {"identity": identity, "state": None, "done": 0.0}
        channels = _without(writer.read_meta().get(CHANNELS, {}), source)
        writer.drop_cues(source, {LISTENING: {**states, source: begun}, CHANNELS: channels})
    tell = run.following(recognition.stage, begun["done"])
    tell(begun["done"])
    with run.clock(recognition.stage):
        for step in recognition.steps(begun["state"]):
            state = {"identity": identity, "state": dict(step.state), "done": round(step.done, 3)}
            cues = [clip_cue(cue, end) for cue in step.cues if cue.start < end]
            writer.write_cues(cues, {LISTENING: {**_read_states(writer), source: state}})
            tell(step.done)
            if step.done >= end:  # sound may go on for hours, and no cue of it is kept
                break
    channels = {**writer.read_meta().get(CHANNELS, {}), source: identity}
    writer.write_cues((), {CHANNELS: channels, LISTENING: _without(_read_states(writer), source)})


def _read_states(writer: Writer) -> dict[Source, dict[str, Any]]:
    states: dict[Source, dict[str, Any]] = writer.read_meta().get(LISTENING, {})
    return states


def _without(values: Mapping[Source, Any], source: Source) -> dict[Source, Any]:
    return {key: value for key, value in values.items() if key != source}


def clip_cue(cue: ChannelCue, end: float) -> ChannelCue:
    """Return a cue that ends with the movie, its words too."""
    if cue.end <= end:
        return cue
    words = tuple(Word(word.start, min(word.end, end), word.text) for word in cue.words if word.start < end)
    return replace(cue, end=end, words=words)


def add_channels(
    index: str | Path,
    movie: str | Path,
    settings: BuildSettings,
    *,
    encoder: Sentences | None = None,
    force: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> BuildReport:
    """Add what is said (`settings.speech`) or written (`settings.screen_text`) to a finished index, or go on with that.

    Args:
        movie: the index's; that it is has been checked.
        encoder: of sentences; None for MiniLM, fetched if it isn't here.
        force: recognise anew what is there.

    Raises:
        InputError: the index or the movie can't be used, or a recogniser can't be had.
        ChunkV2LError: the disk is full or fails.
        KeyboardInterrupt: passed on. After this or any other exception the same call goes on from the last step.
    """
    out, info = local_path(index, "index"), probe(local_path(movie, "movie"))
    planned = plan_recognitions(info, settings, has_subtitles=False)
    if not planned:
        raise InputError(f"{info.path} has no sound to listen to.")
    run, notes = Run(info.duration, progress), Notes()
    with IndexFile(out) as opened:
        run.segments, described = len(opened), dict(opened.meta.movie)
        channels = opened.meta.extra.get(CHANNELS)
    with run.listening():
        if not force and all(plan.is_done(channels) for plan in planned):
            return run.report(out, described, nothing_to_do=True)
        if encoder is None:
            from chunkv2l.models.sentence.minilm import Lazy

            encoder = Lazy()
        return extend_index(out, planned, encoder, run, notes, described, force)


def extend_index(
    out: Path,
    planned: Sequence[PlannedRecognition],
    encoder: Sentences | None,
    run: Run,
    notes: Notes,
    described: dict[str, Any],
    force: bool = False,
) -> BuildReport:
    """Run recognisers over the movie of a finished index and replace it by one that has their cues."""
    with Writer.reopen(out) as writer:
        if force:
            for plan in planned:
                if plan.source not in _read_states(writer):
                    channels = _without(writer.read_meta().get(CHANNELS, {}), plan.source)
                    writer.drop_cues(plan.source, {CHANNELS: channels})
        store_recognitions(writer, planned, run)
        run.tell("sentences")
        with run.clock("sentences"):
            store_sentences(writer, encoder, notes)
        writer.finish_channels([asdict(note) for note in notes])
    return run.report(out, described, tuple(notes))
