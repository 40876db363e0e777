"""Decode a subtitle file's bytes: by its mark, as UTF-8, or in the encoding that its letters make likely."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import Final

from chunkv2l.errors import InputError

_SAMPLE: Final = 64 << 10  # bytes that the detector sees; it takes longer with more and finds no more
_SURE: Final = 0.1  # confidence below which the detector takes one Latin alphabet for another
_LEGACY: Final = frozenset(
    (
        *("windows-1250", "windows-1251", "windows-1252", "windows-1253", "windows-1254", "windows-1255"),
        *("windows-1256", "windows-1257", "windows-1258", "koi8-r", "koi8-u", "cp874", "tis-620", "cp932"),
        *("shift_jis", "euc-jp", "gb18030", "gbk", "big5", "cp949", "euc-kr", "ibm866", "cp852"),
    )
)
"""Encodings that subtitles come in besides Unicode's, as the detector names them in lower case."""
_KIN: Final = {"maccyrillic": "windows-1251", "cp1125": "ibm866"}
"""Encodings that the detector takes a commoner one with nearly the same letters for."""
_NEARLY: Final = 0.8  # share of the confidence in such an encoding with which the commoner one is likelier
_LATIN: Final = frozenset({"windows-1250", "windows-1252", "windows-1254", "windows-1257", "windows-1258"})
_ODD_IN_LATIN_1: Final = re.compile("[a-z][¹²³ºª¼½¾¢£¥¿¡¦¨´¸]|[¹³¼¾£¥][a-z]|[\x81\x8d\x8f\x90\x9d]")
"""Polish, Czech and Hungarian letters that were read as Windows-1252."""
_WESTERN: Final = frozenset("áàâäãåæçéèêëíìîïñóòôöõøœúùûüßÁÀÂÄÅÆÇÉÈÊËÍÎÑÓÔÖØŒÚÜ’‘“”«»–—…¿¡°€")
"""Letters and signs of western languages beyond ASCII."""
_ODD_SIGNS: Final = re.compile(r"(?<=\w)[…“”«»–—¿¡°](?=\w)|(?<!\S)…(?=\s\w)")
"""Signs of Windows-1252 where text has letters: "à" of DOS alone between words is "…"."""
_WESTERN_CODECS: Final = ("mac-roman", "cp850")
"""Encodings of old Macs and of DOS, which western text has that makes little sense as Windows-1252."""
_FITS: Final = 0.8  # share of `_WESTERN` among a text's letters beyond ASCII that makes an encoding likely
_MISFITS: Final = 0.5  # and below which Windows-1252 is unlikely
_WHOLE: Final = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
"""A letter of UTF-8 that takes more than one byte."""


@dataclass(frozen=True)
class Decoded:
    """A file's text.

    Attributes:
        text: without a byte order mark.
        encoding: the codec's name.
        is_guessed: whether the encoding was inferred from the letters, which can be wrong.
    """

    text: str
    encoding: str
    is_guessed: bool = False


def decode(data: bytes, encoding: str | None = None) -> Decoded:
    """Decode a subtitle file.

    UTF-8, UTF-16 and UTF-32 are recognised with or without a mark. UTF-8 with stray bytes among it, as files have into
    which lines were pasted, stays UTF-8; the strays are read as Windows-1252. Anything else is guessed (chardet).

    Args:
        encoding: the codec to use; None finds it out. Bytes that it doesn't know become "�".

    Raises:
        InputError: Python has no codec of that name for text.
    """
    if encoding is not None:
        return Decoded(data.decode(text_codec(encoding), errors="replace").removeprefix("\ufeff"), encoding)
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if data.startswith(mark):
            return Decoded(data.decode(name, errors="replace").removeprefix("\ufeff"), name)
    for name, zeros in (("utf-16-le", data[1:40:2]), ("utf-16-be", data[0:40:2])):
        if zeros.count(0) > 10:  # every other byte is 0: UTF-16 without its mark
            return Decoded(data.decode(name, errors="replace"), name, is_guessed=True)
    try:
        return Decoded(data.decode("utf-8"), "utf-8")
    except UnicodeDecodeError:
        pass
    stray = len(_WHOLE.sub(b"", data).translate(None, bytes(range(0x80))))
    if len(_WHOLE.findall(data)) >= stray:
        return Decoded(_decode_mixed(data), "utf-8", is_guessed=True)
    name = _guess(data)
    return Decoded(data.decode(name, errors="replace"), name, is_guessed=True)


def text_codec(encoding: str) -> str:
    """Return Python's name of a codec.

    Raises:
        InputError: there is none of that name, or it makes no text of bytes.
    """
    try:
        codec = codecs.lookup(encoding)
        "".encode(codec.name)  # raises for codecs from bytes to bytes, such as "hex"
    except (LookupError, ValueError):
        raise InputError(
            f"There is no encoding {encoding!r}: name one that Python knows, such as utf-8, cp1252, cp1251 or gb18030."
        ) from None
    return codec.name


def _decode_mixed(data: bytes) -> str:
    """Decode UTF-8, and every byte that isn't part of a letter as Windows-1252."""
    text, position = [], 0
    for match in _WHOLE.finditer(data):
        text.append(_decode_latin(data[position : match.start()]))
        text.append(match[0].decode("utf-8", errors="replace"))
        position = match.end()
    return "".join([*text, _decode_latin(data[position:])])


def _decode_latin(data: bytes) -> str:
    """Decode Windows-1252, and the five bytes that it leaves undefined as Latin-1 has them."""
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _guess(data: bytes) -> str:
    """Return the codec that a text without a mark, which isn't UTF-8, is likeliest in."""
    import chardet

    lines = [line for line in data.splitlines() if not line.isascii()]
    sample = b"\n".join(lines)[:_SAMPLE]
    guesses = [
        (str(guess["encoding"] or "").lower(), float(guess["confidence"] or 0.0))
        for guess in chardet.detect_all(sample)
    ] or [("", 0.0)]
    name, confidence = guesses[0]
    is_cyrillic = len(sample.translate(None, bytes(range(0x80)))) > len(sample) / 2
    kin = _KIN.get(name)
    if kin is not None and is_cyrillic and dict(guesses).get(kin, 0.0) >= _NEARLY * confidence:
        name = kin
    if name in _LEGACY and confidence >= _SURE and (name not in _LATIN or name == "windows-1254"):
        return codecs.lookup(name).name
    if _western_share(sample, "cp1252") < _MISFITS:
        shares = {codec: _western_share(sample, codec) for codec in _WESTERN_CODECS}
        likeliest = max(shares, key=shares.__getitem__)
        if shares[likeliest] >= _FITS:
            return codecs.lookup(likeliest).name
    return "cp1250" if _ODD_IN_LATIN_1.search(_decode_latin(sample)) else "cp1252"


def _western_share(data: bytes, codec: str) -> float:
    """Return the share of `_WESTERN` among the letters beyond ASCII that a codec gives; capitals count half."""
    text = _ODD_SIGNS.sub("\ufffd", data.decode(codec, errors="replace"))
    letters = [letter for letter in text if not letter.isascii()]
    weights = [0.5 if letter.isupper() else 1.0 for letter in letters if letter in _WESTERN]
    return sum(weights) / len(letters) if letters else 0.0
