"""The options of `llamachat web`."""

from __future__ import annotations

from typing import ClassVar

from llamachat.settings.base import ApiKey, option
from llamachat.settings.chat import ConversationOptions


class WebSettings(ConversationOptions):
    section: ClassVar[str] = "web"

    host: str = option("127.0.0.1", "address of the page; anything but loopback opens it to other computers")
    port: int = option(8080, "port of the page", ge=0, le=65535)
    key: ApiKey | None = option(
        None, "the page's key (default: a new one at each start)", metavar="KEY", min_length=8
    )
    open: bool = option(False, "open the page in the browser")
