"""The options of every subcommand that talks to a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, model_validator
from typing_extensions import Self

from llamachat.core import presets
from llamachat.core.base_url import checked
from llamachat.errors import UsageError
from llamachat.language import _, reason
from llamachat.settings.base import ApiKey, Options, option


class ClientOptions(Options):
    base_url: Annotated[str, AfterValidator(checked)] = option(
        "http://localhost:8000/v1", "address of the server", metavar="URL"
    )
    api_key: ApiKey = option("not-needed", "the server's key", metavar="KEY", min_length=1)
    model: str = option(presets.MODEL, "model name to ask for", flags=("-m",))
    system: str | None = option(None, "the system message", metavar="TEXT", flags=("-s",))
    system_file: Path | None = option(None, "a text file that holds the system message", metavar="FILE")

    @model_validator(mode="after")
    def _read_system_file(self) -> Self:
        path = self.system_file
        if path is not None and "system" in self.model_fields_set:
            raise UsageError(_("--system and --system-file exclude each other."), _("Give one of them."))
        if path is not None:
            try:
                self.system = path.expanduser().read_text(encoding="utf-8-sig").strip()
            except OSError as error:
                raise UsageError(
                    _("{path} can't be read: {reason}.").format(path=path, reason=reason(error))
                ) from error
            except UnicodeDecodeError as error:
                raise UsageError(_("{path} is not text in UTF-8.").format(path=path)) from error
        return self
