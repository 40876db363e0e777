"""Models of random weights for timing: of the published shape, and usable like any other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from chunkv2l.errors import InputError
from chunkv2l.hypernet import Hypernetwork
from chunkv2l.models import ModelSpec, load_model
from chunkv2l.models.smolvlm.load import PUBLISHED
from chunkv2l.video.clip import Clip
from evaluation.movies import random_smolvlm
from tests.helpers.tiny_smolvlm import pictures


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("models") / "random"
    result = CliRunner().invoke(random_smolvlm.command, ["-o", str(out), "--shape", "tiny"])
    assert result.exit_code == 0, result.output
    return out


def test_it_loads_encodes_scores_and_speaks(folder: Path) -> None:
    model = load_model(ModelSpec(str(folder), str(folder / random_smolvlm.HYPERNET), "cpu"))
    frames = tuple(pictures(3)[::10])
    clip = Clip(frames, tuple(float(n) for n in range(len(frames))), 3.0, 10.0)
    with torch.no_grad():
        states, mask = model.vlm.encode([clip])
        adapter = model.hypernet(states, mask)
    assert states.shape[1] == 2 and states.shape[3] == 48
    strong = replace(adapter, B=100 * adapter.B)  # which words are which tokens, and so the effect, is chance
    bare, bent = model.vlm.score(["A dog runs."]), model.vlm.score(["A dog runs."], strong)
    assert bare.isfinite().all() and (bare - bent).abs().max() > 1e-3, "adapters do something"
    (answer,) = model.vlm.generate(["What happens?"], adapter, 12)
    assert isinstance(answer, str)
    assert 3 <= model.vlm.count_tokens("A dog runs over the grass.") <= 14, "words aren't spelt letter by letter"


def test_the_published_shape_is_the_papers() -> None:
    shape = random_smolvlm.SHAPES["smolvlm2-500m"]
    known = PUBLISHED["smolvlm2-500m"]
    side = shape.vision["image_size"] // shape.vision["patch_size"]
    assert shape.vision["image_size"] == known.tile
    assert (side // shape.scale_factor) ** 2 == known.frame_tokens
    assert shape.text["num_hidden_layers"] == known.hypernet.num_layers
    assert shape.text["hidden_size"] == known.hypernet.hidden_size
    with torch.device("meta"):
        assert sum(p.numel() for p in Hypernetwork(shape.hypernet).parameters()) == known.parameters


def test_nothing_is_overwritten(folder: Path) -> None:
    with pytest.raises(InputError, match="isn't empty"):
        random_smolvlm.make(folder, random_smolvlm.SHAPES["tiny"])
