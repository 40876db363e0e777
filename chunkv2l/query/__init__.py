"""Questions as values: parsed text, relations in time, and the query that a policy is given. Imports no torch."""

from __future__ import annotations

from chunkv2l.query.parse import BUDGET, Node, Query

__all__ = ["BUDGET", "Node", "Query"]
