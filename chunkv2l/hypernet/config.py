"""Hold the sizes of a hypernetwork, and check them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from chunkv2l.errors import InputError


@dataclass(frozen=True)
class HypernetConfig:
    """Hold the sizes of a hypernetwork (docs/algorithm.md, "Symbols"); the defaults are the released checkpoints'.

    Attributes:
        num_layers: L, the VLM's text blocks.
        hidden_size: D, the text model's width: of the states read and of `down_proj`'s output.
        intermediate_size: I, `down_proj`'s input.
        latent_size: d, the width of latents and codes.
        rank: r, ranks that a clip's adapter has (the bias adapter has as many).
        num_blocks: cross-attention layers of the encoder.
        num_queries: the encoder's latents.
        num_heads: query heads of every attention layer; their width is independent of d.
        num_kv_heads: key and value heads, each shared by num_heads / num_kv_heads consecutive query heads.
        head_dim: width of a head.
        scaling: of the adapters; None stands for the reference's 2·r^1.5 (not divided by r).
        base_model: the name of the VLM that it was trained for, "" if unknown; a note, nothing depends on it.

    Raises:
        InputError: a size that isn't positive, or heads that can't be shared equally.
    """

    num_layers: int
    hidden_size: int
    intermediate_size: int
    latent_size: int = 512
    rank: int = 16
    num_blocks: int = 9
    num_queries: int = 8
    num_heads: int = 16
    num_kv_heads: int = 4
    head_dim: int = 128
    scaling: float | None = None
    base_model: str = ""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "base_model":
                if not isinstance(value, str):
                    raise InputError(f"A hypernetwork's base_model must be a name, not {value!r}.")
            elif field.name == "scaling":
                number = isinstance(value, int | float) and not isinstance(value, bool)
                if value is not None and not (number and 0 < value < float("inf")):
                    raise InputError(f"A hypernetwork's scaling must be a positive number, not {value!r}.")
            elif type(value) is not int or value < 1:
                raise InputError(f"A hypernetwork's {field.name} must be a positive whole number, not {value!r}.")
        if self.num_heads % self.num_kv_heads:
            raise InputError(
                f"{self.num_heads} attention heads can't share {self.num_kv_heads} key/value heads equally."
            )

    def to_text(self) -> str:
        """Return the configuration as one line of JSON, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> HypernetConfig:
        """Return the configuration of its JSON's values.

        Raises:
            InputError: a name that isn't known, one that is missing, or a value that can't be.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise InputError(f"A hypernetwork has no setting called {', '.join(unknown)}.")
        try:
            return cls(**values)  # type: ignore[arg-type]
        except TypeError as error:
            raise InputError(f"The hypernetwork's configuration is incomplete: {error}.") from None
