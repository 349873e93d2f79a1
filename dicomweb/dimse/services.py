"""What the node offers to the peers it knows, besides storing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Services:
    """Abstract syntaxes, and (event, handler) pairs that answer them."""

    offered: Sequence[str]
    handlers: Sequence[tuple[Any, Callable[[Any], Any]]]
