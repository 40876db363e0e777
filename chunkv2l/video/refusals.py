"""Sentences that say why a file can't be read as a movie, and what to do: told from its first bytes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final, Literal

from chunkv2l.video.transport_stream import find_scrambled

MOST_PAGES: Final = 1000
"""Pages of a TIFF file that are counted."""
_HEAD = 1 << 20  # bytes that are looked through
_PACK_HEADER = b"\x00\x00\x01\xba"  # begins a MPEG program stream
_VIDEO_PES = bytes([0, 0, 1, 0xE0])
_ASF_ENCRYPTION = (  # GUIDs of the content encryption object and of the extended one
    bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e"),
    bytes.fromhex("14e68a292226174cb935dae07ee9289c"),
)
_ENCRYPTED_TAGS = {"encv", "drmi", "drms"}  # of MP4 sample entries
_LIST_MARKS = (b"#extm3u", b"ffconcat version", b"<mpd ", b"<smoothstreamingmedia", b"[playlist]", b"c=in ip")
_CONVERT = "convert it to an MP4 or a GIF first, with a tool that reads it"


def explain_encryption(path: Path, stream: Any = None, packet: Any = None) -> str | None:
    """Return a sentence if a file's pictures are encrypted, or None.

    Args:
        stream, packet: its video stream and a packet of it, as PyAV has them, where there are any.
    """
    if _has_encrypted_packet(stream, packet) or _has_encrypted_head(path, stream):
        return (
            f"{path} is encrypted (DRM or a scrambled broadcast): without its key its pictures can't be decoded. "
            "Get a copy without encryption."
        )
    return None


def explain_animation(path: Path) -> str | None:
    """Return a sentence if a file is an animation of a kind that the FFmpeg inside PyAV doesn't decode, or None."""
    head = _read_head(path)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP" and (b"ANIM" in head[12:64] or b"ANMF" in head):
        return f"{path} is an animated WebP, which the FFmpeg inside PyAV can't decode: {_CONVERT}."
    if head[:8] == b"\x8aMNG\r\n\x1a\n":
        return f"{path} is an MNG animation, which the FFmpeg inside PyAV can't decode: {_CONVERT}."
    if head[:3] in (b"FWS", b"CWS", b"ZWS"):
        return f"{path} is a Flash animation (SWF), not a movie: record it as a movie first."
    if head[4:12] == b"ftypavis":
        return f"{path} is an animated AVIF, of which the FFmpeg inside PyAV can't decode a picture: {_CONVERT}."
    if head[:12] == b"\x00\x00\x00\x0cJXL \r\n\x87\n" or head[:2] == b"\xff\x0a":
        return f"{path} is a JPEG XL picture, which the FFmpeg inside PyAV can't decode: {_CONVERT}."
    return None


def count_pages(path: Path) -> int:
    """Return the number of pages of a TIFF file, up to `MOST_PAGES`; 1 for any other file."""
    with path.open("rb") as file:
        head = file.read(8)
        if head[:4] not in (b"II*\0", b"MM\0*"):
            return 1
        order: Literal["little", "big"] = "little" if head[:2] == b"II" else "big"
        places: list[int] = []
        at = int.from_bytes(head[4:8], order)
        while at and at not in places and len(places) < MOST_PAGES:
            places.append(at)
            file.seek(at)
            file.seek(12 * int.from_bytes(file.read(2), order), os.SEEK_CUR)  # the page's entries
            at = int.from_bytes(file.read(4), order)
    return max(1, len(places))


def lacks_index(path: Path) -> bool:
    """Return whether this is an MP4 or QuickTime file without a `moov` box, its table of contents."""
    names: list[bytes] = []
    at, end = 0, path.stat().st_size
    with path.open("rb") as file:
        while at < end and len(names) < 1000:  # a damaged size may point anywhere
            file.seek(at)
            if len(head := file.read(16)) < 8:
                break
            size, name = int.from_bytes(head[:4], "big"), head[4:8]
            if size == 1:  # a 64-bit size follows
                size = int.from_bytes(head[8:16], "big")
            names.append(name)
            if size < 8:
                break
            at += size
    return bool(names) and names[0] in (b"ftyp", b"mdat", b"free", b"wide", b"skip") and b"moov" not in names


def explain_list(path: Path) -> str | None:
    """Return a sentence if a file is a playlist, which names other files to be read, or None."""
    if not looks_like_list(path):
        return None
    head = _read_head(path).lower()
    is_encrypted = (b"#ext-x-key" in head and b"method=none" not in head) or b"contentprotection" in head
    encrypted = ", and its pieces are encrypted (DRM)" if is_encrypted else ""
    return (
        f"{path} is not a movie but a playlist: it only names other files{encrypted}. Get the stream as one file first."
    )


def looks_like_list(path: Path) -> bool:
    """Return whether a file's beginning has the mark of a playlist: a text that names other files to be read."""
    head = _read_head(path).lower()
    return any(mark in head for mark in _LIST_MARKS)


def _read_head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)


def _has_encrypted_packet(stream: Any, packet: Any) -> bool:
    if packet is not None and packet.has_sidedata("encryption_info"):
        return True
    context = None if stream is None else stream.codec_context
    return context is not None and context.codec_tag in _ENCRYPTED_TAGS


def _has_encrypted_head(path: Path, stream: Any) -> bool:
    head = _read_head(path)
    if head[:16] == bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"):  # ASF: Windows Media
        return any(guid in head[:65536] for guid in _ASF_ENCRYPTION)
    if head.startswith(_PACK_HEADER):
        return _is_scrambled_program_stream(head)
    scrambled = find_scrambled(path)  # of a broadcast
    return bool(scrambled) if stream is None else stream.id in scrambled


def _is_scrambled_program_stream(head: bytes) -> bool:
    """Return whether most packets of pictures in a DVD's stream carry the scrambling flag."""
    flags = []
    at = head.find(_VIDEO_PES)
    while 0 <= at < len(head) - 7:
        if head[at + 6] & 0xC0 == 0x80:  # a MPEG-2 packet header
            flags.append(bool(head[at + 6] & 0x30))
        at = head.find(_VIDEO_PES, at + 4)
    return _are_mostly_set(flags)


def _are_mostly_set(flags: list[bool]) -> bool:
    return len(flags) >= 2 and sum(flags) > len(flags) / 2
