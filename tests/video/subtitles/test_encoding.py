"""Bytes become text: marks, UTF-8 with strays, and encodings that only the letters tell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkv2l.errors import InputError
from chunkv2l.video.subtitles import decode, parse
from tests.helpers.subtitle_texts import SRT


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_encodings_and_line_ends(encoding: str, newline: str) -> None:
    content = SRT.replace("cat", "café – “déjà vu”").replace("\n", newline)
    problems: list[str] = []
    decoded = decode(content.encode(encoding))
    assert parse(decoded.text, problems)[1].text == "- Where is the café – “déjà vu”? - I & she don't know."
    assert problems == [] and decoded.is_guessed == (encoding in ("cp1252", "utf-16-le", "utf-16-be"))


def test_stray_bytes_are_still_text() -> None:
    assert decode(b"\xff\xfea\x00b").text == "a�"
    assert decode(b"caf\xe9 \xe2\x80\x99 na\xc3\xafve \x81").text == "café ’ naïve \x81"


@pytest.mark.parametrize(
    ("encoding", "line"),
    [
        ("cp1251", "Привет всем"),
        ("koi8_r", "Привет всем, как дела?"),
        ("cp1253", "Καλημέρα σε όλους, τι κάνετε;"),
        ("cp1254", "Günaydın, nasılsınız çok teşekkürler"),
        ("cp1255", "שלום לכולם מה שלומכם"),
        ("cp1256", "مرحبا بكم جميعا"),
        ("cp874", "สวัสดีครับทุกคน"),
        ("cp932", "こんにちは、みなさん。元気ですか"),
        ("gb18030", "大家好，今天我们做蛋糕"),
        ("big5", "大家好，今天我們做蛋糕"),
        ("euc_kr", "여러분 안녕하세요 오늘은"),
        ("cp1250", "Příliš žluťoučký kůň úpěl ďábelské ódy"),
        ("cp1252", "L’été, où êtes-vous ? Ça va très bien"),
        ("cp1252", "¿Cómo está usted? Mañana será otro día"),
        ("cp1252", "Der schöne Fluß fließt über die Brücke"),
        ("utf-32", "Grüße"),
    ],
)
@pytest.mark.parametrize("repeats", [1, 5])
def test_letters_tell_the_encoding(encoding: str, line: str, repeats: int) -> None:
    content = "".join(f"{i}\n00:00:0{i},000 --> 00:00:0{i + 1},000\n{line}\n\n" for i in range(repeats))
    decoded = decode(content.encode(encoding))
    assert decoded.text == content
    assert decoded.is_guessed == (encoding != "utf-32")


def test_an_encoding_can_be_named() -> None:
    data = "naïve café".encode("cp850")
    assert decode(data, "cp850").text == "naïve café"
    for name in ("nothing-like-it", "hex", ""):
        with pytest.raises(InputError, match="There is no encoding"):
            decode(data, name)


@given(st.binary(max_size=400))
def test_no_bytes_break_it(data: bytes) -> None:
    parse(decode(data).text, [])


@pytest.mark.parametrize("codec", ["mac-roman", "cp850", "cp1252"])
@pytest.mark.parametrize(
    "text",
    [
        "Où est passé l'élève ? Il a mangé à la fenêtre, déjà très fatigué.",
        "Die Bäume sind schön grün, und über die Straße läuft ein größerer Käfer.",
        "Jag är på en ö. Det är så här vi gör på måndag.",
    ],
)
def test_text_of_old_macs_and_of_dos_is_guessed_and_called_a_guess(codec: str, text: str) -> None:
    decoded = decode(text.encode(codec))
    assert decoded.text == text and decoded.is_guessed
    assert decode(text.encode(codec), codec).text == text and not decode(text.encode(codec), codec).is_guessed


@pytest.mark.parametrize(
    ("codec", "text"),
    [
        ("cp866", "Где ты был вчера вечером?\nЯ ел яблоко и пил чай."),
        ("cp1251", "Где ты был вчера вечером?\nЯ ел яблоко и пил чай.\nПойдём домой, уже поздно."),
        ("cp852", "Gdzie byłeś wczoraj wieczorem?\nJadłem żółte jabłko i piłem herbatę.\nŹle się czuję, pójdę spać."),
        ("cp852", "Kde jsi byl včera večer?\nMám rád žluté květiny.\nPříliš žluťoučký kůň."),
        ("cp850", "Café à Paris"),
        ("cp437", "Café à Paris"),
        ("cp437", "Schöne Grüße aus München.\nDas weiß ich natürlich für dich."),
        ("mac-roman", "¿Dónde está la niña?\nMañana iré al médico.\n¡Qué día tan bonito!"),
        ("cp1252", "Perché non è venuto più?\nLa città è bellissima."),
        ("cp1252", "Café … à Paris – “c’est ça”…"),
    ],
)
def test_short_texts_of_other_systems_are_read(codec: str, text: str) -> None:
    decoded = decode(text.encode(codec))
    assert decoded.text == text and decoded.is_guessed
