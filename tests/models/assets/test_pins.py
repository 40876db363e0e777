"""A hub's files are those of the pin, or those of the first fetch."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from chunkv2l.errors import InputError
from chunkv2l.models.assets import hub, pins
from chunkv2l.models.assets.pins import UNKNOWN, Pin

COMMIT, OTHER = "0123456789" * 4, "abcdef0123" * 4
PATTERNS = ("*.json", "*.bin")


class FakeHub:
    """A hub whose newest commit has these files; its cache has what was fetched."""

    def __init__(self, cache: Path) -> None:
        self.cache, self.newest, self.files = cache, COMMIT, {"config.json": b"{}", "model.bin": b"weights"}
        self.asked: list[str | None] = []

    def snapshot_download(
        self, repository: str, *, revision: str | None, local_files_only: bool = False, **_: object
    ) -> str:
        folder = self.cache / repository.replace("/", "--") / (revision or self.newest)
        if not local_files_only:
            self.asked.append(revision)
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in self.files.items():
                (folder / name).write_bytes(content)
        if not folder.is_dir():
            raise OSError("not here")
        return str(folder)

    def hf_hub_download(self, repository: str, name: str, **options: object) -> str:
        return str(Path(self.snapshot_download(repository, **options)) / name)  # type: ignore[arg-type]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub(tmp_path / "hub")
    monkeypatch.setenv("CHUNKV2L_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub, "is_reachable", lambda: True)
    monkeypatch.setattr(hub, "snapshot_download", fake.snapshot_download)
    monkeypatch.setattr(hub, "hf_hub_download", fake.hf_hub_download)
    return fake


def fetch(pin: Pin = UNKNOWN) -> Path:
    return hub.folder("someone/model", PATTERNS, lambda folder: (folder / "model.bin").is_file(), pin=pin)


def test_the_commit_of_the_first_fetch_stays(fake: FakeHub) -> None:
    first = fetch()
    fake.newest, fake.files = OTHER, {"config.json": b"{}", "model.bin": b"others"}
    assert fetch() == first and fake.asked == [None]
    for path in first.iterdir():
        path.unlink()
    fake.files["model.bin"] = b"weights"
    assert fetch() == first and fake.asked == [None, COMMIT]


@pytest.mark.parametrize("is_fetched_again", [True, False])
def test_another_content_is_refused_until_the_record_is_gone(
    fake: FakeHub, tmp_path: Path, is_fetched_again: bool
) -> None:
    path = fetch() / "model.bin"
    if is_fetched_again:
        path.unlink()
        fake.files["model.bin"] = b"changed"
    else:
        path.write_bytes(b"changed")
    record = tmp_path / "cache" / pins.FOLDER / "someone--model.json"
    for _ in range(2):
        with pytest.raises(
            InputError, match=r"model\.bin isn't the file that was first fetched.* remove .*model\.json"
        ):
            fetch()
    record.unlink()
    assert (fetch() / "model.bin").read_bytes() == b"changed"


def test_known_content_is_hashed_once(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fetch()
    os.utime(folder / "model.bin", (1, 1))
    fetch()
    monkeypatch.setattr(pins, "sha256", lambda path: pytest.fail("it was hashed again"))
    fetch()


def test_a_pin_goes_before_the_first_fetch(fake: FakeHub) -> None:
    fetch()
    fake.files["model.bin"] = b"of the other commit"
    known = {"model.bin": hashlib.sha256(b"of the other commit").hexdigest()}
    assert fetch(Pin(OTHER, known)).name == OTHER
    with pytest.raises(InputError, match=r"isn't the file that chunkv2l expects of someone/model"):
        fetch(Pin(OTHER, {"model.bin": "00" * 32}))


def test_a_file_is_looked_at_before_it_is_taken(fake: FakeHub) -> None:
    looked_at: list[Path] = []

    def refuse(path: Path) -> None:
        looked_at.append(path)
        if len(looked_at) == 1:
            raise InputError("no")

    with pytest.raises(InputError, match="no"):
        hub.file(["someone/model"], "model.bin", inspect=refuse)
    for _ in range(2):
        assert hub.file(["someone/model"], "model.bin", inspect=refuse) == looked_at[0]
    assert len(looked_at) == 2
    looked_at[0].write_bytes(b"changed")
    with pytest.raises(InputError, match="first fetched"):
        hub.file(["someone/model"], "model.bin")


@pytest.mark.parametrize(
    "text", ["[", "[]", '{"files": 5}', '{"files": {"a": [1]}}', '{"files": {}, "revision": "main"}']
)
def test_a_damaged_record_is_a_sentence(fake: FakeHub, tmp_path: Path, text: str) -> None:
    fetch()
    (tmp_path / "cache" / pins.FOLDER / "someone--model.json").write_text(text)
    with pytest.raises(InputError, match=r"someone--model\.json (is damaged|can't be read)"):
        fetch()


@pytest.mark.usefixtures("fake")
def test_a_cache_that_cant_be_written_records_nothing(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"")
    assert fetch().name == COMMIT
