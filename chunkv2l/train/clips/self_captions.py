"""Captions for unlabelled photographs, sampled from the trained VLM with the frames in context (self-distillation)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from chunkv2l.train.clips.base import BankClips
from chunkv2l.train.core.decoder import Runner, forward
from chunkv2l.train.data.questions import Described, clean


@torch.no_grad()
def sample_captions(
    source: BankClips,
    images: Tensor,
    tokenizer: object,
    generator: torch.Generator,
    runner: Runner,
    *,
    each: int = 1,
    temperature: float = 0.7,
    longest: int = 20,
    batch: int = 512,
    frames: int = 4,
) -> list[Described]:
    """`each` sampled captions of every image; those that didn't end in `longest` tokens are left out."""
    texts: list[list[str]] = [[] for _ in range(images.shape[0])]
    end = tokenizer.eos_token_id  # type: ignore[attr-defined]
    for begin in range(0, images.shape[0], batch):
        chosen = images[begin : begin + batch]
        for _ in range(each):
            prefix = source.sight.prefix(source.bank.clips(chosen, frames, generator))
            tail = source.decoder.embed(source.tail).expand(prefix.shape[0], -1, -1)
            x = torch.cat([prefix, tail], dim=1)
            ids = torch.empty(prefix.shape[0], 0, dtype=torch.long, device=x.device)
            for _ in range(longest):
                hidden, _ = forward(source.decoder, x, runner=runner)
                logits = (hidden[:, -1] @ source.decoder.head.T).float() / temperature
                token = torch.multinomial(logits.softmax(-1), 1, generator=generator)
                ids = torch.cat([ids, token], dim=1)
                x = torch.cat([x, source.decoder.embed(token)], dim=1)
                if bool((ids == end).any(1).all()):
                    break
            for row, sequence in enumerate(ids.tolist()):
                if end in sequence:
                    text = tokenizer.decode(sequence[: sequence.index(end)])  # type: ignore[attr-defined]
                    texts[begin + row].append(clean(text))
    return [replace(Described(), captions=tuple(t for t in captions if t)) for captions in texts]
