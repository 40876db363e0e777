"""movie → index: the write path, readable top to bottom.

A thread reads the movie and cuts it into segments; this one encodes them, batch by batch, and stores each batch in one
transaction. A batch's borders depend on segment numbers only, and nothing about the run enters the file, so a build
that was killed and started again ends in the same rows as one that ran through.
"""

from __future__ import annotations

import copy
import hashlib
import io
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from numpy import uint8
from numpy.typing import NDArray
from PIL import Image

from chunkv2l import codes as packing
from chunkv2l.adapter import concat
from chunkv2l.checks import check_header
from chunkv2l.errors import InputError
from chunkv2l.frames import Clip, MovieInfo, probe
from chunkv2l.index import IndexFile
from chunkv2l.prefetch import Prefetch
from chunkv2l.settings import BuildSettings
from chunkv2l.store import NewSegment, Writer

if TYPE_CHECKING:
    from chunkv2l.models import Model
    from chunkv2l.scenes import Segment

    Cut = tuple[Segment, Clip, NDArray[uint8]]

logger = logging.getLogger(__name__)

BATCH: Final = 8  # segments encoded together and stored in one transaction
AHEAD: Final = 4  # segments read ahead of the model
CAPTION_TOKENS: Final = 40
WHOLE: Final = 64 << 20  # bytes: larger movies are fingerprinted by samples
SAMPLES: Final = 64
SAMPLE: Final = 256 << 10  # bytes


@dataclass(frozen=True)
class Progress:
    """How far a build is.

    Attributes:
        stage: what comes next: "read", "encode", "captions", "write", "done".
        done, total: seconds of the movie.
        segments: stored so far.
        realtime: seconds of movie a second of this run; 0 before the first batch.
        eta: seconds left at that speed; None before the first batch.
    """

    stage: str
    done: float
    total: float
    segments: int
    realtime: float = 0.0
    eta: float | None = None


@dataclass(frozen=True)
class BuildReport:
    """What a build did. Times are here and not in the index, which stays the same whoever builds it when.

    Attributes:
        index: the finished index.
        movie: name, duration and so on, as the index's meta has them.
        segments: how many there are.
        resumed: how many of them an interrupted build had left.
        nothing_to_do: the index was there already, of this movie, model and settings.
        seconds: of the whole call.
        stages: seconds of each stage: load, read (decoding and detecting; overlaps with the others), encode, hypernet,
            captions, write.
        realtime: per stage, and "total": seconds of movie (what this run did of it) a second.
        index_bytes: of the file.
        code_bytes: of one segment's code.
        notices: sentences that were logged.
    """

    index: Path
    movie: dict[str, Any]
    segments: int
    resumed: int
    nothing_to_do: bool
    seconds: float
    stages: dict[str, float]
    realtime: dict[str, float]
    index_bytes: int
    code_bytes: int
    notices: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As `chunkv2l build --json` prints it."""
        return {**asdict(self), "index": str(self.index)}


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

    Args:
        movie: a video file.
        out: the index; the movie's name with `.idx` if not given. `OUT.part` holds what is done until it is whole.
        model: a name that `load_model` knows, or a loaded model.
        hypernet, device: for `load_model`.
        settings: how to cut and store; `options` are its fields by name (detector, captions, codes, reader …).
        force: build anew even where `out` is up to date, or is another movie's.
        progress: called before each stage of each batch, and at the end.

    Raises:
        InputError: the movie can't be used; `out` is in use, or holds something else.
        ChunkV2LError: the disk is full or fails.
        KeyboardInterrupt: passed on; the .part can be resumed, as after any other exception.
    """
    started = time.perf_counter()
    settings = replace(settings or BuildSettings(), **options)
    movie = Path(movie)
    out = movie.with_suffix(".idx") if out is None else Path(out)
    info = probe(movie)  # bad input is told before any weight is fetched or loaded
    _check_out(out, movie)
    run = _Run(out, settings, info.duration, progress or (lambda _: None))
    with run.clock("load"):
        model = _load(model, hypernet, device)
    wanted = describe(movie, info, model, settings)
    if not force and (done := _existing(out, wanted, run)):
        return replace(done, seconds=time.perf_counter() - started)
    with Writer(out) as writer:
        try:
            _fill(writer, movie, model, wanted, run)
        except _Stale as stale:
            run.notice(f"{writer.path} can't be resumed ({stale}): starting over.")
            writer.start_over()
            _fill(writer, movie, model, wanted, run)
        with run.clock("write"):
            writer.finish()
    return run.report(wanted, time.perf_counter() - started)


