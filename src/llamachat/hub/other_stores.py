"""Models that other programs keep on this computer: found and read, never changed.

Hugging Face's cache keeps `models--OWNER--REPO/snapshots/COMMIT/FILE` as links to `blobs/SHA256`; Ollama
names a model in `manifests/HOST/NAMESPACE/NAME/TAG`, a JSON whose layer of type `…image.model` is the GGUF
file `blobs/sha256-HEX`; LM Studio keeps OWNER/REPO/FILE.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llamachat.language import N_

Source = Literal["Hugging Face cache", "Ollama", "LM Studio"]
SOURCES = (N_("Hugging Face cache"), "Ollama", "LM Studio")

_LATER_SHARD = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
_BLOB = re.compile(r"(?:^|[/\\]|sha256-)([0-9a-f]{64})$", re.MULTILINE)
_OLLAMA_MODEL = "application/vnd.ollama.image.model"


@dataclass(frozen=True, slots=True)
class Foreign:
    """A model of another program."""

    path: Path
    name: str
    source: Source


@dataclass(frozen=True, slots=True)
class Stores:
    """Where the other programs keep their models; not all have to exist."""

    hugging_face: Path
    ollama: tuple[Path, ...]
    lm_studio: tuple[Path, ...]


def stores(environ: Mapping[str, str], home: Path) -> Stores:
    """From the environment variables of these programs, else their default places."""
    cache = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    hf_home = Path(environ.get("HF_HOME") or cache / "huggingface").expanduser()
    hub_cache = environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE")
    ollama = environ.get("OLLAMA_MODELS")
    usual = (home / ".ollama" / "models", Path("/usr/share/ollama/.ollama/models"))
    return Stores(
        hugging_face=Path(hub_cache).expanduser() if hub_cache else hf_home / "hub",
        ollama=(Path(ollama).expanduser(),) if ollama else usual,
        lm_studio=(home / ".lmstudio" / "models", home / ".cache" / "lm-studio" / "models"),
    )


def find_all(where: Stores | None = None) -> list[Foreign]:
    """Every model that other programs keep; what can't be read is skipped."""
    where = where or stores(os.environ, Path.home())
    cached = {
        (m.path.resolve(), m.name): m for m in _hugging_face(where.hugging_face)
    }  # in several snapshots
    found = [*cached.values()]
    for folder in where.ollama:
        found += _ollama(folder)
    for folder in where.lm_studio:
        found += [Foreign(path, path.stem, "LM Studio") for path in _gguf_files(folder, "*/*/*.gguf")]
    return found


def named_sha256(path: Path) -> str:
    """The sha256 in a file's name, or in that of the blob that it links to; "" without one."""
    places = [path.name, os.readlink(path)] if path.is_symlink() else [path.name]
    match = _BLOB.search("\n".join(places))
    return match[1] if match else ""


def _hugging_face(cache: Path) -> Iterator[Foreign]:
    for path in _gguf_files(cache, "models--*/snapshots/**/*.gguf"):
        yield Foreign(path, path.stem, "Hugging Face cache")


def _ollama(folder: Path) -> Iterator[Foreign]:
    for manifest in _files(folder / "manifests", "*/*/*/*"):
        try:
            layers = json.loads(manifest.read_text("utf-8"))["layers"]
            digest = next(str(layer["digest"]) for layer in layers if layer["mediaType"] == _OLLAMA_MODEL)
        except (OSError, ValueError, KeyError, TypeError, StopIteration, RecursionError):
            continue
        path = folder / "blobs" / digest.replace(":", "-")
        namespace, name, tag = manifest.parts[-3:]
        prefix = "" if namespace == "library" else f"{namespace}/"
        if path.is_file():
            yield Foreign(path, f"{prefix}{name}:{tag}", "Ollama")


def _gguf_files(folder: Path, pattern: str) -> Iterator[Path]:
    for path in _files(folder, pattern):
        if not _LATER_SHARD.search(path.name) and "mmproj" not in path.name:
            yield path


def _files(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(path for path in folder.glob(pattern) if path.is_file())
    except OSError:
        return []
