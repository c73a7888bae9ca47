"""What the user asked for: a name of the catalogue, REPO, REPO:QUANT, or a URL."""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass

from llamachat.errors import UsageError
from llamachat.hub import catalogue, quants
from llamachat.hub.http_file import HUB
from llamachat.language import _

MIRROR = "https://hf-mirror.com"
HUB_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")  # names of the hub, whichever mirror is asked
MIRROR_HOSTS = ("hf-mirror.com",)  # asked themselves if an address names them
_REPO = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Reference:
    """A repository and perhaps a quantisation or a file of it; or `url` alone, of a file elsewhere.

    `hub` is the mirror that was named, "" for the usual hub.
    """

    repo: str = ""
    quant: str = ""
    file: str = ""
    revision: str = "main"
    entry: catalogue.Entry | None = None
    url: str = ""
    hub: str = ""

    def __str__(self) -> str:
        return self.url or (self.entry.name if self.entry else self.repo) + (
            f":{self.quant}" if self.quant else ""
        )


def parse(text: str, endpoint: str = "") -> Reference:
    """Understand `text`; `endpoint` is the hub in use. Raises UsageError for anything else."""
    if "://" in text or text.startswith(tuple(f"{host}/" for host in (*HUB_HOSTS, *MIRROR_HOSTS))):
        return _parse_url(text if "://" in text else f"https://{text}", endpoint)
    name, _colon, quant = text.rpartition(":")
    quant = quants.parse(quant)
    if not (name and quant):
        name, quant = text, ""
    entry = catalogue.find(name)
    if entry:
        return Reference(entry.repo, quant, entry=entry)
    if _REPO.fullmatch(name):
        return Reference(name, quant)
    names = ", ".join(entry.name for entry in catalogue.entries())
    raise UsageError(
        _("There is no model named {text!r}.").format(text=text),
        _("Known names: {names}; or give OWNER/REPO or a URL.").format(names=names),
    )


def endpoint(text: str) -> str:
    """The address of a hub, with its scheme and without a slash at the end."""
    url = text.strip().rstrip("/") or HUB
    url = url if "://" in url else f"https://{url}"
    _split(url)
    return url


def _split(url: str) -> urllib.parse.SplitResult:
    try:
        parts = urllib.parse.urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise UsageError(
            _("{url} is not a valid address.").format(url=url),
            _("It should look like https://HOST/…; is it HF_ENDPOINT?"),
        )
    return parts


def _parse_url(url: str, endpoint: str) -> Reference:
    parts = _split(url)
    if parts.netloc in MIRROR_HOSTS:
        hub = f"{parts.scheme}://{parts.netloc}"
    elif parts.netloc in (*HUB_HOSTS, urllib.parse.urlsplit(endpoint).netloc):
        hub = ""
    else:
        return Reference(url=url)
    path = [urllib.parse.unquote(part) for part in parts.path.strip("/").split("/")]
    if len(path) < 2:
        raise UsageError(
            _("{url} does not name a repository.").format(url=url),
            _("A model's address looks like https://huggingface.co/OWNER/REPO."),
        )
    name, _colon, quant = path[1].partition(":")
    repo = f"{path[0]}/{name}"
    if len(path) > 4 and path[2] in ("blob", "resolve", "raw"):
        return Reference(repo, file="/".join(path[4:]), revision=path[3], hub=hub)
    revision = path[3] if len(path) > 3 and path[2] == "tree" else "main"
    return Reference(repo, quants.parse(quant) or quant.upper(), revision=revision, hub=hub)
