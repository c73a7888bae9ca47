"""What a repository of the hub contains: its API's answer, which may be anything, as checked values."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llamachat.errors import NetworkError
from llamachat.hub import projector, quants
from llamachat.hub.http_file import RemoteFile
from llamachat.hub.segments import Identity
from llamachat.language import _

_NOT_A_MODEL = re.compile(r"imatrix|draft", re.IGNORECASE)
_SHARD = re.compile(r"-\d{5}-of-(?P<count>\d{5})(?=\.gguf$)", re.IGNORECASE)
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Variant:
    """One quantisation of a model: a file, or its shards in order."""

    quant: str
    files: tuple[RemoteFile, ...]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def name(self) -> str:
        """The file name without the number of the shard."""
        return _SHARD.sub("", self.files[0].name)


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at one commit; `projectors` are what its models see pictures with."""

    id: str
    commit: str
    licence: str
    gated: bool
    variants: tuple[Variant, ...]
    projectors: tuple[Variant, ...] = ()


def is_safe(name: str) -> bool:
    """Whether a file of this name stays in its folder on every system and has no control characters."""
    return name.isprintable() and name.strip(". ") != "" and not any(c in name for c in '/\\:*?"<>|')


def read(answer: object, endpoint: str) -> Repository:
    """The repository in the answer to `GET /api/models/…?blobs=true`. Raises NetworkError for anything else.

    Left out: files that are not models, names that some system does not allow, incomplete sets of shards.
    """
    try:
        assert isinstance(answer, dict)
        return _read(answer, endpoint)
    except (AssertionError, KeyError, TypeError, AttributeError) as error:
        raise NetworkError(
            _("{endpoint} answered with something that is not a list of files.").format(endpoint=endpoint),
            _("Is there a login page or a proxy in between?"),
        ) from error


def _read(info: Mapping[str, Any], endpoint: str) -> Repository:
    repo_id, commit = str(info["id"]), str(info.get("sha") or "main")
    groups: dict[str, list[RemoteFile]] = {}
    for sibling in sorted(info.get("siblings") or (), key=lambda s: str(s["rfilename"])):
        path, size = str(sibling["rfilename"]), sibling.get("size")
        name = path.rpartition("/")[2]
        if not path.lower().endswith(".gguf") or _NOT_A_MODEL.search(path) or not is_safe(name):
            continue
        if isinstance(size, int) and size > 0:
            sha256 = str((sibling.get("lfs") or {}).get("sha256") or "")
            identity = Identity(size, sha256 if _SHA256.fullmatch(sha256) else None)
            url = url_of(endpoint, repo_id, commit, path)
            groups.setdefault(_SHARD.sub("", path), []).append(RemoteFile(name, url, identity))
    variants = [Variant(quants.quant_of(path), tuple(files)) for path, files in groups.items()]
    complete = sorted(filter(_is_complete, variants), key=lambda variant: variant.size)
    models = tuple(v for v in complete if not projector.NAME.search(v.name))
    projectors = tuple(v for v in complete if projector.NAME.search(v.name))
    return Repository(repo_id, commit, _licence(info), bool(info.get("gated")), models, projectors)


def url_of(endpoint: str, repo_id: str, commit: str, path: str) -> str:
    return f"{endpoint}/{repo_id}/resolve/{urllib.parse.quote(commit, safe='')}/{urllib.parse.quote(path)}"


def _is_complete(variant: Variant) -> bool:
    match = _SHARD.search(variant.files[0].name)
    return len(variant.files) == (int(match["count"]) if match else 1)


def _licence(info: Mapping[str, Any]) -> str:
    card = info.get("cardData") or {}
    named = card.get("license_name") or card.get("license")
    if isinstance(named, list):
        named = named[0] if named else ""
    tagged = (tag.removeprefix("license:") for tag in info.get("tags") or () if tag.startswith("license:"))
    return str(named or next(tagged, "")).lower()
