"""The reference's numbers: A and B within 1e-5, logits within 1e-4, the loss and its gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chunkv2l.adapter.algebra import Adapter, concat
from chunkv2l.adapter.inject import inject
from chunkv2l.hypernet import HypernetConfig, Hypernetwork, load_hypernetwork
from tests.helpers import frames2lora


def close(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=0.0)


@pytest.fixture(scope="module")
def hypernet(tmp_path_factory: pytest.TempPathFactory) -> Hypernetwork:
    return load_hypernetwork(frames2lora.hypernet_file(tmp_path_factory.mktemp("hypernet")))


@pytest.fixture(scope="module")
def smolvlm() -> Any:
    from transformers import AutoModelForImageTextToText

    model: Any = AutoModelForImageTextToText.from_pretrained(frames2lora.MODEL, dtype=torch.float32)
    return model.eval()


def targets(smolvlm: Any) -> list[nn.Module]:
    return [layer.mlp.down_proj for layer in smolvlm.model.text_model.layers]


def states(smolvlm: Any, case: dict[str, Tensor]) -> Tensor:
    """Return [B, L, S, D], the inputs of the text blocks over the whole sequence (docs/algorithm.md, step 1)."""
    with torch.no_grad():
        out = smolvlm.model(
            input_ids=case["input_ids"],
            attention_mask=case["attention_mask"],
            pixel_values=case["pixel_values"].float(),
            output_hidden_states=True,
        )
    return torch.stack(out.hidden_states[:-1], dim=1)


@pytest.fixture(scope="module")
def padded(smolvlm: Any) -> dict[str, Tensor]:
    case = frames2lora.load("e2e_b2_pad")
    return {**case, "states": states(smolvlm, case)}


def test_sizes_follow_from_the_shapes(hypernet: Hypernetwork) -> None:
    config = hypernet.config
    assert (config.num_layers, config.hidden_size, config.intermediate_size) == (4, 64, 160)
    assert (config.latent_size, config.rank, config.num_blocks, config.num_queries) == (32, 4, 3, 8)
    assert (config.num_heads, config.num_kv_heads, config.head_dim) == (16, 4, 128)
    assert hypernet.scaling == 16.0


def test_case_b1(hypernet: Hypernetwork) -> None:
    case = frames2lora.load("case_b1")
    seen: dict[str, Tensor] = {}
    perceiver: Any = hypernet.aggregator["perceiver"]
    watched = {
        "modality_projection": perceiver.modality_projection,
        "encoder": perceiver.encoder,
        "encoder.layers.0": perceiver.encoder.layers[0],
        "encoder.layers.0.self_attn": perceiver.encoder.layers[0].self_attn,
        "encoder.layers.1": perceiver.encoder.layers[1],
        "encoder.layers.2": perceiver.encoder.layers[2],
        "decoder": perceiver.decoder,
        "decoder.layers.0": perceiver.decoder.layers[0],
        "pre_head_mlp": hypernet.layers[0],
    }

    def keep(name: str, module: nn.Module) -> Any:
        return module.register_forward_hook(lambda _, __, output: seen.update({name: output}))

    handles = [keep(name, module) for name, module in watched.items()]
    with torch.no_grad():
        codes = hypernet.encode(case["ctx_features"], case["ctx_attn_mask"])
        adapter = hypernet.expand(codes)
        norm = perceiver.encoder.layers[0].input_context_layernorm(seen["modality_projection"])
    for handle in handles:
        handle.remove()
    close(adapter.A, case["A"], 1e-5)
    close(adapter.B, case["B"], 1e-5)
    seen["encoder.layers.0.input_context_layernorm"] = norm
    for name, value in seen.items():
        torch.testing.assert_close(value, case[f"trace.{name}"].view_as(value), atol=1e-5, rtol=1e-5)
    assert {f"trace.{name}" for name in seen} == {
        key for key in case if key.startswith("trace.") and key not in ("trace.head", "trace.lora_emb")
    }
    close(codes, F.normalize(case["trace.pre_head_mlp"][:, :, 0], dim=-1), 1e-5)
    close(seen["decoder"], case["trace.lora_emb"].view_as(seen["decoder"]), 1e-5)
    head = torch.einsum("blrd,ldo->blro", codes, hypernet.head.weight.detach())
    close(head, case["trace.head"][:, :, 0], 1e-5)


def test_an_all_ones_mask_is_no_mask(hypernet: Hypernetwork) -> None:
    case = frames2lora.load("case_b1")
    with torch.no_grad():
        adapter = hypernet(case["ctx_features"])
    close(adapter.A, case["A"], 1e-5)
    close(adapter.B, case["B"], 1e-5)


def test_checkpoint_tiny() -> None:
    case = frames2lora.load("case_checkpoint")
    hypernet = load_hypernetwork(frames2lora.FOLDER / "checkpoint_tiny.pt")
    with torch.no_grad():
        adapter = hypernet(case["ctx_features"], case["ctx_attn_mask"])
    close(adapter.A, case["A"], 1e-5)
    close(adapter.B, case["B"], 1e-5)
    assert hypernet.config.base_model == "tiny-random-smolvlm"


@pytest.mark.parametrize("size", ["500m", "2.2b"])
def test_released_sizes_have_exactly_the_released_keys(size: str) -> None:
    released = frames2lora.info(f"keys_{size}")
    values = released["non_tensor_keys"]["hypernet_config"]
    intermediate, hidden = (sizes["down_proj"] for sizes in values["feature_sizes"])
    aggregator = values["aggregator_config"]
    with torch.device("meta"):
        hypernet = Hypernetwork(
            HypernetConfig(
                num_layers=aggregator["num_layers"],
                hidden_size=hidden,
                intermediate_size=intermediate,
                latent_size=values["latent_size"],
                rank=values["lora_config"]["r"],
                num_blocks=aggregator["num_blocks"],
                num_queries=aggregator["n_latent_queries"],
            )
        )
    state = hypernet.state_dict()
    assert {key: list(value.shape) for key, value in state.items()} == released["tensors"]
    assert sum(value.numel() for value in state.values()) == released["n_params"]
    assert all(value.dtype == torch.float32 for value in state.values())
    assert hypernet.scaling == values["lora_config"]["lora_alpha"]


def test_end_to_end(hypernet: Hypernetwork, smolvlm: Any) -> None:
    case = frames2lora.load("e2e")
    features = states(smolvlm, case)
    close(features, case["ctx_features"], 1e-5)
    with torch.no_grad():
        adapter = hypernet(features, case["attention_mask"])
        whole = concat([adapter], bias=hypernet.bias)
        close(adapter.A, case["A"], 1e-5)
        close(adapter.B, case["B"], 1e-5)
        close(whole.A, case["combined_A"], 1e-5)
        close(whole.B, case["combined_B"], 1e-5)
        prompt = case["prompt_input_ids"]
        for chosen, expected in ((None, "base"), (hypernet.bias, "bias_only"), (whole, "adapted")):
            with inject(targets(smolvlm), chosen):
                logits = smolvlm(input_ids=prompt).logits
            close(logits, case[f"{expected}_logits"], 1e-4)
        with inject(targets(smolvlm), whole):
            ids = smolvlm.generate(
                input_ids=prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=case["greedy_ids"].shape[1] - prompt.shape[1],
                do_sample=False,
            )
    assert torch.equal(ids, case["greedy_ids"])
    assert not any(module._forward_hooks for module in targets(smolvlm))


def test_a_padded_batch(hypernet: Hypernetwork, smolvlm: Any, padded: dict[str, Tensor]) -> None:
    with torch.no_grad():
        adapters = hypernet(padded["states"], padded["attention_mask"])
        close(adapters.A, padded["A"], 1e-5)
        close(adapters.B, padded["B"], 1e-5)
        with inject(targets(smolvlm), concat([adapters], bias=hypernet.bias)):
            logits = smolvlm(input_ids=padded["prompt_input_ids"]).logits
        close(logits, padded["adapted_logits"], 1e-4)
        with inject(targets(smolvlm), concat(adapters.unbind(), bias=hypernet.bias)):
            logits = smolvlm(input_ids=padded["prompt_input_ids"][:1]).logits
        close(logits, padded["chunked_logits"], 1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(hypernet: Hypernetwork, side: str) -> None:
    case = frames2lora.load("case_b1")
    features, mask = case["ctx_features"], case["ctx_attn_mask"]
    noise = 100 * torch.randn(1, 4, 5, 64)
    parts = [noise, features] if side == "left" else [features, noise]
    masks = [torch.zeros(1, 5), mask] if side == "left" else [mask, torch.zeros(1, 5)]
    with torch.no_grad():
        adapter = hypernet(torch.cat(parts, dim=2), torch.cat(masks, dim=1))
    close(adapter.A, case["A"], 1e-5)
    close(adapter.B, case["B"], 1e-5)


def test_train_step(hypernet: Hypernetwork, smolvlm: Any, padded: dict[str, Tensor]) -> None:
    case = frames2lora.load("train_step")
    hypernet.zero_grad()
    smolvlm.requires_grad_(False)
    adapters: Adapter = hypernet(padded["states"], padded["attention_mask"])
    with inject(targets(smolvlm), concat([adapters], bias=hypernet.bias)):
        logits = smolvlm(input_ids=case["input_ids"], attention_mask=case["attention_mask"]).logits
    labels = case["labels"][:, 1:]
    tokens = F.cross_entropy(logits[:, :-1].transpose(1, 2), labels, ignore_index=-100, reduction="none")
    per_sample = tokens.sum(1) / (labels != -100).sum(1)
    loss = per_sample.mean()
    close(per_sample.detach(), case["per_sample_loss"], 1e-5)
    close(loss.detach(), case["loss"], 1e-5)
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = {name: parameter.grad for name, parameter in hypernet.named_parameters()}
    compared = [key for key in case if key.startswith("grad.")]
    assert len(compared) == 6
    for key in compared:
        torch.testing.assert_close(gradients[key.removeprefix("grad.")], case[key], atol=1e-6, rtol=1e-4)
    names = frames2lora.info()["train_step_grad_norm_names"]
    assert sorted(names) == sorted(gradients)
    norms = torch.stack([g.norm() for g in (gradients[name] for name in names) if g is not None])
    torch.testing.assert_close(norms, case["grad_norms"], atol=1e-6, rtol=1e-4)
    hypernet.zero_grad()
