"""Build, show, ask, export on a SmolVLM2 folder and a released checkpoint of one's own, as typed."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from chunkv2l.adapter.algebra import Adapter
from chunkv2l.cli import main as cli
from chunkv2l.hypernet import load_hypernetwork
from chunkv2l.index.file import IndexFile
from tests.helpers import frames2lora, tiny_smolvlm

ROOT = Path(__file__).parents[1]
KEYS = ["question", "answer", "spans", "not_there", "unsure", "policy", "model", "visual_tokens", "timing"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the movie, the model's folder and the hypernetwork's file."""
    folder = tmp_path_factory.mktemp("line")
    shutil.copy(tiny_smolvlm.video(5), folder / "my movie.mp4")
    shutil.copytree(frames2lora.MODEL, folder / "tiny model")
    shutil.copy(tiny_smolvlm.CHECKPOINT, folder / "tiny.pt")
    return folder


@pytest.fixture
def own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options that name both; the working folder is another one."""
    monkeypatch.chdir(folder.parent)
    return ["--model", str(folder / "tiny model"), "--hypernet", str(folder / "tiny.pt")]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    code = cli.run([*arguments, "--json"])
    told = capsys.readouterr()
    assert code == 0, told.err
    return json.loads(told.out)


def test_the_whole_line(folder: Path, own: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = tmp_path / "movie.idx"
    built = run(capsys, "build", str(folder / "my movie.mp4"), "-o", str(index), "--detector", "fixed:1", *own)
    assert built["segments"] == 5
    shown = run(capsys, "show", str(index))
    assert shown["model"] == "tiny model" and shown["identity"]["family"] == "smolvlm"
    assert str(folder) not in json.dumps({key: value for key, value in shown.items() if key != "index"})
    when = run(capsys, "ask", str(index), "When does a dog run?", *own)
    assert list(when) == KEYS and list(when["spans"][0]) == ["start", "end", "score", "segments"]
    assert list(when["timing"]) == ["load_s", "route_s", "compose_s", "first_token_s", "total_s"]
    assert 0 <= when["not_there"] <= 1
    assert when["spans"] and when["visual_tokens"] == 0 and when["model"] == "tiny model"
    what = run(capsys, "ask", str(index), "What is on the table?", "--policy", "concat", *own)
    assert what["policy"] == "concat" and what["answer"]
    written = run(capsys, "export", str(index), "--segments", "3,0-1", "-o", str(tmp_path / "out"), *own)
    assert [list(item["weights"]) for item in written] == [["3"], ["0"], ["1"]]
    for item in written:
        assert Adapter.from_pretrained(tmp_path / "out" / item["folder"]).rank == item["rank"] == 8
    arguments = ["--segments", "3,0-1", "--policy", "mean", "-o", str(tmp_path / "one"), *own]
    (out,) = run(capsys, "export", str(index), *arguments)
    assert sorted(out["weights"]) == ["0", "1", "3"] and set(out["weights"].values()) == {1 / 3}
    assert Adapter.from_pretrained(tmp_path / "one" / out["folder"]).rank == out["rank"] == 16
    assert str(folder).encode() not in index.read_bytes()


def test_what_is_exported_is_what_is_asked(
    folder: Path, own: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """PEFT on the model's folder, with the composed adapter from disk, answers with the same words."""
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    index, question = str(tmp_path / "movie.idx"), "What is on the table?"
    options = ["-o", index, "--detector", "fixed:2", "--codes", "fp32", "--no-captions"]
    run(capsys, "build", str(folder / "my movie.mp4"), *options, *own)
    said = run(capsys, "ask", index, question, "--policy", "concat", *own)["answer"]
    (out,) = run(capsys, "export", index, "--policy", "concat", "-o", str(tmp_path / "out"), *own)
    base: Any = AutoModelForImageTextToText.from_pretrained(own[1])
    model: Any = PeftModel.from_pretrained(base, str(tmp_path / "out" / out["folder"])).eval()
    vlm = tiny_smolvlm.vlm()
    prompt = torch.tensor([vlm.prompt_ids(question)])
    ids = model.generate(input_ids=prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=64, do_sample=False)
    assert said == vlm.tokenizer.decode(ids[0, prompt.shape[1] :], skip_special_tokens=True).strip() != ""


