"""Definitions compiled to checks: `primitives` (formats), `narrative` (XHTML), `structure` (types and
backbones)."""