def describe(movie: Path, info: MovieInfo, model: Model, settings: BuildSettings) -> dict[str, Any]:
    """What the index's meta says of its origin; two builds of equal descriptions make equal rows."""
    config = model.hypernet.config
    return {
        "movie": {
            "name": movie.name,
            **fingerprint(movie),
            "duration": info.duration,
            "fps": info.fps,
            "width": info.width,
            "height": info.height,
        },
        "model": model.name,
        "identity": dict(model.identity),
        "settings": {**settings.to_meta(), "batch": BATCH},
        "code_shape": [config.num_layers, config.rank, config.latent_size],
    }


def fingerprint(movie: Path) -> dict[str, Any]:
    """Size in bytes and SHA-256 of a movie's content.

    Up to 64 MiB the whole file is hashed; of a larger one 64 evenly spread blocks of 256 KiB, the first and last bytes
    included: an edit or a new encoding changes all of them, and an eight-hour file costs no second pass over the disk.
    """
    size = movie.stat().st_size
    digest = hashlib.sha256()
    with movie.open("rb") as file:
        if size <= WHOLE:
            while block := file.read(1 << 20):
                digest.update(block)
        else:
            for i in range(SAMPLES):
                file.seek((size - SAMPLE) * i // (SAMPLES - 1))
                digest.update(file.read(SAMPLE))
    return {"size": size, "sha256": digest.hexdigest()}


# ---- what is there already


def _check_out(out: Path, movie: Path) -> None:
    """Refuse to put an index where something else is, --force or not."""
    if not out.parent.is_dir():
        raise InputError(f"There is no folder {out.parent} to put {out.name} into.")
    if out.exists():
        if out.samefile(movie):
            raise InputError(f"The index would replace the movie {movie}: choose another -o.")
        try:
            check_header(out, newer=True)
        except InputError as error:
            raise InputError(f"{error} It isn't replaced: choose another -o.") from None


def _existing(out: Path, wanted: dict[str, Any], run: _Run) -> BuildReport | None:
    """The report if the index is there and up to date, None if it is to be built."""
    if not out.exists():
        return None
    with IndexFile(out) as index:
        there = index.meta.origin()
        if there["movie"]["sha256"] != wanted["movie"]["sha256"]:
            raise InputError(
                f"{out} is the index of another movie, {there['movie']['name']}: "
                f"choose another -o, or replace it with --force."
            )
        differing = _differences(there, wanted)
        if differing:
            run.notice(f"{out} was built with another {', '.join(differing)}: building it anew.")
            return None
        run.notice(f"{out} is up to date with {wanted['movie']['name']}: nothing to do.")
        return replace(run.report(wanted, 0.0), segments=len(index), nothing_to_do=True)


def _differences(there: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """In what two descriptions differ, by name; a movie may be renamed."""
    pairs: list[tuple[str, Any, Any]] = []
    for key in there.keys() | wanted.keys():
        mine, theirs = wanted.get(key), there.get(key)
        if isinstance(mine, dict) and isinstance(theirs, dict):
            names = (mine.keys() | theirs.keys()) - ({"name"} if key == "movie" else set())
            pairs += [(name.replace("_", " "), mine.get(name), theirs.get(name)) for name in names]
        else:
            pairs.append((key.replace("_", " "), mine, theirs))
    return sorted({name for name, mine, theirs in pairs if mine != theirs})


# ---- segment after segment


class _Stale(Exception):
    """Why what a .part holds is of no use to this build."""


def _fill(writer: Writer, movie: Path, model: Model, wanted: dict[str, Any], run: _Run) -> None:
    """Store all segments that the .part doesn't hold yet."""
    there = writer.read_meta()
    there.pop("segments", None)
    if there and (differing := _differences(there, wanted)):
        raise _Stale(f"it was made with another {', '.join(differing)}")
    if there != wanted:
        writer.write(meta=wanted)
    stored = writer.stored()
    run.resumed = run.segments = len(stored)
    if stored:
        run.notice(f"Going on after the {len(stored)} segments that an interrupted build left.")
        run.done = run.begun = stored[-1][1]
    run.tell("read")
    count = 0
    batch: list[Cut] = []
    with Prefetch(_cut(movie, model, run.settings), AHEAD) as cuts:
        for count, item in enumerate(cuts, start=1):
            if count <= len(stored):
                _check_same(stored[count - 1], item[0])
                continue
            batch.append(item)
            if count % BATCH == 0:
                _store(writer, count - len(batch), batch, model, run)
                batch = []
        if batch:
            _store(writer, count - len(batch), batch, model, run)
        run.stages["read"] = cuts.seconds
    if count < len(stored):
        raise _Stale("the movie's cuts are found elsewhere now")
    if not count:
        raise InputError(f"{movie} has no frame that can be decoded.")


def _check_same(stored: tuple[float, float], segment: Segment) -> None:
    if stored != (segment.start, segment.end):
        raise _Stale("the movie's cuts are found elsewhere now")


def _cut(movie: Path, model: Model, settings: BuildSettings) -> Iterator[Cut]:
    """The movie's segments in order, each with its clip and a picture."""
    from chunkv2l.cutting import cut

    return iter(
        cut(
            movie,
            model.vlm.sample_times,
            model.vlm.shrink,
            detector=copy.deepcopy(settings.detector),  # a detector remembers; a second pass needs a fresh one
            reader=settings.reader,
            min_length=settings.min_length,
            max_length=settings.max_length,
        )
    )


def _store(writer: Writer, first: int, batch: list[Cut], model: Model, run: _Run) -> None:
    """One batch, from clips to a committed transaction."""
    segments = [segment for segment, _, _ in batch]
    run.tell("encode")
    with run.clock("encode"), torch.inference_mode():
        states, mask = model.vlm.encode([clip for _, clip, _ in batch])
    with run.clock("hypernet"), torch.inference_mode():
        codes = model.hypernet.encode(states, mask)
        blobs = [packing.to_bytes(code, run.settings.codes) for code in codes]
    captions = [""] * len(batch)
    if run.settings.captions:
        run.tell("captions")
        with run.clock("captions"), torch.inference_mode():
            captions = write_captions(model, blobs)
    run.tell("write")
    with run.clock("write"):
        rows = [
            NewSegment(segment.start, segment.end, caption, blob, to_jpeg(picture))
            for segment, caption, blob, (_, _, picture) in zip(segments, captions, blobs, batch, strict=True)
        ]
        writer.write(first, rows)
    run.segments, run.done, run.code_bytes = first + len(batch), segments[-1].end, len(blobs[0])
    run.tell("read")


def write_captions(model: Model, blobs: list[bytes]) -> list[str]:
    """What each segment's own adapter, as it is stored, makes the frozen model say about it."""
    codes = torch.stack([packing.from_bytes(blob) for blob in blobs])
    adapters = model.hypernet.expand(codes.to(model.vlm.device))
    adapters = concat([adapters], bias=model.hypernet.bias)
    questions = [model.vlm.caption_question] * len(blobs)
    return [" ".join(text.split()) for text in model.vlm.generate(questions, adapters, max_new_tokens=CAPTION_TOKENS)]


def to_jpeg(picture: NDArray[uint8]) -> bytes:
    """An RGB picture uint8 [H, W, 3] as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(picture, mode="RGB").save(buffer, format="JPEG", quality=80)
    return buffer.getvalue()


class _Run:
    """The clock and counters of one call of `build`."""

    def __init__(
        self, out: Path, settings: BuildSettings, duration: float, progress: Callable[[Progress], None]
    ) -> None:
        self.out, self.settings, self.duration, self.progress = out, settings, duration, progress
        self.stages: dict[str, float] = {}
        self.notices: list[str] = []
        self.segments = self.resumed = self.code_bytes = 0
        self.done = self.begun = 0.0  # seconds of the movie: stored, and stored before this run
        self.started: float | None = None

    def notice(self, sentence: str) -> None:
        self.notices.append(sentence)
        logger.warning(sentence)

    @contextmanager
    def clock(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.stages[stage] = self.stages.get(stage, 0.0) + time.perf_counter() - started

    def tell(self, stage: str) -> None:
        now = time.perf_counter()
        self.started = self.started or now
        elapsed, made = now - self.started, self.done - self.begun
        realtime = made / elapsed if made > 0 and elapsed > 0 else 0.0
        eta = max(0.0, self.duration - self.done) / realtime if realtime else None
        self.progress(Progress(stage, self.done, max(self.duration, self.done), self.segments, realtime, eta))

    def report(self, wanted: dict[str, Any], seconds: float) -> BuildReport:
        made = self.done - self.begun
        times = {**self.stages, "total": seconds}
        return BuildReport(
            index=self.out,
            movie=wanted["movie"],
            segments=self.segments,
            resumed=self.resumed,
            nothing_to_do=False,
            seconds=seconds,
            stages=dict(self.stages),
            realtime={name: made / spent for name, spent in times.items() if spent > 0 and name != "load"},
            index_bytes=self.out.stat().st_size,
            code_bytes=self.code_bytes,
            notices=tuple(self.notices),
        )


def _load(model: str | Model, hypernet: str | None, device: str) -> Model:
    if not isinstance(model, str):
        return model
    from chunkv2l.models import load_model

    return load_model(model, hypernet=hypernet, device=device)
