"""Make a SmolVLM2 of the published shape with random weights, and a hypernetwork for it, to measure times with.

    python -m evaluation random-smolvlm -o FOLDER
    python -m evaluation build --movie hour.mp4 --model FOLDER --hypernet FOLDER/hypernet.safetensors --device cuda

Times and memory are those of the real model. Answers are noise and don't end by themselves, so that every caption has
the greatest length. The tokenizer is a byte-level BPE made from this package's own text, which makes about as many
tokens of a word as the real one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch

from chunkv2l.cli import streams as terminal
from chunkv2l.errors import InputError
from chunkv2l.hypernet import HypernetConfig, Hypernetwork
from chunkv2l.hypernet.checkpoint import save_hypernetwork
from chunkv2l.models.smolvlm.load import PUBLISHED
from chunkv2l.models.text.plain import quiet
from evaluation.common.options import seed_option

HYPERNET = "hypernet.safetensors"
SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<image>",
    "<fake_token_around_image>",
    "<global-img>",
    "<end_of_utterance>",
)
TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}: {% for part in message['content'] %}"
    "{{ part['text'] }}{% endfor %}<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
_VOCABULARY = 4000  # tokens of the BPE, at most


@dataclass(frozen=True)
class Shape:
    """The sizes of a frozen model and its hypernetwork, as transformers and `HypernetConfig` name them."""

    text: dict[str, int]
    vision: dict[str, int]
    scale_factor: int
    hypernet: HypernetConfig


SHAPES = {
    "smolvlm2-500m": Shape(
        text={
            "vocab_size": 49_280,
            "hidden_size": 960,
            "intermediate_size": 2560,
            "num_hidden_layers": 32,
            "num_attention_heads": 15,
            "num_key_value_heads": 5,
            "head_dim": 64,
            "max_position_embeddings": 8192,
        },
        vision={
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "image_size": 512,
            "patch_size": 16,
        },
        scale_factor=4,
        hypernet=PUBLISHED["smolvlm2-500m"].hypernet,
    ),
    "tiny": Shape(
        text={
            "vocab_size": 8192,
            "hidden_size": 48,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 3,
            "num_key_value_heads": 1,
            "head_dim": 16,
            "max_position_embeddings": 1024,
        },
        vision={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
        },
        scale_factor=2,
        hypernet=HypernetConfig(
            num_layers=2, hidden_size=48, intermediate_size=64, latent_size=16, rank=4, num_blocks=1, head_dim=8
        ),
    ),
}


def make(folder: Path, shape: Shape, seed: int = 0, dtype: torch.dtype = torch.bfloat16) -> Path:
    """Write the model's folder with its hypernetwork in it, and return the hypernetwork's file.

    Raises:
        InputError: the folder isn't empty, or can't be written to.
    """
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} isn't empty: name another folder.")
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIAL}
    if len(tokenizer) > shape.text["vocab_size"]:
        raise InputError(f"{len(tokenizer)} tokens are too many for a vocabulary of {shape.text['vocab_size']}.")
    end, pad = ids["<end_of_utterance>"], ids["<|im_end|>"]
    text = {
        "model_type": "llama",
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 100_000,
        "eos_token_id": end,
        "pad_token_id": pad,
        **shape.text,
    }
    configure: Any = SmolVLMConfig
    config = configure(
        text_config=text,
        vision_config={"model_type": "smolvlm_vision", "hidden_act": "gelu_pytorch_tanh", **shape.vision},
        scale_factor=shape.scale_factor,
        image_token_id=ids["<image>"],
        pad_token_id=pad,
        tie_word_embeddings=False,
    )
    model: Any = SmolVLMForConditionalGeneration(config)
    hypernet = Hypernetwork(shape.hypernet)
    with torch.no_grad():
        hypernet.scaler_B["down_proj"].normal_(std=0.02)  # without it, all adapters would be zero
        hypernet.bias_B["down_proj"].normal_(std=0.002)
    try:
        with quiet():
            model.to(dtype).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        save_hypernetwork(hypernet, folder / HYPERNET)
    except OSError as error:
        raise InputError(f"{folder} can't be written ({error.strerror or error}).") from error
    return folder / HYPERNET


def make_tokenizer() -> Any:
    """Train a tokenizer with SmolVLM2's special tokens and chat format on this package's own text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    root = Path(__file__).parents[2]
    files = sorted([*root.glob("*.md"), *(root / "chunkv2l").rglob("*.py")])
    bpe: Any = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator((file.read_text(encoding="utf-8") for file in files), trainer)
    wrap: Any = PreTrainedTokenizerFast
    made = wrap(
        tokenizer_object=bpe,
        bos_token="<|im_start|>",
        eos_token="<end_of_utterance>",
        pad_token="<|im_end|>",
        additional_special_tokens=["<image>", "<fake_token_around_image>", "<global-img>"],
    )
    made.chat_template = TEMPLATE
    return made


@click.command("random-smolvlm", short_help="A SmolVLM2 of the published shape with random weights, to measure time.")
@click.option("-o", "--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--shape", type=click.Choice(sorted(SHAPES)), default="smolvlm2-500m", show_default=True)
@seed_option()
def command(out: Path, shape: str, seed: int) -> None:
    """Write a frozen model with random weights, and a hypernetwork for it, for `build` and `latency`."""
    hypernet = make(out, SHAPES[shape], seed)
    terminal.emit(f"{out}: a {shape} of random weights, and its hypernetwork in {hypernet.name}")
