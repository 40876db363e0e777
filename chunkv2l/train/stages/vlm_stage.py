"""Compute the loss of stage 1, in which SmolLM2 learns to read frames: connector and LoRA are trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chunkv2l.models.mini.connector import Connector, VisionFeatures
from chunkv2l.models.mini.prompts import Prompts
from chunkv2l.train.clips.bank import FeatureBank
from chunkv2l.train.clips.base import Sight
from chunkv2l.train.core.decoder import Decoder, Runner, forward
from chunkv2l.train.core.lora import DecoderLora
from chunkv2l.train.core.losses import short_weight, token_nll
from chunkv2l.train.data.batches import Batch, pad

# The bare language model's answers to these questions are trained too, so that it doesn't forget its language.
REHEARSED = (
    "What is the capital of France?",
    "What is the capital of Japan?",
    "Who wrote Romeo and Juliet?",
    "What is the largest planet?",
    "How many days are in a week?",
    "What is two plus two?",
    "Name a primary color.",
    "What do bees make?",
    "What is the opposite of hot?",
    "Write a sentence about the sea.",
    "What is photosynthesis?",
    "Why is the sky blue?",
    "Give me a tip for sleeping better.",
    "What is a noun?",
    "Translate 'hello' to Spanish.",
    "Who was Albert Einstein?",
    "What is the boiling point of water?",
    "Tell me a short joke.",
    "What is the tallest mountain in the world?",
    "How do I boil an egg?",
    "What language is spoken in Brazil?",
    "What is gravity?",
    "Name three animals that can fly.",
    "What is the currency of the United Kingdom?",
    "Who painted the Mona Lisa?",
    "What season comes after winter?",
    "Explain what a computer is.",
    "What is the capital of Italy?",
    "Which ocean is the largest?",
    "What is the chemical symbol for gold?",
    "How many legs does a spider have?",
    "Write a short greeting to a friend.",
)


class VisualReader(nn.Module):
    """The parts that stage 1 trains: connector and LoRA."""

    def __init__(self, decoder: Decoder, rank: int) -> None:
        super().__init__()
        self.connector = Connector(decoder.embedding.shape[1])
        self.lora = DecoderLora(decoder, rank)


@torch.no_grad()
def rehearsal(
    decoder: Decoder,
    prompts: Prompts,
    device: torch.device,
    runner: Runner,
    questions: Sequence[str] = REHEARSED,
    tokens: int = 32,
) -> list[Tensor]:
    """Return ids and labels [Q, T] of the bare model's greedy answers."""
    end = prompts.answer("")[-1]
    rows: list[tuple[list[int], list[int]]] = [(prompts.ask(question), []) for question in questions]
    for _ in range(tokens):
        ids, _ = pad([(prompt, answer) for prompt, answer in rows])
        hidden, _ = forward(decoder, decoder.embed(ids.to(device)), runner=runner)
        last = torch.tensor([len(prompt) + len(answer) - 1 for prompt, answer in rows], device=device)
        states = hidden[torch.arange(len(rows), device=device), last]
        for (_, answer), token in zip(rows, (states @ decoder.head.T).argmax(-1).tolist(), strict=True):
            if not answer or answer[-1] != end:
                answer.append(token)
    ids, labels = pad(rows)
    return [ids.to(device), labels.to(device)]


@dataclass(frozen=True)
class VlmStage:
    """Compute the loss of stage 1: next-token cross-entropy of answers behind frames, and the rehearsed answers."""

    reader: VisualReader
    decoder: Decoder
    bank: FeatureBank
    sight: Sight
    rehearsed: Sequence[Tensor]
    generator: torch.Generator
    runner: Runner
    rehearse: float = 0.1
    blur: float = 0.0
    """share of vision features that a step leaves out"""
    drop: float = 0.0
    """share of the LoRA's ranks that a step leaves out"""
    short: float = 1.0
    """weight of the tokens of short answers ("Yes."), which long captions outnumber"""

    def loss(self, batch: Batch, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a batch, and figures for the log."""
        device = self.bank.first.device
        batch = batch.to(device)
        features = self.bank.clips(batch.images, batch.frames, self.generator)
        if self.blur:
            features = VisionFeatures(F.dropout(features.grid, self.blur), F.dropout(features.cls, self.blur))
        decoder = self.reader.lora.apply_to(self.decoder, self.drop)
        prefix = self.sight.prefix(features)
        hidden = self.sight.behind(prefix, batch.owner, batch.behind_ids, decoder)
        nll, row = token_nll(hidden, decoder.head, batch.behind_labels)
        weight = short_weight(batch.behind_labels, row, self.short)
        loss = (nll * weight).sum() / weight.sum()
        figures: dict[str, Tensor] = {"nll": nll.mean().detach()}
        if batch.draw % 4 == 0:  # a quarter of the steps
            ids, labels = self.rehearsed
            spoken, _ = forward(decoder, decoder.embed(ids), runner=self.runner)
            said = token_nll(spoken, decoder.head, labels)[0].mean()
            loss = loss + 4 * self.rehearse * said
            figures["said"] = said.detach()
        return loss, figures
