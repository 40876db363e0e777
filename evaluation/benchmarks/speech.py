"""Measure speech recognition: word error rate and speed, on clips with transcripts or on a movie.

    python -m evaluation speech                        # LibriVox clips of Debian's pocketsphinx-testdata
    python -m evaluation speech --movie vlog.mp4       # speed alone

WER: words that are wrong, missing or too many, by the least of edits, over the transcripts' words; case,
punctuation and hyphens don't count, and "mr" is "mister". Speed: seconds of sound a second, by the clock and by CPU
time, decoding and voice detection included; clips are joined, with half a second of silence between them.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Final

import av
import click
import numpy as np

from chunkv2l.defaults import RECOGNISERS
from chunkv2l.errors import InputError
from chunkv2l.speech import fetch_recogniser
from chunkv2l.speech.audio import RATE, Samples, choose_audio_track, read_samples
from chunkv2l.speech.listening import listen
from chunkv2l.speech.recogniser import Whisper
from chunkv2l.video.container import open_container
from chunkv2l.video.probe import probe
from evaluation.common import results
from evaluation.common.options import json_option, out_option
from evaluation.common.table import markdown

LIBRIVOX: Final = "/usr/share/pocketsphinx/test/data/librivox"
"""Clips with a file of transcripts, from Debian's package pocketsphinx-testdata."""
PAUSE: Final = RATE // 2
"""Samples of silence between clips."""
_LINE = re.compile(r"(?P<text>.*)\((?P<name>[^()]+)\)\s*$")
_SAME: Final = {"mr": "mister", "mrs": "missus", "dr": "doctor"}


@dataclass(frozen=True)
class TranscribedClip:
    """A clip's sound, 16 kHz, and the words that are said in it."""

    samples: Samples
    words: tuple[str, ...]


def normalise(text: str) -> list[str]:
    """Return a text's words as they are compared."""
    words = re.findall(r"[a-z0-9']+", re.sub(r"</?s>", " ", text.lower()).replace("-", " "))
    return [_SAME.get(word, word) for word in words]


def count_errors(reference: Sequence[str], words: Sequence[str]) -> int:
    """Return the least number of words to put in, take out or replace."""
    row = list(range(len(words) + 1))
    for i, expected in enumerate(reference, 1):
        diagonal, row[0] = row[0], i
        for j, word in enumerate(words, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (expected != word))
    return row[-1]


def read_clips(folder: Path) -> list[TranscribedClip]:
    """Return the clips of a folder: NAME.wav, and `transcription` with lines "words (NAME)".

    Raises:
        InputError: there is no such file, or no clip in it.
    """
    path = folder / "transcription"
    if not path.is_file():
        raise InputError(f"There is no {path}: install pocketsphinx-testdata, or name a folder of clips with --clips.")
    clips = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := _LINE.match(line):
            samples = _read_wave(folder / f"{match['name']}.wav")
            clips.append(TranscribedClip(samples, tuple(normalise(match["text"]))))
    if not clips:
        raise InputError(f"{path} has no line with a transcript and a clip's name.")
    return clips


def _read_wave(path: Path) -> Samples:
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    with open_container(path) as container:
        frames = (piece for frame in container.decode(audio=0) for piece in resampler.resample(frame))
        return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float32)


def measure_clips(recogniser: Whisper, clips: Sequence[TranscribedClip]) -> tuple[int, int]:
    """Return the number of errors, and of words, of clips recognised one by one."""
    errors = 0
    for clip in clips:
        text = " ".join(cue.text for cue in recogniser.recognise(clip.samples, 0.0, "").cues)
        errors += count_errors(clip.words, normalise(text))
    return errors, sum(len(clip.words) for clip in clips)


def measure_speed(recogniser: Whisper, samples: Samples, rounds: int) -> dict[str, float]:
    """Return seconds of sound a second, by the clock and by CPU time: medians over rounds."""
    seconds = len(samples) / RATE
    walls, cpus = [], []
    for _ in range(rounds):
        wall, cpu = perf_counter(), process_time()
        blocks = (samples[first : first + RATE] for first in range(0, len(samples), RATE))
        for _ in listen(blocks, recogniser):
            pass
        walls.append(perf_counter() - wall)
        cpus.append(process_time() - cpu)
    return {
        "seconds": round(seconds, 2),
        "real_time_factor": round(seconds / statistics.median(walls), 2),
        "real_time_factor_cpu": round(seconds / statistics.median(cpus), 2),
    }


@click.command("speech")
@click.option("--clips", type=click.Path(path_type=Path), default=LIBRIVOX, show_default=True, help="Folder of clips.")
@click.option("--movie", type=click.Path(path_type=Path), help="A movie whose sound is timed, instead of the clips'.")
@click.option("--recogniser", "names", multiple=True, default=RECOGNISERS, show_default=True, help="May be repeated.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@out_option
@json_option
def command(clips: Path, movie: Path | None, names: Sequence[str], rounds: int, out: Path, as_json: bool) -> None:
    """Measure word error rate and speed of speech recognition."""
    figures: dict[str, dict[str, float | int]] = {}
    transcribed = read_clips(clips) if movie is None else []
    samples = _join(transcribed) if movie is None else _read_movie(movie)
    for name in names:
        recogniser = Whisper(fetch_recogniser(name))
        row: dict[str, float | int] = dict(measure_speed(recogniser, samples, rounds))
        if transcribed:
            errors, words = measure_clips(recogniser, transcribed)
            row |= {"errors": errors, "words": words, "WER": round(errors / words, 4)}
        figures[name] = row
    columns = list(dict.fromkeys(key for row in figures.values() for key in row))
    table = markdown(
        ["recogniser", *columns], [[name, *(str(row.get(key, "")) for key in columns)] for name, row in figures.items()]
    )
    results.write("speech", figures, table, out=out)
    click.echo(json.dumps(figures, indent=1) if as_json else table)


def _join(clips: Sequence[TranscribedClip]) -> Samples:
    silence = np.zeros(PAUSE, np.float32)
    return np.concatenate([part for clip in clips for part in (clip.samples, silence)])


def _read_movie(movie: Path) -> Samples:
    track = choose_audio_track(movie)
    if track is None:
        raise InputError(f"{movie} has no sound.")
    return np.concatenate(list(read_samples(movie, track, probe(movie).duration)))