@pytest.mark.parametrize(("codes", "most"), [("fp32", 0.0), ("fp16", 0.001), ("int8", 0.02)])
def test_how_codes_are_stored_changes_adapters_by_two_percent_at_most(
    codes: str, most: float, folder: Path, own: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exact, index = (str(tmp_path / name) for name in ("exact.idx", "movie.idx"))
    common = ["build", str(folder / "my movie.mp4"), "--detector", "fixed:1", "--no-captions", *own]
    run(capsys, *common, "-o", exact, "--codes", "fp32")
    run(capsys, *common, "-o", index, "--codes", codes)
    assert run(capsys, "show", index)["settings"]["codes"] == codes
    hypernet = load_hypernetwork(own[3]).requires_grad_(False)
    effects = []
    for path in (exact, index):
        with IndexFile(path) as file:
            made = hypernet.expand(file.codes(list(range(5))))
        effects.append(made.B.mT @ made.A)  # [segments, L, D, I]
    change = (effects[1] - effects[0]).flatten(2).norm(dim=-1) / effects[0].flatten(2).norm(dim=-1)
    assert float(change.max()) <= most
    assert codes == "fp32" or float(change.max()) > 0


def test_the_doctor_tries_a_model_of_ones_own(own: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    found = {item["subject"]: item for item in run(capsys, "doctor", *own)}
    assert not [item for item in found.values() if item["level"] == "problem"]
    assert "4 blocks, 4 ranks of 16" in found[own[1]]["text"]
    assert {"caption of a 3-second clip", "caption of a 5-second clip"} <= set(found)


@pytest.mark.long
def test_as_typed_by_programs_of_their_own(folder: Path, own: list[str], tmp_path: Path) -> None:
    """A process each: nothing is passed on but the index."""
    index = str(tmp_path / "movie.idx")

    def typed(*arguments: str) -> str:
        command = [sys.executable, "-m", "chunkv2l", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    assert "2 segments" in typed("build", str(folder / "my movie.mp4"), "-o", index, "--detector", "fixed:3", *own)
    assert "2 segments, model tiny model" in typed("show", index)
    assert typed("ask", index, "When does a dog run?", *own).strip()
    assert "rank 12" in typed("export", index, "--policy", "concat", "-o", str(tmp_path / "out"), *own)


def test_what_an_index_doesnt_know_it_asks_for(
    folder: Path, own: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = tmp_path / "movie.idx"
    arguments = [
        "build",
        str(folder / "my movie.mp4"),
        "-o",
        str(index),
        "--detector",
        "fixed:1",
        "--no-captions",
        *own,
    ]
    assert cli.run(arguments) == 0
    capsys.readouterr()
    assert cli.run(["ask", str(index), "What is red?"]) == 2
    told = capsys.readouterr().err
    assert "add --model FOLDER (tiny model) and --hypernet FILE (of SHA-256 " in told
    assert cli.run(["ask", str(index), "What is red?", *own[:2]]) == 2
    assert "add --hypernet FILE (of SHA-256 " in capsys.readouterr().err


def test_a_mismatch_says_the_command_that_rebuilds(
    folder: Path, own: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command, run where the movie is, makes an index for the model that was asked with, cut and kept alike."""
    index = tmp_path / "movie.idx"
    arguments = ["build", str(folder / "my movie.mp4"), "-o", str(index), "--codes", "int8", "--max-length", "2.5"]
    assert cli.run([*arguments, "--detector", "fixed:1.5", "--no-captions", *own]) == 0
    capsys.readouterr()
    before = run(capsys, "show", str(index))
    other = frames2lora.hypernet_file(tmp_path)
    assert cli.run(["ask", str(index), "What is red?", *own[:2], "--hypernet", str(other)]) == 2
    told = capsys.readouterr().err
    assert "built with another model (it differs in hypernet)" in told
    command = told[told.index("chunkv2l build") :].strip()
    words = [str(folder / word) if word == "my movie.mp4" else word for word in shlex.split(command)]
    assert words[words.index("--model") + 1] == own[1] and words[words.index("--hypernet") + 1] == str(other)
    assert cli.run(words[1:]) == 0
    capsys.readouterr()
    after = run(capsys, "show", str(index))
    assert after["settings"] == before["settings"] and after["identity"] != before["identity"]
    assert run(capsys, "ask", str(index), "What is red?", *own[:2], "--hypernet", str(other))["answer"]
