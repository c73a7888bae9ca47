"""A file that is on no hub: its name, size and version as its server tells them, and no hash."""

from __future__ import annotations

import httpx2
from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]  # its exports are lazy

from llamachat.errors import NetworkError, UsageError
from llamachat.hub import listing, quants
from llamachat.hub.address import version_of
from llamachat.hub.download import RemoteFile
from llamachat.hub.journal import Identity
from llamachat.hub.listing import Variant
from llamachat.hub.refusals import is_busy, refusal

ONLY_GET = (403, 405, 501)  # what an address that is signed for GET answers to HEAD


def ask(client: httpx2.Client, url: str) -> httpx2.Response:
    """The server's answer without the bytes. Raises HfHubHTTPError where it is busy."""
    headers = {"Accept-Encoding": "identity"}
    response = client.head(url, headers=headers)
    if response.status_code in ONLY_GET:
        with client.stream("GET", url, headers={**headers, "Range": "bytes=0-0"}) as response:
            pass
    if is_busy(response.status_code):
        hf_raise_for_status(response)
    return response


def variant(url: str, response: httpx2.Response) -> Variant:
    """Raises LlamachatError for what can't be fetched."""
    if not response.is_success:
        raise refusal(response)
    length = response.headers.get("Content-Length", "")
    if response.status_code == 206:
        length = response.headers.get("Content-Range", "").rpartition("/")[2]
    if not length.isdecimal():
        raise NetworkError(f"{url} does not tell its size.", "Fetch it with a browser.")
    names = (address.path.rpartition("/")[2] for address in (response.url, httpx2.URL(url)))
    name = next((n for n in names if n.lower().endswith(".gguf") and listing.is_safe(n)), None)
    if name is None:
        raise UsageError(f"{url} names no GGUF file.", "Its address should end in a name like MODEL.gguf.")
    identity = Identity(int(length), etag=version_of(response))
    return Variant(quants.quant_of(name), (RemoteFile(name, url, identity),))
