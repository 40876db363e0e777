"""Files that can't be read get a sentence that says what they are and what to do."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from chunkv2l.errors import InputError
from chunkv2l.video.frame_sampling import FrameSampling
from chunkv2l.video.notes import Notes
from chunkv2l.video.probe import probe
from chunkv2l.video.refusals import count_pages, explain_animation, explain_encryption
from chunkv2l.video.segmentation import cut
from chunkv2l.video.settings import SegmentationSettings
from tests.helpers.media import at, joined, scene, whole, write
from tests.helpers.transport import scramble

FRAMES = joined(scene(number, 50) for number in range(2))
CENC = {
    "encryption_scheme": "cenc-aes-ctr",
    "encryption_key": "00112233445566778899aabbccddeeff",
    "encryption_kid": "00112233445566778899aabbccddeeff",
}


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        probe(path)
    assert str(path) in str(caught.value) and "damaged" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("flags", ["faststart", "frag_keyframe+empty_moov"])
def test_an_encrypted_mp4(tmp_path: Path, flags: str) -> None:
    path = write(tmp_path / "a.mp4", FRAMES, container_options={**CENC, "movflags": flags})
    assert "is encrypted" in refusal(path)


@pytest.fixture(scope="module")
def sounding(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An MP4 with sound."""
    return write(tmp_path_factory.mktemp("movie") / "a.mp4", FRAMES[:25], sound=(0.0, 1.0)).read_bytes()


@pytest.mark.parametrize(
    ("tag", "name"), [(b"avc1", b"drmi"), (b"avc1", b"encv"), (b"mp4a", b"drms"), (b"mp4a", b"enca")]
)
def test_sample_entries_that_are_protected(tmp_path: Path, sounding: bytes, tag: bytes, name: bytes) -> None:
    path = tmp_path / "a.m4v"
    at = sounding.index(tag, sounding.index(b"stsd"))
    path.write_bytes(sounding[:at] + name + sounding[at + 4 :])
    if tag == b"avc1":
        assert "protected by DRM, and can't be read" in refusal(path)
    else:
        assert probe(path).scrambled == (1,)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.mjpeg", b"\n<!DOCTYPE html>\n<html><title>404</title></html>", "is not a movie but a web page (HTML)"),
        ("a.mp4", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "with git lfs pull."),
        ("a.mp4", b"/annex/objects/SHA256E-s9--0.mp4\n", "with git annex get."),
        ("._a.mp4", b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(99), "(AppleDouble): give "),
        ("a.h264", b"PK\3\4\x14\0" + bytes(range(256)), "is not a movie but a ZIP archive: unpack it first"),
        ("a.mp4", b"Rar!\x1a\7\1\0" + bytes(range(256)), "is not a movie but a RAR archive"),
        ("a.mp4", b"\x1f\x8b\x08" + bytes(range(256)), "is not a movie but a file compressed by gzip"),
        ("a.mp4", b"a.mp4".ljust(257, b"\0") + b"ustar\x0000" + bytes(248), "is not a movie but a tar archive"),
        ("a.m4v", bytes(5000), "only zeros where a movie begins"),
        ("a.mp4", b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", "is not a movie but a PDF document"),
        ("a.mp4", b"\0\0\0\x10ftypheic\0\0\0\0\0\0\0\x0cmeta\0\0\0\0", "is not a movie but a still picture (HEIF)"),
        ("a.mp4", b'{"error": "expired \xe2\x80\x93 log in"}', "is not a movie but a text"),
        ("a.srt", b"1\n00:00:01,000 --> 00:00:02,000\nHi\n", "is not a movie but a text"),
    ],
)
def test_other_files(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert words in refusal(path)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("#EXT-X-TARGETDURATION:6\n#EXTINF:6,\na.ts\n#EXT-X-ENDLIST", "only names other files. Get"),
        ('#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://x"\n#EXTINF:6,\na.ts', "its pieces are encrypted"),
        ("#EXT-X-STREAM-INF:BANDWIDTH=1\nlow.m3u8", "only names other files. Get"),
    ],
)
def test_a_playlist(tmp_path: Path, lines: str, words: str) -> None:
    path = tmp_path / "a.m3u8"
    path.write_text(f"#EXTM3U\n{lines}\n")
    assert "not a movie but a playlist" in refusal(path) and words in refusal(path)


