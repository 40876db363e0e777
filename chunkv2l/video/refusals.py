"""Sentences that say why a file can't be read as a movie, and what to do: told from its first bytes."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, Literal

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
ENCRYPTED_TAGS: Final = frozenset({"encv", "enca", "drmi", "drms"})
"""Names of an MP4's sample entries whose pictures or sound are encrypted."""
_ENTRIES = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")  # the boxes around an MP4's sample entries
_MOST_BOXES = 1000  # that are looked at on a level: a damaged size may point anywhere
_APPLE_FORKS = (b"\x00\x05\x16\x07", b"\x00\x05\x16\x00")
_ARCHIVES = {
    b"PK\x03\x04": "a ZIP archive",
    b"PK\x05\x06": "an empty ZIP archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"\x1f\x8b\x08": "a file compressed by gzip",
    b"BZh": "a file compressed by bzip2",
    b"\xfd7zXZ\x00": "a file compressed by xz",
    b"\x28\xb5\x2f\xfd": "a file compressed by Zstandard",
}
_PICTURES = (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypavif")
_LIST_MARKS = (b"#extm3u", b"ffconcat version", b"<mpd ", b"<smoothstreamingmedia", b"[playlist]", b"c=in ip")
_CONVERT = "convert it to an MP4 or a GIF first, with a tool that reads it"


def explain_encryption(path: Path, stream: Any = None, packet: Any = None) -> str | None:
    """Return a sentence if a file's pictures are encrypted, or None.

    Args:
        stream, packet: its video stream and a packet of it, as PyAV has them, where there are any.
    """
    if (stream is None or stream.codec_context is None) and _has_encrypted_track(path, stream is None):
        return f"{path} is encrypted: it is protected by DRM, and can't be read. Get a copy without DRM."
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
    with path.open("rb") as file:
        names = [name for name, _, _ in _boxes(file, 0, path.stat().st_size)]
    is_picture = b"meta" in names  # of HEIF
    begins = bool(names) and names[0] in (b"ftyp", b"mdat", b"free", b"wide", b"skip")
    return begins and b"moov" not in names and not is_picture


def explain_memory(path: str | Path) -> str:
    """Return a sentence for a movie whose pictures take more memory than they may."""
    return (
        f"{path} takes more memory than it may: its decoder needs too many large pictures. Make a smaller copy first."
    )


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


def explain_other_file(path: Path) -> str | None:
    """Return a sentence if a file is something else that bears a movie's name, or None.

    That is what downloads, copies and version control leave in a movie's place: pages, texts, archives, zeros.
    """
    head = _read_head(path)
    text = head[:4096].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not head.strip(b"\0"):
        return f"{path} has only zeros where a movie begins: a copy or download did not fill it. Get the file anew."
    if head[:4] in _APPLE_FORKS:
        movie = path.name.removeprefix("._")
        advice = f"give {path.with_name(movie)}" if movie != path.name else "give the movie that it was beside"
        return f"{path} is not a movie but what macOS notes about a file (AppleDouble): {advice}."
    if text.startswith(b"version https://git-lfs.github.com/spec/"):
        return f"{path} is not a movie but a Git LFS pointer to it: get the movie with git lfs pull."
    if text.startswith(b"/annex/objects/"):
        return f"{path} is not a movie but a git-annex pointer to it: get the movie with git annex get."
    if text.startswith((b"<!doctype html", b"<html")) or b"<html" in text:
        return (
            f"{path} is not a movie but a web page (HTML): a download brought a page, perhaps of an error or a login. "
            "Look at it in a browser, and download the movie itself."
        )
    if text.startswith((b"d8:announce", b"d13:announce-list")):
        return f"{path} is not a movie but a torrent, which only names a download: get the movie with a tool for that."
    if text.startswith(b"%pdf-"):
        return f"{path} is not a movie but a PDF document: give a movie file."
    if head[4:12] in _PICTURES:
        return f"{path} is not a movie but a still picture (HEIF): give a movie file."
    if archive := next((name for mark, name in _ARCHIVES.items() if head.startswith(mark)), None):
        return f"{path} is not a movie but {archive}: unpack it first, and give the movie that is in it."
    if head[257:262] == b"ustar":
        return f"{path} is not a movie but a tar archive: unpack it first, and give the movie that is in it."
    if _is_text(head[:4096]):
        return (
            f"{path} is not a movie but a text: perhaps the message of a download that failed. "
            "Look at it in an editor, and get the movie itself."
        )
    return None


def _is_text(head: bytes) -> bool:
    """Return whether bytes are UTF-8, perhaps cut off within a letter, without control characters."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return all(letter.isprintable() or letter.isspace() or letter == "\ufeff" for letter in text)


def _boxes(file: IO[bytes], at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield an MP4's boxes between two bytes of its file: (name, first byte of the content, byte behind it)."""
    for _ in range(_MOST_BOXES):
        if at >= end:
            return
        file.seek(at)
        if len(head := file.read(16)) < 8:
            return
        size, begin = int.from_bytes(head[:4], "big"), at + 8
        if size == 1:  # a 64-bit size follows
            size, begin = int.from_bytes(head[8:16], "big"), at + 16
        yield head[4:8], begin, end if size < 8 else min(end, at + size)
        if size < 8:
            return
        at += size


def _sample_entries(file: IO[bytes], at: int, end: int, levels: tuple[bytes, ...] = _ENTRIES) -> Iterator[bytes]:
    """Yield the names of an MP4's sample entries, which say how its tracks are coded."""
    for name, begin, stop in _boxes(file, at, end):
        if not levels:
            yield name
        elif name == levels[0]:
            yield from _sample_entries(file, begin + (8 if name == b"stsd" else 0), stop, levels[1:])


def _has_encrypted_track(path: Path, with_sound: bool) -> bool:
    """Return whether an MP4's pictures, or with `with_sound` its sound, are said to be encrypted."""
    tags = {tag.encode() for tag in ENCRYPTED_TAGS if with_sound or tag in ("encv", "drmi")}
    with path.open("rb") as file:
        return any(name in tags for name in _sample_entries(file, 0, path.stat().st_size))


def _read_head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)


def _has_encrypted_packet(stream: Any, packet: Any) -> bool:
    if packet is not None and packet.has_sidedata("encryption_info"):
        return True
    context = None if stream is None else stream.codec_context
    return context is not None and context.codec_tag in ENCRYPTED_TAGS


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
