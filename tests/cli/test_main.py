"""The command line: exit codes, what goes to stdout and what to stderr, and that --help is instant."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest

import chunkv2l
from chunkv2l import defaults, policies
from chunkv2l.cli import main as cli
from chunkv2l.cli import output as terminal
from chunkv2l.cli import tools as cli_tools
from tests.helpers.fake_vlm import fake_model
from tests.helpers.written import random_codes, write_index

WHEN = "When does a dog catch the ball?"
COMMANDS: dict[str, click.Command] = {**cli.cli.commands, "models fetch": cli_tools.fetch}


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("chunkv2l.models.load_model", lambda *_, **__: fake_model(), raising=False)
    return str(write_index(tmp_path / "movie.idx", random_codes(8)))


def program(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "chunkv2l", *arguments], capture_output=True, text=True, timeout=60, **options
    )


# ---- help


@pytest.mark.parametrize("command", [[], *(name.split() for name in COMMANDS)])
def test_every_command_has_help_with_examples(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([*command, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Examples:" in text and f"chunkv2l {' '.join(command)}".strip() in text
    assert max(len(line) for line in text.splitlines()) <= 100
    assert not any(line.endswith("...") for line in text.splitlines()[1:])  # no summary is cut off


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert getattr(parameter, "help", None), f"{name} {parameter.opts}"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom chunkv2l.cli import main as cli\n"
        "assert cli.run(['ask', '--help']) == 0\n"
        "heavy = {'torch', 'transformers', 'networkx', 'av', 'cv2', 'numpy', 'scenedetect'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


@pytest.mark.long
@pytest.mark.skipif(os.name != "posix", reason="CPU time of POSIX")
def test_help_is_instant() -> None:
    times = []
    for _ in range(5):
        before = os.times()
        program("--help")
        after = os.times()
        times.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(times) < 0.3


def test_the_defaults_shown_are_the_builds() -> None:
    from chunkv2l.indexing.settings import BuildSettings
    from chunkv2l.video.detectors import DETECTORS

    settings = BuildSettings()
    defaults_shown = {option.name: option.default for option in cli.cli.commands["build"].params}
    for name in ("detector", "min_length", "max_length", "reader", "captions", "codes"):
        assert defaults_shown[name] == getattr(settings, name), name
    assert set(defaults.DETECTORS) == set(DETECTORS)
    assert tuple(policies.BUILT_IN) == defaults.POLICIES


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"chunkv2l, version {chunkv2l.__version__}"
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert f'\nversion = "{chunkv2l.__version__}"\n' in project


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["completion", shell]) == 0
    assert "_CHUNKV2L_COMPLETE" in capsys.readouterr().out


def test_completion_completes_commands_options_and_policies() -> None:
    def completed(words: str, last: int) -> set[str]:
        env = {**os.environ, "_CHUNKV2L_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(last)}
        return {line.split(",")[1] for line in program(env=env).stdout.split()}

    assert {"ask", "build", "show", "verify"} <= completed("chunkv2l ", 1)
    assert "--top-k" in completed("chunkv2l ask --to", 2)
    assert "route" in completed("chunkv2l ask --policy ro", 3)
    assert completed("chunkv2l build --detector h", 3) == {"hash", "histogram"}
    assert {"mini", "smolvlm2-500m"} <= completed("chunkv2l ask --model ", 3)


# ---- ask


def test_ask_prints_an_answer_on_stdout_and_how_on_stderr(index: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["ask", index, WHEN]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0].startswith(("From ", "It seems not")) and len(lines) >= 6 and "not in the video" in lines[-1]
    assert "(route, fake, no visual tokens" in printed.err and "Error" not in printed.err
    assert cli.run(["ask", index, f"In the first 5 seconds, {WHEN.lower()}"]) == 0
    assert "not in that part" in capsys.readouterr().out


def test_ask_json_is_the_answers(index: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["ask", index, "What is on the grass?", "--json", "--policy", "mean", "--top-k", "2"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["policy"] == "mean" and printed["visual_tokens"] == 0 and printed["answer"]
    assert sum(len(span["segments"]) for span in printed["spans"]) == 2


def test_ask_with_a_policy_of_ones_own(index: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text("def last(graph, query):\n    return {max(graph): 1.0}\n")
    assert cli.run(["ask", index, WHEN, "--json", "--policy", f"{tmp_path / 'mine.py'}:last"]) == 0
    assert [span["segments"] for span in json.loads(capsys.readouterr().out)["spans"]] == [[7]]


def test_questions_from_a_pipe(index: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{WHEN}\n\n  \nWhat is red?\n"))
    assert cli.run(["ask", index, "--json"]) == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["question"] for answer in printed] == [WHEN, "What is red?"]
    assert printed[1]["timing"]["load_s"] == 0


def test_a_bad_question_in_a_pipe_doesnt_stop_the_others(
    index: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"When?\n{WHEN}\n"))
    assert cli.run(["ask", index, "--json"]) == 2
    printed = capsys.readouterr()
    lines = [json.loads(line) for line in printed.out.splitlines()]
    assert [line["question"] for line in lines] == ["When?", WHEN]
    assert "names nothing to look for" in lines[0]["error"] and "answer" in lines[1]
    assert "names nothing to look for" in printed.err


def test_questions_from_a_terminal(
    index: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal(f"{WHEN}\n\nWhen?\nWhat is red?\n"))
    assert cli.run(["ask", index]) == 0  # a slip at the terminal is no failure
    printed = capsys.readouterr()
    assert printed.out.count(" %") >= 5 and "Ctrl+D ends" in printed.err and "names nothing to look for" in printed.err


# ---- show


def test_show(index: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["show", index]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "movie.mp4: 0:32, 8 segments, model fake" in lines[0]
    assert lines[-1].split() == ["7", "0:28.0", "–", "0:32.0", "the", "cat", "sits"]


def test_show_json(index: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["show", index, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["model"] == "fake" and len(printed["segments"]) == 8 and printed["code_shape"] == [2, 2, 8]
    assert printed["segments"][1] == {"id": 1, "start": 4.0, "end": 8.0, "caption": "the cat sits", "speech": ""}


def test_show_marks_tags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.helpers.indexes import write_index

    path = write_index(tmp_path / "a.idx", tags={1: (("book", 0.625), ("desk", 0.1))})
    assert cli.run(["show", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-4].endswith("A man reads a book.  [tags: book 62 %, desk 10 %]") and "tags" not in lines[-5]
    assert cli.run(["show", str(path), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)["segments"]
    assert printed[1]["tags"] == [{"name": "book", "p": 0.625}, {"name": "desk", "p": 0.1}]
    assert [segment["tags"] for segment in printed].count([]) == 4


def test_show_chapters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.helpers.indexes import write_index

    pairs = [(0, 1, 0.9), (2, 3, 0.9), (0, 4, 0.8)]
    path = write_index(tmp_path / "a.idx", chapters=[(0, 1), (2, 3), (4, 4)], similar=pairs)
    assert cli.run(["show", str(path)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines[2:]] == ["g0", "0", "1", "g1", "2", "3", "g2", "4"]
    assert lines[5] == ["g1", "0:08.0", "–", "0:16.0", "chapter", "2,", "place", "1"]
    assert cli.run(["show", str(path), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)["chapters"]
    assert printed[2] == {"group": "g2", "first": 4, "last": 4, "start": 16.0, "end": 20.0, "place": 0}


# ---- verify


def test_verify(index: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["verify", index]) == 0
    assert capsys.readouterr().out == f"{index} is sound.\n"
    assert cli.run(["verify", index, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"index": index, "ok": True, "findings": []}
    assert cli.run(["verify", index, "--sandbox"]) == 0
    assert capsys.readouterr().out == f"{index} is sound.\n"


def test_verify_says_what_is_damaged(index: str, capsys: pytest.CaptureFixture[str]) -> None:
    import sqlite3

    connection = sqlite3.connect(index)
    connection.execute("UPDATE segments SET code = x'00' WHERE id = 3")
    connection.commit()
    connection.close()
    assert cli.run(["verify", index]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("Error: ") and "is damaged" in printed.err
    assert cli.run(["verify", index, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["ok"] is False


# ---- export, models, doctor


def test_export_writes_an_adapter_a_segment(index: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["export", index, "--segments", "1,3-4", "-o", str(tmp_path / "out"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [list(item["weights"]) for item in printed] == [["1"], ["3"], ["4"]]
    assert all((tmp_path / "out" / item["folder"] / "adapter_config.json").is_file() for item in printed)


def test_export_composes_by_a_policy(index: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = ["export", index, "--policy", "route", "--question", WHEN, "--top-k", "2", "--max-rank", "4"]
    assert cli.run([*arguments, "-o", str(out)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{out / 'composed-route'}  rank 4, relative error ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{index}"], "Name an INDEX and a folder"),
        ([], "Name an INDEX and a folder"),
        (["{index}", "--base", "x"], "leave INDEX and -o out"),
        (["{index}", "-o", "{tmp}", "--segments", "9"], "There is no segment 9"),
        (["{index}", "-o", "{tmp}", "--precision", "fp8"], "fp8"),
        (["--base", "{tmp}/new"], "used as it was published"),
    ],
)
def test_export_refused(
    index: str, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["export", *(word.format(index=index, tmp=tmp_path) for word in arguments)]) == 2
    assert message in capsys.readouterr().err


def test_models_lists_what_is_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from chunkv2l.models import Available

    items = (
        Available("mini", True, "It is in the cache.", "It is for research."),
        Available("smolvlm2-500m", False, "It isn't here."),
    )
    monkeypatch.setattr("chunkv2l.models.available", lambda: items)
    assert cli.run(["models"]) == 0
    printed = capsys.readouterr().out
    assert "mini (here)" in printed and "smolvlm2-500m (not here)" in printed and "    It isn't here." in printed
    assert "    It is for research." in printed
    assert cli.run(["models", "--json"]) == 0
    assert [(item["name"], item["here"]) for item in json.loads(capsys.readouterr().out)] == [
        ("mini", True),
        ("smolvlm2-500m", False),
    ]


def test_models_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[Path | None] = []

    def fetch(source: Path | None = None) -> Path:
        asked.append(source)
        return tmp_path / "cache"

    monkeypatch.setattr("chunkv2l.models.mini.frozen.fetch", fetch)
    monkeypatch.setattr("chunkv2l.models.sentence.minilm.fetch", fetch)
    assert cli.run(["models", "fetch", "mini"]) == 0
    assert cli.run(["models", "fetch", "mini", "--from", str(tmp_path)]) == 0
    assert asked == [None, None, tmp_path, tmp_path] and str(tmp_path / "cache") in capsys.readouterr().out
    assert cli.run(["models", "fetch", "mini", "--from", str(tmp_path / "nowhere")]) == 2
    assert cli.run(["models", "fetch", "smolvlm2-500m", "--from", str(tmp_path)]) == 2
    assert cli.run(["models", "fetch", "maxi"]) == 2
    assert "no model called 'maxi'" in capsys.readouterr().err and len(asked) == 4


@pytest.mark.parametrize(("level", "code"), [("ok", 0), ("note", 0), ("problem", 1)])
def test_doctor(level: Any, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from chunkv2l.doctor.finding import Finding

    items = [Finding("Python", "ok", "3.11."), Finding("cache", level, "It is full.")]
    monkeypatch.setattr("chunkv2l.doctor.report.examine", lambda *_, **__: iter(items))
    assert cli.run(["doctor"]) == code
    assert capsys.readouterr().out.splitlines()[1] == f"{level:<8}cache: It is full."
    assert cli.run(["doctor", "--json"]) == code
    assert json.loads(capsys.readouterr().out)[1] == {"subject": "cache", "level": level, "text": "It is full."}


# ---- build


def test_build_and_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.helpers.movies import block_movie

    monkeypatch.setattr("chunkv2l.models.load_model", lambda *_, **__: fake_model(), raising=False)
    movie = block_movie(tmp_path / "blocks.mp4", (2.0,) * 5)
    assert cli.run(["build", str(movie), "--detector", "fixed:2", "--json", "--model", "fake"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["segments"] == 5 and printed["index"] == str(tmp_path / "blocks.idx")
    assert cli.run(["build", str(movie), "--detector", "fixed:2", "--model", "fake"]) == 0
    again = capsys.readouterr()
    assert "nothing to do" in again.err and again.out == ""
    assert cli.run(["build", str(movie), "--detector", "fixed:2", "--model", "fake", "--force"]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'blocks.idx'}: 5 segments of blocks.mp4, ")
    assert cli.run(["ask", str(tmp_path / "blocks.idx"), WHEN, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "fake"


def test_build_with_subtitles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.helpers.movies import block_movie

    monkeypatch.setattr("chunkv2l.models.load_model", lambda *_, **__: fake_model(), raising=False)
    movie, words = block_movie(tmp_path / "blocks.mp4", (2.0,) * 2), tmp_path / "blocks.en.vtt"
    words.write_text("WEBVTT\n\n00:01.000 --> 00:02.000\nHello.\n")
    build = ["build", str(movie), "--detector", "fixed:2", "--model", "fake"]
    assert cli.run([*build, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["notices"] == ["Subtitles are taken from blocks.en.vtt: 1 cue."]
    assert cli.run([*build, "--no-subtitles"]) == 0
    assert "built with another subtitles" in capsys.readouterr().err
    assert cli.run([*build, "--subtitles", str(tmp_path / "missing.srt")]) == 2
    assert "There is no" in capsys.readouterr().err
    assert cli.run([*build, "--subtitles", str(words), "--no-subtitles"]) == 2
    assert "contradict each other" in capsys.readouterr().err


def test_build_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("chunkv2l.indexing.build.build", interrupted)
    assert cli.run(["build", "movie.mp4"]) == 130
    assert "run the same command to go on" in capsys.readouterr().err


def test_progress_off_the_terminal_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from chunkv2l.indexing.progress import Progress

    now = [0.0]
    monkeypatch.setattr("chunkv2l.cli.output.time.monotonic", lambda: now[0])
    with terminal.ProgressBar() as bar:
        for second in range(0, 60, 5):
            now[0] = float(second)
            bar(Progress("encode", 6.0 * second, 600.0, second, 6.0, (600 - 6 * second) / 6))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    assert lines[0] == "1:00 of 10:00, 10 segments, 1:30 left, 6.0 × real time, encode"


def test_progress_on_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    from chunkv2l.indexing.progress import Progress

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    with terminal.ProgressBar() as bar:
        bar(Progress("encode", 0.0, 600.0, 0))
        bar(Progress("encode", 300.0, 600.0, 50, 6.0, 50.0))
        bar(Progress("done", 600.0, 600.0, 100, 6.0, 0.0))
    text = screen.getvalue()
    assert "50 %|" in text and "0:50 left, 6.0 × real time" in text and "100 %|" in text


# ---- when things go wrong


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ask", "{index}", " "], "question is empty"),
        (["ask", "{index}", WHEN, "--policy", "magic"], "There is no policy"),
        (["ask", "{index}", WHEN, "--policy", "gone.py:f"], "no file"),
        (["ask", "{index}", WHEN, "--budget", "0"], "neither a number"),
        (["ask", "{index}", WHEN, "--budget", "some"], "neither a number"),
        (["ask", "{index}", WHEN, "--top-k", "0"], "--top-k"),
        (["ask", "nowhere.idx", WHEN], "There is no nowhere.idx"),
        (["show", "nowhere.idx"], "There is no nowhere.idx"),
        (["build", "nowhere.mp4"], "nowhere.mp4"),
        (["build", "nowhere.mp4", "--codes", "fp8"], "fp8"),
        (["frobnicate"], "No such command"),
        (["ask"], "Missing argument"),
    ],
)
def test_bad_input_is_a_sentence_and_exit_code_2(
    index: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([argument.format(index=index) for argument in arguments]) == 2
    printed = capsys.readouterr()
    assert message in printed.err and printed.out == "" and "Traceback" not in printed.err


@pytest.mark.parametrize(
    "body",
    ["return {99: 1}", "return {0: float('nan')}", "return {}", "raise ValueError('no')", "import sys; sys.exit(0)"],
)
def test_a_bad_policy_is_a_sentence_and_exit_code_2(
    index: str, tmp_path: Path, body: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(f"def policy(graph, query):\n    {body}\n")
    assert cli.run(["ask", index, WHEN, "--policy", f"{tmp_path / 'mine.py'}:policy"]) == 2
    printed = capsys.readouterr()
    assert "The policy" in printed.err and printed.out == "" and "Traceback" not in printed.err


def test_a_fault_is_exit_code_1_and_a_traceback_only_on_request(
    index: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("chunkv2l.ask.Index.ask", broken)
    assert cli.run(["ask", index, WHEN]) == 1
    err = capsys.readouterr().err
    assert "ZeroDivisionError" in err and "CHUNKV2L_DEBUG=1" in err and "Traceback" not in err
    monkeypatch.setenv("CHUNKV2L_DEBUG", "1")
    assert cli.run(["ask", index, WHEN]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_debug_shows_where_bad_input_was_found(
    index: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHUNKV2L_DEBUG", "1")
    assert cli.run(["ask", index, " "]) == 2
    printed = capsys.readouterr().err
    assert "Traceback" in printed and printed.splitlines()[-1].startswith("Error: The question is empty")


def test_ctrl_c_is_exit_code_130(
    index: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("chunkv2l.ask.Index.ask", interrupted)
    assert cli.run(["ask", index, WHEN]) == 130
    assert "Interrupted" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="no pipes of this kind")
def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    """`chunkv2l show | head -1`."""
    path = write_index(tmp_path / "movie.idx", random_codes(4), ["word " * 5000])
    process = subprocess.Popen(
        [sys.executable, "-m", "chunkv2l", "show", str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60) == 0


@pytest.mark.skipif(os.name == "nt", reason="no such signal")
def test_a_real_ctrl_c(tmp_path: Path) -> None:
    """The program waits for a question; SIGINT ends it with a sentence, no traceback."""
    path = write_index(tmp_path / "movie.idx", random_codes(2))
    code = (
        "import sys\nimport chunkv2l.models\nfrom tests.helpers.fake_vlm import fake_model\n"
        "from chunkv2l.cli import main as cli\n"
        "chunkv2l.models.load_model = lambda *_: fake_model()\ncli.main(sys.argv[1:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "ask", str(path), "--model", "fake"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stderr is not None and process.stdin is not None
    assert "Loading" in process.stderr.readline()
    time.sleep(1)  # the model may still be loading: a Ctrl+C during that must do as well
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 130 and "Interrupted." in printed and "Traceback" not in printed


def test_help_imports_nothing_but_the_command_line() -> None:
    """Rooms other than these cost time at each start; they are imported inside the commands."""
    code = "import sys, chunkv2l.cli.main; print(*(name for name in sys.modules if name.startswith('chunkv2l.')))"
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    rooms = {name.split(".")[1] for name in ended.stdout.split()}
    assert rooms == {"cli", "defaults", "errors", "sanitize"}
