"""Figures as people say them."""

from __future__ import annotations


def size(n_bytes: float) -> str:
    """Bytes in decimal units, as file managers and hubs give them."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"
