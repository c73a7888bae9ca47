"""The three places of llama_cpp.server where guards hook in, each a name that it looks up when it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llamachat.errors import ServerError


def extend_llama(mixin: type, *methods: str) -> None:
    """Put `mixin` in front of whatever `llama_cpp.Llama` is by now; it builds on `methods`."""
    import llama_cpp

    for name in methods:
        require(llama_cpp.Llama, name)
    llama_cpp.Llama = type("Llama", (mixin, llama_cpp.Llama), {})  # type: ignore[assignment,misc]


def extend_app(change: Callable[[Any], None]) -> None:
    """Let `change` alter the FastAPI app after `llama_cpp.server.app.create_app` has made it."""
    import llama_cpp.server.app as server

    create_app = require(server, "create_app")

    def changed_app(*args: Any, **kwargs: Any) -> Any:
        app = create_app(*args, **kwargs)
        change(app)
        return app

    server.create_app = changed_app


def replace_event_publisher(publish: Callable[..., Any], *needs: str) -> None:
    """Let `publish` write the events of a stream; it calls the functions `needs` of the same module."""
    import llama_cpp.server.app as server

    for name in ("get_event_publisher", *needs):
        require(server, name)
    server.get_event_publisher = publish


def require(holder: Any, name: str) -> Any:
    """The attribute `name`; stops the start where this version of the library has none."""
    if not hasattr(holder, name):
        owner = getattr(holder, "__name__", str(holder))
        raise ServerError(
            f"This version of llama-cpp-python has no `{name}` in {owner}, which the engine builds on.",
            "Install llama-cpp-python 0.3.36, or start with --plain.",
        )
    return getattr(holder, name)
