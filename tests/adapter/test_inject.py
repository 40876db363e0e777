"""Adapters on a model's modules."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from chunkv2l.adapter.algebra import Adapter, concat
from chunkv2l.adapter.inject import Injector, inject
from chunkv2l.errors import InputError

L, R, IN, OUT = 3, 2, 10, 6


def modules(dtype: torch.dtype = torch.float32) -> list[nn.Module]:
    torch.manual_seed(0)
    return [nn.Linear(IN, OUT).to(dtype) for _ in range(L)]


def adapters(n: int | None = None, dtype: torch.dtype = torch.float32) -> Adapter:
    random = torch.Generator().manual_seed(1)
    leading = () if n is None else (n,)
    a = torch.randn(*leading, L, R, IN, generator=random)
    return Adapter(a.to(dtype), torch.randn(*leading, L, R, OUT, generator=random).to(dtype), 3.0)


def expected(module: nn.Module, x: Tensor, adapter: Adapter, block: int) -> Tensor:
    y: Tensor = module(x)
    return y + adapter.scaling * (x @ adapter.A[block].T) @ adapter.B[block]


def close(actual: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(actual, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", [(4, 7, IN), (5, IN), (IN,), (2, 3, 4, IN)])
def test_one_adapter_for_all_rows(shape: tuple[int, ...]) -> None:
    targets, adapter, x = modules(), adapters(), torch.randn(shape)
    wanted = [expected(module, x, adapter, block) for block, module in enumerate(targets)]
    with inject(targets, adapter):
        for module, y in zip(targets, wanted, strict=True):
            close(module(x), y)


@pytest.mark.parametrize("rows", [4, 12])
def test_an_adapter_for_each_row_or_group_of_rows(rows: int) -> None:
    targets, many, x = modules(), adapters(4), torch.randn(rows, 7, IN)
    with inject(targets, many):
        y = targets[2](x)
    for group, (mine, out) in enumerate(zip(x.chunk(4), y.chunk(4), strict=True)):
        close(out, expected(targets[2], mine, many[group], 2))


def test_a_stack_of_one_serves_all_rows() -> None:
    targets, x = modules(), torch.randn(5, 7, IN)
    with inject(targets, adapters(1)):
        y = targets[0](x)
    close(y, expected(targets[0], x, adapters(1)[0], 0))


def test_none_changes_nothing() -> None:
    targets, x = modules(), torch.randn(5, IN)
    with inject(targets, None):
        assert torch.equal(targets[0](x), modules()[0](x))
        assert not targets[0]._forward_hooks


def test_it_is_taken_off_whatever_happens() -> None:
    targets = modules()
    with pytest.raises(ZeroDivisionError), inject(targets, adapters()):
        assert targets[0]._forward_hooks
        1 / 0
    assert not any(module._forward_hooks for module in targets)
    with pytest.raises(InputError, match="3 rows can't be shared equally by 4 adapters"), inject(targets, adapters(4)):
        targets[0](torch.randn(3, 7, IN))
    assert not any(module._forward_hooks for module in targets)


def test_nested_blocks_add_up() -> None:
    targets, x = modules(), torch.randn(5, IN)
    with inject(targets, concat([adapters(), adapters()], [1.0, 1.0])):
        wanted = targets[1](x)
    with inject(targets, adapters()), inject(targets, adapters()):
        close(targets[1](x), wanted)


def test_a_bfloat16_model_with_a_float32_adapter_rounds_once_at_the_end() -> None:
    targets, adapter, x = modules(torch.bfloat16), adapters(), torch.randn(5, 7, IN).bfloat16()
    base = targets[0](x)
    wanted = (base.float() + adapter.scaling * (x.float() @ adapter.A[0].T) @ adapter.B[0]).bfloat16()
    with inject(targets, adapter):
        y = targets[0](x)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, wanted)


def test_all_bfloat16() -> None:
    targets, x = modules(torch.bfloat16), torch.randn(5, 7, IN).bfloat16()
    with inject(targets, adapters(dtype=torch.bfloat16)):
        y = targets[0](x)
    assert y.dtype == torch.bfloat16
    wanted = expected(modules()[0], x.float(), adapters(), 0)
    torch.testing.assert_close(y.float(), wanted, atol=0.3, rtol=0.03)


@pytest.mark.parametrize("n", [None, 5])
def test_autocast_keeps_its_own_precision(n: int | None) -> None:
    targets, x = modules(), torch.randn(5, 7, IN)
    with torch.autocast("cpu", dtype=torch.bfloat16), inject(targets, adapters(n)):
        y = targets[0](x)
    assert y.dtype == torch.bfloat16


@pytest.mark.parametrize("n", [None, 2])
def test_gradients_reach_the_adapter_and_the_input(n: int | None) -> None:
    targets, adapter, x = modules(), adapters(n), torch.randn(4, 7, IN, requires_grad=True)
    adapter.A.requires_grad_()
    adapter.B.requires_grad_()
    with inject(targets, adapter):
        targets[1](x).square().sum().backward()
    for tensor in (adapter.A, adapter.B):
        assert tensor.grad is not None
        assert bool((tensor.grad.select(-3, 1) != 0).all()) and not tensor.grad.select(-3, 0).any()
    assert x.grad is not None


def test_mistakes_get_a_sentence() -> None:
    targets = modules()
    with pytest.raises(InputError, match="3 blocks but the model 2"), inject(targets[:2], adapters()):
        pass
    deep = Adapter(torch.zeros(2, 2, L, R, IN), torch.zeros(2, 2, L, R, OUT), 1.0)
    with pytest.raises(InputError, match="flatten the stack"), inject(targets, deep):
        pass
    assert not any(module._forward_hooks for module in targets)


def test_a_compiled_model_is_compiled_once_for_all_adapters_of_a_shape() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.targets = nn.ModuleList(modules())

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([module(x) for module in self.targets])

    compiled = 0

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> torch.fx.GraphModule:
        nonlocal compiled
        compiled += 1
        return graph

    block, x = Block(), torch.randn(4, 7, IN)
    torch._dynamo.reset()
    injector = Injector(list(block.targets))
    fast = torch.compile(block, backend=backend, fullgraph=True)
    for factor in (1.0, -2.0, 0.5):
        many = Adapter(factor * adapters(4).A, adapters(4).B, 3.0)
        injector.set(many)
        close(fast(x), block(x))
        close(fast(x)[1][2], expected(modules()[1], x[2], many[2], 1))
    assert compiled == 1
    injector.set(None)
    close(fast(x), Block()(x))
    injector.remove()
    assert not any(module._forward_hooks for module in block.targets)
    torch._dynamo.reset()
