"""`mini`'s architecture at a tiny size with random weights, and clips for it: nothing is fetched."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import Dinov2Config, Dinov2Model, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from chunkv2l.adapter.algebra import Adapter
from chunkv2l.models.mini.connector import BLOCKS, SIZE, Connector
from chunkv2l.models.mini.load import merge
from chunkv2l.models.mini.vlm import MiniVLM
from chunkv2l.models.text.llama import Sizes
from chunkv2l.train.core.decoder import Decoder, from_llama
from chunkv2l.train.core.lora import DecoderLora
from chunkv2l.video.clip import Clip

HIDDEN, INTERMEDIATE, LAYERS, SEEN = 32, 48, 3, 24
CHANNELS = SEEN * len(BLOCKS)
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


@dataclass(frozen=True)
class Untrained:
    """The parts before the LoRA is merged."""

    language: Any
    vision: Any
    connector: Connector
    lora: DecoderLora
    decoder: Decoder
    """`language` as training has it, in float32"""


@dataclass(frozen=True)
class Tiny:
    """The VLM, and its language model as training has it: in float32, the LoRA applied as training applies it."""

    vlm: MiniVLM
    decoder: Decoder


def untrained() -> Untrained:
    """Always the same; language weights are such that float16 holds them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        language: Any = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=320,
                hidden_size=HIDDEN,
                intermediate_size=INTERMEDIATE,
                num_hidden_layers=LAYERS,
                num_attention_heads=4,
                num_key_value_heads=2,
                rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
                tie_word_embeddings=True,
                initializer_range=0.25,
                bos_token_id=1,
                eos_token_id=2,
            )
        )
        for parameter in language.parameters():
            parameter.data = parameter.data.half().float()
        vision: Any = Dinov2Model(
            Dinov2Config(
                hidden_size=SEEN,
                num_hidden_layers=12,
                num_attention_heads=2,
                image_size=SIZE,
                patch_size=14,
                initializer_range=0.2,
            )
        )
        connector = Connector(HIDDEN, width=20, channels=CHANNELS)
        decoder = from_llama(language, torch.float32)
        lora = DecoderLora(decoder, rank=2)
        for factor in lora.up.values():
            torch.nn.init.normal_(factor, std=0.05)
    return Untrained(language, vision, connector, lora.requires_grad_(False), decoder)


def sizes(config: Any) -> Sizes:
    """Of a transformers' configuration."""
    rope = float(config.rope_parameters["rope_theta"])
    return Sizes(
        **{field.name: getattr(config, field.name) for field in fields(Sizes) if field.name != "rope_theta"},
        rope_theta=rope,
    )


@cache
def tiny() -> Tiny:
    parts = untrained()
    decoder = parts.lora.apply_to(parts.decoder)
    with torch.no_grad():
        merge(parts.language.state_dict(), parts.lora.state_dict())
    return Tiny(MiniVLM(parts.language, parts.vision, parts.connector, tokenizer()), decoder)


def tokenizer() -> Any:
    """Bytes as tokens, behind SmolLM2's control tokens."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    kind: Any = models.BPE
    made = Tokenizer(kind(vocab={token: i for i, token in enumerate([*CONTROL, *letters])}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(list(CONTROL))
    wrap: Any = PreTrainedTokenizerFast
    return wrap(tokenizer_object=made, bos_token=CONTROL[1], eos_token=CONTROL[2], unk_token=CONTROL[0])


def clip(frames: int, seed: int = 0, size: tuple[int, int] = (SIZE, SIZE)) -> Clip:
    """A clip of random pictures, one a second."""
    random = np.random.default_rng(seed)
    pictures = tuple(random.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(frames))
    return Clip(pictures, tuple(float(i) for i in range(frames)), float(frames), 25.0)


def adapter(count: int | None = None, seed: int = 0, rank: int = 2) -> Adapter:
    """One random adapter, or a stack of `count`."""
    random = torch.Generator().manual_seed(seed)
    leading = () if count is None else (count,)

    def factor(size: int) -> Tensor:
        return 0.3 * torch.randn(*leading, LAYERS, rank, size, generator=random)

    return Adapter(factor(INTERMEDIATE), factor(HIDDEN), 1.5)
