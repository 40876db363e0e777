"""A small deterministic model for tests: no weights from anywhere, every number from a seed, milliseconds a clip.

`fake_model()` has the parts of a loaded model: a VLM whose text side is a real (tiny, random) stack of blocks with
`down_proj`s, so that adapters matter to what it says and scores, and a tiny Hypernetwork with random weights.
Words are its tokens; it knows `WORDS`, everything else is "thing".
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from chunkv2l.adapter.algebra import Adapter
from chunkv2l.adapter.inject import inject
from chunkv2l.hypernet import HypernetConfig, Hypernetwork
from chunkv2l.models import UNFITTED, Model
from chunkv2l.models.base import AdapterBase, CoarseScorer, Tag
from chunkv2l.models.text.decoder import pad
from chunkv2l.video.clip import Clip
from chunkv2l.video.frame_sampling import FrameSampling

LAYERS, HIDDEN, INTERMEDIATE, RANK, LATENT = 2, 16, 24, 2, 8
SIDE = 16  # pixels of what is kept of a frame
GRID = 2  # a frame becomes GRID × GRID tokens
END, START, THING = "<end>", "<start>", "thing"
_WORDS = """a an the dog cat ball rocket man woman red green blue catch catches run runs jump jumps sit on in sky grass
water house two one and . what when does happens before after"""
WORDS = tuple(_WORDS.split())
VOCABULARY = [END, START, THING, *WORDS]


def sample_times(duration: float, fps: float) -> list[float]:
    """Return 2 to 4 times, about one a second, from the segment's start on."""
    count = max(2, min(4, int(duration)))
    return [duration * i / count for i in range(count)]


