"""The doctor: what it finds here, and that each thing that can be wrong is told."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chunkv2l import models
from chunkv2l.doctor import report as module
from chunkv2l.doctor import trials as doctor_trials
from chunkv2l.doctor.finding import Finding, installed_version
from chunkv2l.doctor.report import doctor
from chunkv2l.errors import InputError
from chunkv2l.models import ModelSpec
from chunkv2l.models.assets import hub
from chunkv2l.models.smolvlm import load as smolvlm
from tests.helpers import tiny_smolvlm


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine's caches is seen, and nothing is asked of a network."""
    monkeypatch.setenv("CHUNKV2L_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(hub, "is_reachable", lambda: pytest.fail("the hub was asked"))


def by_subject(findings: list[Finding]) -> dict[str, Finding]:
    found = {finding.subject: finding for finding in findings}
    assert len(found) == len(findings)
    return found


def test_here_everything_works() -> None:
    found = by_subject(doctor(device="cpu"))
    assert not [finding for finding in found.values() if finding.level == "problem"]
    assert found["torch"].text == f"{metadata.version('torch')}."
    assert found["device"].text.startswith("CPU, ")
    assert "3 pictures" in found["reader pyav"].text
    assert found["SQLite"].level == "ok"
    assert found["cache"].level in ("ok", "note")
    for name, size in (("smolvlm2-500m", "500M-Video"), ("smolvlm2-2.2b", "2.2B")):
        assert found[name].level == "note"
        assert f"SmolVLM2-{size}-Instruct" in found[name].text
    assert found["mini"].level == "note"
    assert all(finding.text.endswith((".", ")")) for finding in found.values())


def test_weights_that_are_here(tmp_path: Path) -> None:
    place = tmp_path / "cache" / "smolvlm2-500m"
    place.mkdir(parents=True)
    (place / "config.json").write_text("{}")
    (place / smolvlm.PUBLISHED["smolvlm2-500m"].checkpoint).write_bytes(b"")
    found = by_subject(list(module.weights()))
    assert found["smolvlm2-500m"].level == "ok"
    assert str(place) in found["smolvlm2-500m"].text


def test_versions_that_dont_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"torch": "1.13.0", "transformers": None, "decord": "0.6.0", "decord2": "3.4.0"}
    required = {"torch": ">=2.6", "transformers": "<6,>=5", "peft": ">=0.1"}
    monkeypatch.setattr(module, "_required", lambda: required)

    def look_up(name: str) -> str | None:
        return installed[name] if name in installed else installed_version(name)

    monkeypatch.setattr(module, "installed_version", look_up)
    found = by_subject(list(module.versions()))
    assert found["torch"].level == "problem"
    assert "1.13.0 is installed, but >=2.6 is needed" in found["torch"].text
    assert found["transformers"].level == "problem"
    assert "pip install 'transformers<6,>=5'" in found["transformers"].text
    assert found["decord"].level == "note"
    assert found["peft"].level == "ok"


def test_a_folder_that_isnt_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_required", lambda: None)
    found = by_subject(list(module.versions()))
    assert found["chunkv2l"].level == "note"
    assert found["torch"].level == "ok"


