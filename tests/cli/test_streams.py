"""Standard streams: closed, full, or with odd bytes in them; what is shown has nothing invisible in it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chunkv2l.cli import main as cli
from chunkv2l.cli import streams
from chunkv2l.sanitize import escape_invisible, escape_line, strip_invisible
from tests.helpers.fake_vlm import fake_model
from tests.helpers.written import random_codes, write_index

ROOT = Path(__file__).parents[2]
WHEN = "When does a dog catch the ball?"
FAKE = """
import sys
import chunkv2l.models
def load_fake(*_, **__):
    from tests.helpers.fake_vlm import fake_model  # and torch with it, only where a model is needed
    return fake_model()
chunkv2l.models.load_model = load_fake
from chunkv2l.cli import main as cli
cli.main(sys.argv[1:])
"""
posix = pytest.mark.skipif(os.name != "posix", reason="shell redirections")
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


@pytest.fixture
def index(tmp_path: Path) -> str:
    return str(write_index(tmp_path / "movie.idx", random_codes(6)))


def shell(redirections: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program, with the fake model, under a shell's redirections."""
    command = ["sh", "-c", f'"$@" {redirections}', "sh", sys.executable, "-c", FAKE, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)


@posix
@pytest.mark.parametrize(
    ("redirections", "question", "message"),
    [
        ("<&-", None, "standard input is closed"),
        (">&-", WHEN, "standard output is closed"),
        pytest.param("> /dev/full", WHEN, "can't be written to standard output", marks=needs_full),
    ],
)
def test_a_closed_or_full_stream_is_a_sentence(
    index: str, redirections: str, question: str | None, message: str
) -> None:
    ended = shell(redirections, "ask", index, "--model", "fake", *([question] if question else []))
    assert ended.returncode == 1 and ended.stdout == ""
    assert ended.stderr.splitlines()[-1].startswith("Error: ") and message in ended.stderr
    assert "fault of chunkv2l" not in ended.stderr and "Traceback" not in ended.stderr


@posix
@needs_full
@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("ask", "--help")])
def test_help_on_a_full_stream_is_a_sentence(arguments: tuple[str, ...]) -> None:
    ended = shell("> /dev/full", *arguments)
    assert ended.returncode == 1 and "can't be written to standard output" in ended.stderr
    assert "fault of chunkv2l" not in ended.stderr


@posix
@pytest.mark.parametrize("redirections", ["2>&-", pytest.param("2> /dev/full", marks=needs_full)])
def test_a_closed_or_full_stderr_loses_no_result(index: str, redirections: str) -> None:
    ended = shell(redirections, "ask", index, WHEN, "--json", "--model", "fake")
    assert ended.returncode == 0 and json.loads(ended.stdout)["question"] == WHEN


@posix
def test_with_all_streams_closed_no_file_gets_their_numbers(index: str, tmp_path: Path) -> None:
    before = Path(index).read_bytes()
    assert shell("<&- >&- 2>&-", "ask", index, WHEN, "--model", "fake").returncode == 1
    assert Path(index).read_bytes() == before


# ---- questions from a pipe


