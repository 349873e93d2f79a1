"""AuditEvents."""

from __future__ import annotations


class Trail:
    """Writes AuditEvents of reads in the background and hands out those of writes for the same commit."""
