"""What every test of a gateway may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicomweb.gateway.outbox import Outbox


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    """An empty one, open."""
    opened = Outbox(tmp_path / "outbox.db")
    opened.open()
    yield opened
    opened.close()
