"""Apply adapters to a model's linear modules while a `with` block runs (docs/algorithm.md, step 13)."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from chunkv2l.adapter.algebra import Adapter
from chunkv2l.errors import InputError

_LOCKS: Final[WeakKeyDictionary[nn.Module, threading.RLock]] = WeakKeyDictionary()  # gone with their models
_LOCKS_LOCK: Final = threading.Lock()


@contextmanager
def exclusive(targets: Sequence[nn.Module]) -> Iterator[None]:
    """Let one thread at a time use a model: hooks are the model's, so another thread would get this one's adapter.

    Args:
        targets: as for `inject`; the first stands for the model. Blocks may nest within a thread.
    """
    with _LOCKS_LOCK:
        lock = _LOCKS.setdefault(targets[0], threading.RLock())
    with lock:
        yield


class Injector:
    """Hooks on L modules, put there once, through which one adapter after another can be applied.

    `inject` is what most callers want. This class is for code that compiles the model, or changes the adapter often:
    the hooks stay the same objects, so that `torch.compile` (called after they are in place) doesn't recompile when
    only the adapter's numbers change.

    Args:
        targets: the modules in block order; each maps [..., I] to [..., D].
    """

    def __init__(self, targets: Sequence[nn.Module]) -> None:
        self._hooks = [_Hook() for _ in targets]
        self._handles = [target.register_forward_hook(hook) for target, hook in zip(targets, self._hooks, strict=True)]

    def set(self, adapter: Adapter | None) -> None:
        """Apply this adapter from now on; None applies nothing.

        Args:
            adapter: A [L, R, I] for all rows of a batch, or [n, L, R, I], each for rows / n consecutive rows.

        Raises:
            InputError: the adapter has another number of blocks than there are targets, or too many dimensions.
        """
        if adapter is None:
            for hook in self._hooks:
                hook.A = hook.B = None
            return
        check(len(self._hooks), adapter)
        factors = zip(self._hooks, adapter.A.unbind(-3), adapter.B.unbind(-3), strict=True)
        for hook, a, b in factors:
            hook.A, hook.B, hook.scaling = a, b, adapter.scaling

    def remove(self) -> None:
        """Take the hooks off; the modules are as they were."""
        for handle in self._handles:
            handle.remove()


@contextmanager
def inject(targets: Sequence[nn.Module], adapter: Adapter | None) -> Iterator[None]:
    """Add `scaling · Bᵀ(A x)` to the outputs of `targets` inside the `with` block, whatever happens there.

    Args:
        targets: the L modules in block order.
        adapter: None (nothing is changed), A [L, R, I] for all rows of the batch, or A [n, L, R, I]: the batch's rows
            are then n groups of equally many consecutive rows, and group i gets adapter i (one row each if n is the
            batch size). Ranks are whatever they are; no adapter is copied.

    Threads that share the targets take turns (`exclusive`), with None too.

    The product is computed in the adapter's precision, as the reference does (x cast to float32 beside a bfloat16
    model, the sum cast back), or in autocast's where that is on. Nested blocks add up.

    Raises:
        InputError: the adapter doesn't fit the targets; inside the block, rows that n adapters can't share equally.
    """
    with exclusive(targets):
        if adapter is None:
            yield
            return
        check(len(targets), adapter)
        injector = Injector(targets)
        try:
            injector.set(adapter)
            yield
        finally:
            injector.remove()


def applied(targets: Sequence[nn.Module]) -> list[tuple[Tensor, Tensor, float]] | None:
    """Return what `inject` blocks add to the targets' outputs now: factors and scaling by block, outermost first.

    Returns:
        None where anything else watches or changes a target.
    """
    added = []
    for target in targets:
        hooks: list[Any] = list(target._forward_hooks.values())
        if target._forward_pre_hooks or not all(isinstance(hook, _Hook) for hook in hooks):
            return None
        added += [(hook.A, hook.B, hook.scaling) for hook in hooks if hook.A is not None]
    return added


def apply(x: Tensor, y: Tensor, a: Tensor, b: Tensor, scaling: float) -> Tensor:
    """Return y + scaling · Bᵀ(A x), in y's dtype.

    Args:
        x: [rows, ..., I].
        y: [rows, ..., D].
        a: [R, I], or [n, R, I] for n groups of consecutive rows.
        b: [R, D], or [n, R, D].
    """
    autocast = torch.is_autocast_enabled(x.device.type)
    base, inputs = (y, x) if autocast else (y.to(a.dtype), x.to(a.dtype))
    if a.ndim == 2:
        inputs = inputs.reshape(-1, a.shape[-1])
        out = torch.addmm(base.reshape(-1, b.shape[-1]), inputs @ a.T, b, alpha=scaling)
    else:
        n = a.shape[0]
        if x.shape[0] % n:
            raise InputError(f"{x.shape[0]} rows can't be shared equally by {n} adapters.")
        inputs = inputs.reshape(n, -1, a.shape[-1])
        hidden = torch.bmm(inputs, a.transpose(1, 2))
        out = torch.baddbmm(base.reshape(n, -1, b.shape[-1]), hidden, b, alpha=scaling)
    return out.view(y.shape).to(y.dtype)


def check(num_targets: int, adapter: Adapter) -> None:
    """Raise InputError if an adapter can't be applied to this many modules."""
    if adapter.num_layers != num_targets:
        raise InputError(
            f"The adapter has {adapter.num_layers} blocks but the model {num_targets}: it was made for another model."
        )
    if len(adapter.leading) > 1:
        raise InputError(
            f"Adapters must be one or a stack of n, not of shape {list(adapter.leading)}: flatten the stack first."
        )


class _Hook:
    """A forward hook that holds its block's factors; the attributes change, the object stays."""

    def __init__(self) -> None:
        self.A: Tensor | None = None
        self.B: Tensor | None = None
        self.scaling = 1.0

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        if self.A is None or self.B is None:
            return output
        return apply(args[0], output, self.A, self.B, self.scaling)