def test_a_scrambled_broadcast(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ts", FRAMES)
    path.write_bytes(scramble(path.read_bytes(), 256))
    assert "is encrypted" in refusal(path)


def test_a_scrambled_dvd(tmp_path: Path) -> None:
    path = write(tmp_path / "a.vob", FRAMES, codec="mpeg2video")
    data = bytearray(path.read_bytes())
    at = data.find(b"\0\0\1\xe0")
    while at >= 0:
        data[at + 6] |= 0x30
        end = data.find(b"\0\0\1\xe0", at + 4)
        data[at + 20 : end if end > 0 else len(data)] = bytes(
            byte ^ 0x5A for byte in data[at + 20 : end if end > 0 else len(data)]
        )
        at = end
    path.write_bytes(data)
    assert explain_encryption(path) is not None
    assert "is encrypted" in refusal(path)


@pytest.mark.parametrize("name", ["a.mp4", "a.ts", "a.mkv", "a.vob", "a.wmv"])
def test_what_is_not_encrypted_is_not_called_so(tmp_path: Path, name: str) -> None:
    codec = {"vob": "mpeg2video", "wmv": "wmv2"}.get(name[2:], "libx264")
    path = write(tmp_path / name, FRAMES, codec=codec)
    assert explain_encryption(path) is None and explain_animation(path) is None
    assert probe(path).width == 64


def test_an_animated_webp(tmp_path: Path) -> None:
    pictures = [Image.fromarray(np.full((24, 32, 3), shade, np.uint8)) for shade in (0, 90, 180)]
    pictures[0].save(tmp_path / "a.webp", save_all=True, append_images=pictures[1:], duration=100)
    assert "is an animated WebP" in refusal(tmp_path / "a.webp") and "convert it" in refusal(tmp_path / "a.webp")


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\x8aMNG\r\n\x1a\n" + bytes(200), "MNG animation"),
        (b"CWS\x06" + bytes(200), "Flash animation"),
        (b"ZWS\x0d" + bytes(200), "Flash animation"),
    ],
)
def test_other_animations(tmp_path: Path, head: bytes, name: str) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(head)
    assert name in refusal(path)


def test_animations_that_can_be_decoded_are_movies(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gif", FRAMES[:20], codec="gif", pix_fmt="rgb8")
    assert probe(path).codec == "gif"
    path = write(tmp_path / "a.apng", FRAMES[:20], codec="apng", pix_fmt="rgb24")
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == probe(path).fps * 0.8


@pytest.mark.parametrize(("pages", "order"), [(1, "<"), (10, "<"), (3, ">")])
def test_pages_of_a_tiff_are_counted_and_said(tmp_path: Path, pages: int, order: str) -> None:
    path = tmp_path / "a.tiff"
    pictures = [Image.new("RGB", (64, 48), (20 * page, 80, 80)) for page in range(pages)]
    if order == "<":
        pictures[0].save(path, save_all=True, append_images=pictures[1:])
        notes = Notes(lambda note: None)
        list(cut(path, FrameSampling(at(0.0), whole), SegmentationSettings(), notes=notes))
        said = [note.text for note in notes]
        sentence = "Of the 10 pages of a.tiff only the first is read: make a movie of them first."
        assert said == ([sentence] if pages == 10 else [])
    else:
        directories = b"".join(struct.pack(">HI", 0, 14 + 6 * page) for page in range(pages - 1))
        path.write_bytes(b"MM\0*" + struct.pack(">I", 8) + directories + struct.pack(">HI", 0, 0))
    assert count_pages(path) == pages


@pytest.mark.parametrize("data", [b"", b"II*", b"II*\0\x08\0\0\0\0\0\x08\0\0\0", b"II*\0\xff\xff\xff\xff"])
def test_broken_tiffs_have_a_page(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.tiff"
    path.write_bytes(data)
    assert count_pages(path) == 1
