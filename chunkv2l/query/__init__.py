"""Questions as values: parsed text, relations in time, and the query that a policy gets. Imports no torch."""

from __future__ import annotations

from chunkv2l.defaults import BUDGET
from chunkv2l.graph import Node, Weight
from chunkv2l.query.query import Query, Selected

__all__ = ["BUDGET", "Node", "Query", "Selected", "Weight"]