def asked(index: str, piped: bytes, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> tuple[int, list[dict[str, Any]]]:
    monkeypatch.setattr("chunkv2l.models.load_model", lambda *_, **__: fake_model(), raising=False)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(piped)), "utf-8", newline="\n"))
    code = cli.run(["ask", index, "--json"])
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    "piped",
    [
        b"\xef\xbb\xbfWhen is there a car?\r\nWhen is there coffee?\r\n",
        b"When is there a car?\rWhen is\0 there coffee?\r",
        "When is there a car?\nWhen is there coffee?".encode("utf-16"),
        "When is there a car?\nWhen is there coffee?\n".encode("utf-16-be").join((b"\xfe\xff", b"")),
        "When is\u200b there a c\u200dar?\n\u2060\n  \ufeff \nWhen\u00a0is there cof\u00adfee?\n".encode(),
    ],
)
def test_marks_and_letters_without_width_are_ignored(
    index: str, piped: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, answers = asked(index, piped, monkeypatch, capsys)
    assert code == 0
    assert [answer["question"].replace("\xa0", " ") for answer in answers] == [
        "When is there a car?", "When is there coffee?",
    ]  # fmt: skip
    assert all("answer" in answer for answer in answers)


def test_each_question_has_its_line_of_json_and_errors_too(
    index: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    long = "When is there a car " + "x" * 200_000
    code, answers = asked(index, f"When?\n{WHEN}\n{long}\n{WHEN}\n".encode(), monkeypatch, capsys)
    assert code == 2 and len(answers) == 4
    assert ["error" in answer for answer in answers] == [True, False, True, False]
    assert answers[0]["question"] == "When?" and "names nothing" in answers[0]["error"]
    assert len(answers[2]["question"]) <= streams.MAX_LINE and "characters" in answers[2]["error"]


def test_a_failure_that_is_no_bad_question_has_a_line_and_exit_code_1(
    index: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from chunkv2l.errors import ChunkV2LError

    def failing(*_: Any, **__: Any) -> None:
        raise ChunkV2LError("The disk is gone.")

    monkeypatch.setattr("chunkv2l.ask.Index.ask", failing)
    code, answers = asked(index, f"{WHEN}\n{WHEN}\n".encode(), monkeypatch, capsys)
    assert code == 1 and answers == [{"question": WHEN, "error": "The disk is gone."}] * 2


def test_an_unreadable_stdin_is_a_sentence(
    index: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(io.StringIO):
        def readline(self, *_: Any) -> Any:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr("chunkv2l.models.load_model", lambda *_, **__: fake_model(), raising=False)
    monkeypatch.setattr("sys.stdin", Broken())
    assert cli.run(["ask", index]) == 1
    assert "Standard input can't be read (Input/output error)." in capsys.readouterr().err


# ---- what is shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mov\u202e4pm.idx", r"mov\u202e4pm.idx"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
        ("tag\U000e0041", r"tag\U000e0041"),
        ("Grüße, 日本語, می\u200cخواهم, 👩\u200d🚀", "Grüße, 日本語, می\u200cخواهم, 👩\u200d🚀"),
        ("ad\u200dmin", r"ad\u200dmin"),
        ("café\u200d", "caf\u00e9\\u200d"),
    ],
)
def test_what_has_no_width_or_turns_text_is_shown_as_an_escape(
    text: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert escape_line(text) == escape_invisible(text) == shown
    streams.emit(text)
    streams.say(text)
    printed = capsys.readouterr()
    assert printed.out == printed.err == f"{shown}\n"


def test_lines_stay_apart_and_a_names_own_line_ends_are_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    streams.emit("a\nb\tc.mp4: one line", "another")
    streams.say("a\r\nb.mp4", "")
    printed = capsys.readouterr()
    assert printed.out == "a\\nb\\tc.mp4: one line\nanother\n" and printed.err == "a\\x0d\\nb.mp4\n\n".replace(
        "x0d", "r"
    )


@pytest.mark.parametrize("text", ["mov\u202e4pm", "\x1b[31mred", "a\u200bb", "tag\U000e0041", "\udce9t\u00e9"])
def test_json_escapes_them_and_keeps_the_value(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    streams.emit_json({"text": text})
    printed = capsys.readouterr().out
    assert escape_invisible(printed) == printed and json.loads(printed) == {"text": text}


def test_bytes_of_names_that_are_no_letters_are_shown_as_an_index_shows_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = os.fsdecode(b"lat\xe9in.idx")
    streams.emit(name)
    streams.say(name)
    printed = capsys.readouterr()
    assert printed.out == printed.err == "lat\ufffdin.idx\n"


def test_stripping_keeps_words_apart() -> None:
    assert strip_invisible("When\u200b is\u2028it\x0b?") == "When is it ?"