def shrink(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture [SIDE, SIDE, 3] of a frame."""
    return np.asarray(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA), dtype=np.uint8)


class _Block(nn.Module):
    """x + down_proj(silu(up(mean so far + x))): causal, position by position."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(HIDDEN, INTERMEDIATE)
        self.down_proj = nn.Linear(INTERMEDIATE, HIDDEN)

    def forward(self, x: Tensor) -> Tensor:  # [B, T, D]
        counts = torch.arange(1, x.shape[1] + 1, device=x.device)[:, None]
        seen = x.cumsum(dim=1) / counts
        down: Tensor = self.down_proj(nn.functional.silu(self.up(x + seen)))
        return x + down


class FakeVLM(nn.Module):
    """Implements `chunkv2l.models.base.VLM`.

    Attributes:
        delay: seconds that `encode` and `generate` sleep for each clip or question: a build that can be interrupted.
        prompts: the token ids of every prompt that was generated from or scored under, in order.
        tags: what a classifier takes every clip for.
    """

    name = "fake"
    caption_question = ""
    coarse: CoarseScorer | None = None

    def __init__(self, seed: int = 0, delay: float = 0.0) -> None:
        super().__init__()
        self.delay = delay
        self.prompts: list[list[int]] = []
        self.tags: tuple[Tag, ...] = ()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.embedding = nn.Embedding(len(VOCABULARY), HIDDEN)
            self.patch = nn.Linear(3, HIDDEN)
            self.blocks = nn.ModuleList(_Block() for _ in range(LAYERS))
            self.head = nn.Linear(HIDDEN, len(VOCABULARY))
        self.requires_grad_(False)

    @property
    def device(self) -> torch.device:
        return self.embedding.weight.device

    @property
    def targets(self) -> Sequence[nn.Module]:
        return [block.down_proj for block in self.blocks]  # type: ignore[misc]

    @property
    def sampling(self) -> FrameSampling:
        return FrameSampling(sample_times, shrink)

    @property
    def adapter_base(self) -> AdapterBase:
        return AdapterBase(self.name)

    def look(self, clips: Sequence[Clip]) -> list[Tensor]:
        rows = []
        for clip in clips:
            pictures = torch.from_numpy(np.stack(clip.frames)).float() / 255  # [F, H, W, 3]
            cell = SIDE // GRID
            cells = pictures.reshape(-1, GRID, cell, GRID, cell, 3).mean(dim=(2, 4))  # [F, GRID, GRID, 3]
            rows.append(self.patch(cells.flatten(0, 2)))  # [S, D]
        return rows

    def encode(self, clips: Sequence[Clip], features: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        time.sleep(self.delay * len(clips))
        x, mask = pad(self.look(clips) if features is None else features)
        states = []
        for block in self.blocks:
            states.append(x)
            x = block(x)
        return torch.stack(states, dim=1), mask

    def classify(self, features: Sequence[Tensor]) -> list[tuple[Tag, ...]]:
        return [self.tags] * len(features)

    def prompt_ids(self, question: str) -> list[int]:
        return [VOCABULARY.index(START), *self._ids(question)]

    def generate(
        self,
        questions: Sequence[str],
        adapter: Adapter | None = None,
        max_new_tokens: int = 64,
        *,
        on_first_token: Callable[[], None] | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> list[str]:
        time.sleep(self.delay * len(questions))
        out = []
        for i, question in enumerate(questions):
            own = adapter[i] if adapter is not None and adapter.leading else adapter
            out.append(self._generate(question, own, max_new_tokens, on_first_token, on_text))
            on_first_token = on_text = None
        return out

    def _generate(
        self,
        question: str,
        adapter: Adapter | None,
        max_new_tokens: int,
        on_first_token: Callable[[], None] | None,
        on_text: Callable[[str], None] | None,
    ) -> str:
        prompt = self.prompt_ids(question)
        self.prompts.append(prompt)
        said: list[int] = []
        with inject(self.targets, adapter):
            while len(said) < min(max_new_tokens, 8):
                logits = self._logits(torch.tensor([prompt + said]))[0, -1]
                for i in (*said, VOCABULARY.index(START)):
                    logits[i] = -torch.inf  # says nothing twice
                token = int(logits.argmax())
                if on_first_token is not None:
                    on_first_token()
                    on_first_token = None
                if token == VOCABULARY.index(END) and said:
                    break
                said.append(token)
                if on_text is not None:
                    on_text(" ".join(VOCABULARY[i] for i in said))
        return " ".join(VOCABULARY[i] for i in said)

    def score(self, statements: Sequence[str], adapter: Adapter | None = None) -> Tensor:
        adapters = [None] if adapter is None else adapter.unbind() if adapter.leading else [adapter]
        prompt = self.prompt_ids("")
        self.prompts.append(prompt)
        rows = []
        for one in adapters:
            row = []
            for statement in statements:
                target = self._ids(statement)
                with inject(self.targets, one):
                    logits = self._logits(torch.tensor([[*prompt, *target]]))[0, len(prompt) - 1 : -1]
                row.append(logits.log_softmax(-1).gather(-1, torch.tensor(target)[:, None]).sum())
            rows.append(torch.stack(row))
        return torch.stack(rows)

    def count_tokens(self, statement: str) -> int:
        return len(self._ids(statement))

    def _ids(self, text: str) -> list[int]:
        words = re.findall(r"\w+|\.", text.lower())
        return [VOCABULARY.index(word if word in WORDS else THING) for word in words]

    def _logits(self, ids: Tensor) -> Tensor:  # [B, T] -> [B, T, V]
        logits: Tensor = self.head(self._states(ids))
        return logits

    def _states(self, ids: Tensor) -> Tensor:  # [B, T] -> [B, T, D]
        x: Tensor = self.embedding(ids)
        for block in self.blocks:
            x = block(x)
        return x


@dataclass(frozen=True, eq=False)
class FakeModel(Model):
    """A Model whose VLM is a FakeVLM."""

    vlm: FakeVLM


def fake_hypernet(seed: int = 1) -> Hypernetwork:
    """A tiny Hypernetwork whose adapters aren't zero."""
    config = HypernetConfig(
        num_layers=LAYERS,
        hidden_size=HIDDEN,
        intermediate_size=INTERMEDIATE,
        latent_size=LATENT,
        rank=RANK,
        num_blocks=1,
        num_queries=2,
        num_heads=2,
        num_kv_heads=1,
        head_dim=4,
        scaling=1.0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        hypernet = Hypernetwork(config)
        for name, parameter in hypernet.named_parameters():
            if "scaler_B" in name or "bias_B" in name:
                nn.init.normal_(parameter)
            if name == "head.weight":
                nn.init.normal_(parameter, std=0.5)
    return hypernet.requires_grad_(False).eval()


def fake_model(seed: int = 0, delay: float = 0.0) -> FakeModel:
    """The same seed gives the same numbers. `delay`: seconds a clip."""
    vlm, hypernet = FakeVLM(seed, delay).eval(), fake_hypernet(seed + 1)
    return FakeModel("fake", vlm, hypernet, UNFITTED, {"hypernet": f"{seed:064x}"})
