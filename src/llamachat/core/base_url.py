"""The address of a server, as `--base-url` and the openai package take it."""

from __future__ import annotations

from urllib.parse import urlsplit

from llamachat.language import _


def checked(base_url: str) -> str:
    """`base_url` without a slash at its end. Raises ValueError if it is not an http address."""
    url = base_url.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        # Nothing else goes into the head of a request: a name in other letters has an ASCII form, xn--….
        usable = usable and url.isascii() and url.isprintable() and " " not in url
    except ValueError:
        usable = False
    if not usable:
        raise ValueError(_("not an address like http://localhost:8000/v1"))
    return url
