"""Indexes for recipes, of three tiny random models; a recipe that opens one of them gets that model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from chunkv2l.ask import Index
from chunkv2l.hypernet import Hypernetwork
from chunkv2l.indexing.build import build
from chunkv2l.models import UNFITTED, Model
from tests.helpers import indexes, tiny_mini, tiny_mini_files, tiny_smolvlm
from tests.helpers.fake_vlm import fake_model
from tests.helpers.written import random_codes, write_index


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six segments of the fake model, with captions."""
    monkeypatch.setattr("chunkv2l.models.load_model", lambda *_, **__: fake_model())
    return write_index(tmp_path / "movie.idx", random_codes(6))


@pytest.fixture
def other(tmp_path: Path, path: Path) -> Path:
    """Three other segments of the fake model."""
    return write_index(tmp_path / "other.idx", random_codes(3, seed=9))


@pytest.fixture
def index(path: Path) -> Iterator[Index]:
    with Index(path) as opened:
        yield opened


@pytest.fixture
def smolvlm_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five segments of the tiny SmolVLM, a second each, without captions."""
    monkeypatch.setattr("chunkv2l.models.load_model", lambda *_, **__: tiny_smolvlm.model())
    monkeypatch.setattr("chunkv2l.ask.MODELS", ("tiny",))  # the name that its index has
    options: Any = {"detector": "fixed:1", "codes": "fp32", "captions": False}
    return Path(build(tiny_smolvlm.video(5), tmp_path / "five.idx", model=tiny_smolvlm.model(), **options).index)


@pytest.fixture
def mini_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index of four segments for `mini` at a tiny size, with random codes."""
    config = tiny_mini_files.CONFIG
    with torch.random.fork_rng():
        torch.manual_seed(5)
        hypernet = Hypernetwork(config)
        torch.nn.init.normal_(hypernet.scaler_B["down_proj"])
    model = Model("mini", tiny_mini.tiny().vlm, hypernet.requires_grad_(False), UNFITTED, {"hypernet": "tiny"})
    monkeypatch.setattr("chunkv2l.models.load_model", lambda *_, **__: model)
    shape = (config.num_layers, config.rank, config.latent_size)
    codes = torch.nn.functional.normalize(torch.randn(4, *shape, generator=torch.Generator().manual_seed(1)), dim=-1)
    meta = indexes.origin("fp32", model="mini", identity=dict(model.identity), code_shape=list(shape))
    return indexes.write_index(
        tmp_path / "mini.idx", ("A dog.", "A cat.", "A ball.", ""), codes=codes, kind="fp32", meta=meta
    )


def typed(recipe: Any, *arguments: object, stdin: str | None = None) -> str:
    """What a recipe prints when it is called with these words."""
    result = CliRunner().invoke(recipe.main, [str(word) for word in arguments], input=stdin, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout
