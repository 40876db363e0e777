"""How likely an adapter makes an answer to a question: what is beside token-F1, and less coarse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from chunkv2l.adapter import Adapter
from chunkv2l.vlm.text import score


@torch.inference_mode()
def answer_nll(vlm: Any, question: str, answers: Sequence[str], adapter: Adapter | None) -> Tensor:
    """−log p(answer | question) a token, nats, end of turn excluded: float32 [N, answers].

    Args:
        vlm: one whose text side is a `TextDecoder` (`vlm.decoder`), with `prompt_ids` and `statement_ids`: `mini` and
            SmolVLM2.
        answers: sentences of at least one token.
        adapter: none or one (N = 1), or N of them.
    """
    targets = [vlm.statement_ids(answer) for answer in answers]
    nats = score(vlm.decoder, vlm.prompt_ids(question), targets, adapter)
    return -nats / torch.tensor([float(len(ids)) for ids in targets])
