"""The models that are known by a short name, from catalogue.toml."""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from importlib import resources
from typing import Any

from llamachat.hub import quants
from llamachat.hub.memory import Estimate, Shape, estimate_shape

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True, slots=True)
class Licence:
    """`ask`: its text wants to be agreed to."""

    id: str
    name: str
    url: str = ""
    ask: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One model of the catalogue; see the head of catalogue.toml for the fields."""

    name: str
    title: str
    repo: str
    quant: str
    params: float
    n_ctx_train: int
    licence: str
    languages: tuple[str, ...]
    rank: int
    shape: Shape
    weak_quant: str = ""

    def file_size(self, quant: str) -> int:
        """About how many bytes the file has, from its bits for each weight."""
        return int(self.params * 1e9 * quants.BITS.get(quant, 5.0) / 8)

    def estimate(self, quant: str, n_ctx: int) -> Estimate:
        return estimate_shape(self.shape, self.file_size(quant), n_ctx)


@functools.cache
def _tables() -> dict[str, Any]:
    text = resources.files("llamachat.hub").joinpath("catalogue.toml").read_text("utf-8")
    return tomllib.loads(text)


@functools.cache
def entries() -> tuple[Entry, ...]:
    def entry(table: dict[str, Any]) -> Entry:
        shape = Shape(**table["shape"])
        return Entry(**{**table, "languages": tuple(table["languages"]), "shape": shape})

    return tuple(entry(table) for table in _tables()["model"])


def find(name: str) -> Entry | None:
    return next((entry for entry in entries() if entry.name == name.lower()), None)


def licence(licence_id: str) -> Licence:
    """What is known of a licence; Llama's are asked for even where a version is new."""
    known = _tables()["licences"].get(licence_id)
    if known:
        return Licence(licence_id, **known)
    return Licence(
        licence_id, licence_id or "unknown", ask="llama" in licence_id or licence_id.startswith("gemma")
    )