def test_sqlite_without_full_text_search(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bare:
        def execute(self, statement: str) -> None:
            raise sqlite3.OperationalError("no such module: fts5")

        def close(self) -> None:
            pass

    monkeypatch.setattr(sqlite3, "connect", lambda *_: Bare())
    assert by_subject(list(module.versions()))["SQLite"].level == "problem"


def test_a_device_that_isnt_there() -> None:
    found = by_subject(doctor(device="cuda:99"))
    assert found["device"].level == "problem"
    assert found["SQLite"].level == "ok"


def test_a_cache_that_cant_be_written_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(**_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    finding = module.cache()
    assert finding.level == "problem"
    assert str(tmp_path / "cache") in finding.text
    assert "CHUNKV2L_CACHE" in finding.text


def test_readers_that_fail_or_see_something_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "test.mp4"
    doctor_trials.write_clip(path)
    assert doctor_trials.try_reader("pyav", path).level == "ok"
    picture = doctor_trials.draw_picture
    monkeypatch.setattr(doctor_trials, "draw_picture", lambda time: np.flip(picture(time), axis=1))
    other = doctor_trials.try_reader("pyav", path)
    assert other.level == "problem"
    assert "other pictures than were written" in other.text
    path.write_bytes(b"no movie")
    assert doctor_trials.try_reader("pyav", path).level == "problem"
    monkeypatch.setattr(doctor_trials, "installed_version", lambda name: None)
    assert doctor_trials.try_reader("decord", path).level == "note"


def test_a_machine_that_cant_write_a_movie(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> Finding:
        raise OSError("no encoder")

    monkeypatch.setattr(doctor_trials, "write_clip", fail)
    (finding,) = doctor_trials.try_readers()
    assert finding == Finding("test movie", "problem", "OSError: no encoder")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Any:
    model = tiny_smolvlm.model()
    monkeypatch.setattr(models, "load_model", lambda *_: model, raising=False)
    return model


def trials(name: str) -> dict[str, Finding]:
    return by_subject(list(doctor_trials.try_model(ModelSpec(name))))


def test_a_model_internalises_two_clips_and_captions_them(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    encode = tiny.vlm.encode

    def spy(clips: Any, *rest: Any) -> Any:
        given.extend(len(clip.frames) for clip in clips)
        return encode(clips, *rest)

    monkeypatch.setattr(tiny.vlm, "encode", spy)
    found = trials("tiny")
    assert given == [3, 5]
    assert list(found) == ["tiny", "caption of a 3-second clip", "caption of a 5-second clip"]
    assert {finding.level for finding in found.values()} == {"ok"}
    assert "4 blocks" in found["tiny"].text
    assert '" (5 frames,' in found["caption of a 5-second clip"].text


@pytest.fixture
def as_published(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[smolvlm.Published]:
    """As if the tiny model were one of the paper's."""
    known = smolvlm.Published(
        "someone/tiny",
        "0" * 40,
        "tiny.pt",
        tiny.hypernet.config,
        sum(p.numel() for p in tiny.hypernet.parameters()),
        32,
        4,
    )
    monkeypatch.setattr(tiny.vlm, "pixels", replace(tiny.vlm.pixels, longest_edge=384))
    monkeypatch.setitem(smolvlm.PUBLISHED, "tiny", known)
    yield known


def test_a_published_model_is_compared(as_published: smolvlm.Published) -> None:
    found = trials("tiny")
    assert len(found) > 10
    assert {finding.level for finding in found.values()} == {"ok"}


def test_a_published_model_that_differs(
    as_published: smolvlm.Published, tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(smolvlm.PUBLISHED, "tiny", replace(as_published, frame_tokens=64))
    monkeypatch.setattr(tiny.vlm, "pixels", replace(tiny.vlm.pixels, mean=(0.4, 0.5, 0.5)))
    problems = {subject for subject, finding in trials("tiny").items() if finding.level == "problem"}
    assert problems == {"tiny: tokens of a frame", "tiny: normalisation"}


def test_damaged_weights_are_told(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expand = tiny.hypernet.expand

    def broken(codes: Any) -> Any:
        adapter = expand(codes)
        return replace(adapter, A=adapter.A * float("nan"))

    monkeypatch.setattr(tiny.hypernet, "expand", broken)
    found = trials("tiny")
    assert found["caption of a 3-second clip"].level == "problem"
    assert "damaged" in found["caption of a 3-second clip"].text


def test_a_model_that_cant_be_loaded_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise InputError("There is no model called 'none'.")

    monkeypatch.setattr(models, "load_model", refuse, raising=False)
    (finding,) = doctor_trials.try_model(ModelSpec("none"))
    assert finding == Finding("none", "problem", "There is no model called 'none'.")
    assert finding.to_json() == {"subject": "none", "level": "problem", "text": "There is no model called 'none'."}


@pytest.mark.parametrize(("name", "file"), [("smolvlm2-500m", "keys_500m"), ("smolvlm2-2.2b", "keys_2.2b")])
def test_published_sizes_are_those_of_the_released_checkpoints(name: str, file: str) -> None:
    import torch

    from chunkv2l.hypernet import Hypernetwork
    from tests.helpers import frames2lora

    known = smolvlm.PUBLISHED[name]
    with torch.device("meta"):
        hypernet = Hypernetwork(known.hypernet)
    assert sum(parameter.numel() for parameter in hypernet.parameters()) == known.parameters
    shapes = {key: tuple(value.shape) for key, value in hypernet.state_dict().items()}
    listed = frames2lora.info(file)["tensors"]
    assert len(shapes) == 140
    assert {key: list(shape) for key, shape in shapes.items()} == listed


def test_speech_needs_a_recogniser_and_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("chunkv2l.speech.is_installed", lambda: False)
    assert module.find_speech().level == "note" and "chunkv2l[speech]" in module.find_speech().text
    monkeypatch.setattr("chunkv2l.speech.is_installed", lambda: True)
    assert module.find_speech().text.endswith("chunkv2l models fetch speech.")
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setattr("chunkv2l.speech.find_recogniser", lambda name: folder if name == "tiny.en" else None)
    assert module.find_speech().level == "ok" and module.find_speech().text.endswith(", with tiny.en.")
