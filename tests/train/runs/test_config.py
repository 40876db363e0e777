"""Configurations: those of the recipes are read, and what is wrong in others is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chunkv2l.errors import InputError
from chunkv2l.train.runs.config import read_config

RECIPES = Path(__file__).parents[3] / "recipes"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("train_*/*.json")), ids=lambda path: str(path.stem))
def test_recipes_are_read(path: Path) -> None:
    config = read_config(path)
    assert config.data == Path("data")
    assert not any(path.is_absolute() for path in (config.out, config.reader, config.start) if path is not None)
    assert config.mix.cut == 0 and config.sources and config.schedule.steps
    assert config.model == ("" if path.parent.name == "train_mini" else path.stem)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"lr": 1}, "has no setting lr; it has .*cache"),
        ({"mix": {"kinds": {"find": 1}, "clips": {"find": 8}, "cuts": 1}}, "mix has no setting cuts"),
        ({"sources": [{"weight": 1}]}, "a source is incomplete"),
        ({"schedule": 5}, "schedule must be an object"),
    ],
)
def test_mistakes_get_a_sentence(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps({**json.loads((RECIPES / "train_mini" / "vlm.json").read_text()), **changes}))
    with pytest.raises(InputError, match=says):
        read_config(path)
    with pytest.raises(InputError, match="no configuration"):
        read_config(tmp_path / "none.json")
