"""Every model on this computer, with what its header, its record and its place tell about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llamachat.errors import LlamachatError, ModelError
from llamachat.hub import elsewhere, gguf, local, memory, quants
from llamachat.hub.download import sha256_of
from llamachat.hub.records import read_alias, read_record

OURS, BUNDLED = "llamachat", "bundled"


@dataclass(frozen=True, slots=True)
class Item:
    """One model and whose it is."""

    model: local.LocalModel
    source: str

    @property
    def size(self) -> int:
        return sum(path.stat().st_size for path in local.shards(self.model.path) if path.exists())


@dataclass(frozen=True, slots=True)
class Facts:
    """What there is to know of a model before it runs; `problem` instead of all where it can't be read."""

    quant: str = ""
    n_params: int = 0
    n_ctx_train: int = 0
    licence: str = ""
    need: int = 0
    problem: str = ""


def find_all(folders: Sequence[Path], where: elsewhere.Stores | None = None) -> list[Item]:
    items = [Item(model, OURS) for model in local.list_models(folders)]
    bundled = local.bundled_model()
    if bundled:
        items.append(Item(bundled, BUNDLED))
    for found in elsewhere.find_all(where):
        items.append(Item(local.LocalModel(found.path, found.name), found.source))
    return items


def find(name: str, folders: Sequence[Path], where: elsewhere.Stores | None = None) -> Item:
    """The model called `name`, ours before others'. Raises ModelError where there is none."""
    items = find_all(folders, where)
    wanted = name.lower().removesuffix(".gguf")
    for item in items:
        if wanted in (*local.names_of(item.model), read_alias(item.model.path)):
            return item
    names = ", ".join(item.model.name for item in items) or "none"
    raise ModelError(f"There is no model {name} here.", f"There are {names}.")


def facts_of(item: Item, n_ctx: int) -> Facts:
    """Read the header; a model that is damaged or incomplete has a `problem`."""
    try:
        header = local.check(item.model)
    except LlamachatError as error:
        return Facts(problem=error.message)
    record = read_record(item.model.path)
    return Facts(
        quant=quant_of(header, item.model.path.name),
        n_params=sum(tensor.n_values for tensor in header.tensors),
        n_ctx_train=header.n_ctx_train or 0,
        licence=(record.licence if record else "") or header.text("general.license"),
        need=memory.estimate(header, n_ctx).total,
    )


def quant_of(header: gguf.GGUFHeader, file_name: str) -> str:
    """By the header's file type, else by the file's name."""
    file_type = header.metadata.get("general.file_type")
    known = quants.FILE_TYPES.get(file_type, "") if isinstance(file_type, int) else ""
    return known or quants.quant_of(file_name)


def verify(item: Item) -> str:
    """Compare each file with the hash that is known of it; "" where all agree, else what could be checked.

    Raises ModelError for another hash, and for what is cut off.
    """
    local.check(item.model)
    for path in local.shards(item.model.path):
        record = read_record(path)
        wanted = record.sha256 if record else elsewhere.named_sha256(path)
        if not wanted:
            return "no hash is known; header and size are sound"
        with reading(path):
            got = sha256_of(path)
        if got != wanted:
            text = f"{path} has sha256 {got}, it should be {wanted}."
            raise ModelError(text, "Remove it and fetch it again.")
    return ""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ModelError(f"{path} can't be read: {error.strerror}.") from error
