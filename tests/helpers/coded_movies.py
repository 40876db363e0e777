"""H.264 written bit by bit: grey pictures of any size that take a few bytes each, and any number of references."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

_MAIN = 77  # the profile
_COUNTED = 8  # bits of a picture's number, and of its place in order
_WAITING = 16  # pictures for which a decoder waits before it shows one, as the header says


class _Bits:
    """The bits of one unit, as H.264 writes them."""

    def __init__(self) -> None:
        self._digits: list[str] = []

    def add(self, width: int, *values: int) -> None:
        """Add numbers of so many bits each."""
        self._digits += [f"{value:0{width}b}" for value in values]

    def add_golomb(self, *values: int) -> None:
        """Add numbers of Exp-Golomb codes, ue(v)."""
        for value in values:
            self.add(2 * (value + 1).bit_length() - 1, value + 1)

    def repeat(self, bits: str, times: int) -> None:
        self._digits.append(bits * times)

    def unit(self, header: int) -> bytes:
        """Return the unit with its start code, its end bit and bytes that keep start codes out of it."""
        digits = "".join(self._digits) + "1"
        digits += "0" * (-len(digits) % 8)
        payload = int(digits, 2).to_bytes(len(digits) // 8, "big")
        for byte in (3, 0, 1, 2):
            payload = payload.replace(bytes((0, 0, byte)), bytes((0, 0, 3, byte)))
        return bytes((0, 0, 0, 1, header)) + payload


def write_h264(path: Path, width: int, height: int, references: int, pictures: int) -> Path:
    """Write a raw H.264 stream of grey pictures and return its path.

    The first is coded; the next ones, as many as there are references, are referred to, and all others are shown only.

    Args:
        width, height: in macroblocks of 16 pixels.
    """
    blocks = width * height
    shown = (_write_skipped(blocks, number, number <= references, references) for number in range(1, pictures))
    path.write_bytes(_join([_write_header(width, height, references), _write_first(blocks), *shown]))
    return path


def _join(units: Iterable[bytes]) -> bytes:
    return b"".join(units)


def _write_header(width: int, height: int, references: int) -> bytes:
    """Return the sequence's parameters and the pictures'."""
    sequence = _Bits()
    sequence.add(8, _MAIN, 0, 62)
    sequence.add_golomb(0, _COUNTED - 4, 0, _COUNTED - 4, references)
    sequence.add(1, 0)
    sequence.add_golomb(width - 1, height - 1)
    sequence.add(1, 1, 1, 0, 1)  # whole frames, inference, no margins, and then more of its use:
    sequence.add(1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1)  # nothing but the limits of reordering
    sequence.add_golomb(0, 0, 10, 10, _WAITING, _WAITING)
    picture = _Bits()
    picture.add_golomb(0, 0)
    picture.add(1, 0, 0)
    picture.add_golomb(0, 0, 0)
    picture.add(1, 0, 0, 0)
    picture.add_golomb(0, 0, 0)
    picture.add(1, 1, 0, 0)
    return sequence.unit(0x67) + picture.unit(0x68)


def _write_first(blocks: int) -> bytes:
    bits = _Bits()
    bits.add_golomb(0, 7, 0)
    bits.add(_COUNTED, 0)
    bits.add_golomb(0)
    bits.add(_COUNTED, 0)
    bits.add(1, 0, 0)
    bits.add_golomb(0, 1)
    bits.repeat("00100111", blocks)  # each predicted from its neighbours, and nothing more
    return bits.unit(0x65)


def _write_skipped(blocks: int, number: int, is_reference: bool, references: int) -> bytes:
    """Return a picture that is the one before, all of it."""
    bits = _Bits()
    bits.add_golomb(0, 5, 0)
    bits.add(_COUNTED, min(number, references + 1) % (1 << _COUNTED), 2 * number % (1 << _COUNTED))
    bits.add(1, *([0] * (3 if is_reference else 2)))
    bits.add_golomb(0, 1, blocks)
    return bits.unit(0x61 if is_reference else 0x01)
