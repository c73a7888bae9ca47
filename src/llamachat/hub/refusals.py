"""What a hub's refusals mean to the user."""

from __future__ import annotations

import contextlib
import email.utils
import time
import urllib.parse

import httpx2

from llamachat.errors import AuthError, LlamachatError, ModelError, NetworkError

HUB = "https://huggingface.co"
LOG_IN = "log in with `hf auth login` or set HF_TOKEN"


def gated(repo_id: str) -> AuthError:
    return AuthError(
        f"{repo_id} is gated: its owner wants its terms accepted.",
        f"Accept them at {HUB}/{repo_id}, make a token at {HUB}/settings/tokens, then {LOG_IN}.",
    )


def refusal(response: httpx2.Response) -> LlamachatError:
    """The error for a 4xx answer."""
    url = response.url.copy_with(query=None)
    if response.headers.get("X-Error-Code") == "GatedRepo":
        return gated("/".join(urllib.parse.urlsplit(str(url)).path.strip("/").split("/")[:2]))
    if response.status_code in (401, 403):
        return AuthError(f"{url} was refused ({response.status_code}).", f"Perhaps {LOG_IN}.")
    if response.status_code in (404, 410):
        return ModelError(f"There is no file {url}.", "`llamachat pull --list REPO` shows what there is.")
    return NetworkError(
        f"{url} answered {response.status_code} {response.reason_phrase}.", "Try again later."
    )


def is_busy(status: int) -> bool:
    """Whether a status says to try again."""
    return status in (408, 429) or status >= 500


def busy(response: httpx2.Response, seconds: float) -> NetworkError:
    """The error for a server that wants to be left alone for longer than one waits."""
    return NetworkError(
        f"{response.url.host} answered {response.status_code}: it wants to be asked in {seconds:.0f} s.",
        "The same command goes on from there.",
    )


def retry_after(response: httpx2.Response) -> float:
    """Seconds to wait by the header `Retry-After`, a number or a date; 0 without it."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return 0.0
