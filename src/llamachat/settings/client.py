"""The options of every subcommand that talks to a server."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from llamachat.core.base_url import checked
from llamachat.settings.base import ApiKey, Options, option


class ClientOptions(Options):
    base_url: Annotated[str, AfterValidator(checked)] = option(
        "http://localhost:8000/v1", "address of the server", metavar="URL"
    )
    api_key: ApiKey = option("not-needed", "the server's key", metavar="KEY", min_length=1)
    model: str = option("local-model", "model name to ask for", flags=("-m",))
