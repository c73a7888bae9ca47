"""A local Llama: `llamachat serve` runs it, `llamachat chat` talks to it, `ask` and `batch` call it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llamachat.api import Chat, aask, abatch, ask, batch, serve

__version__ = "0.1.0"
__all__ = ["Chat", "__version__", "aask", "abatch", "ask", "batch", "serve"]


def __getattr__(name: str) -> Any:
    """Import the API when it is first used: most of what imports this package needs none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from llamachat import api

    return getattr(api, name)
