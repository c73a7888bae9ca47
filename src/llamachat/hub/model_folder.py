"""What a models folder has besides models: files of downloads, a record of each, the licences agreed to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from llamachat.errors import ModelError
from llamachat.language import _, reason

STATE_FOLDER = ".llamachat"
PART_SUFFIX = ".part"


@dataclass(frozen=True, slots=True)
class Paths:
    """Where a download of `name` into `folder` keeps what it needs."""

    folder: Path
    name: str

    @property
    def final(self) -> Path:
        return self.folder / self.name

    @property
    def part(self) -> Path:
        return self.folder / (self.name + PART_SUFFIX)

    @property
    def journal(self) -> Path:
        return self.folder / STATE_FOLDER / f"{self.name}.journal"

    @property
    def lock(self) -> Path:
        return self.folder / STATE_FOLDER / f"{self.name}.lock"

    @property
    def record(self) -> Path:
        return self.folder / STATE_FOLDER / f"{self.name}.json"


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of a file that was fetched; `alias` is its name in the catalogue."""

    repo: str
    quant: str
    sha256: str
    size: int
    licence: str = ""
    commit: str = ""
    alias: str = ""
    etag: str = ""


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Translate the system's errors while writing into `folder`."""
    try:
        yield
    except OSError as error:
        raise ModelError(
            _("{folder} can't be written: {reason}.").format(folder=folder, reason=reason(error)),
            _("Choose another folder with `--folder`."),
        ) from error


def agreed_licences(folder: Path) -> list[str]:
    """The licences that the user agreed to for models in `folder`."""
    try:
        return _agreed(folder).read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return []


def remember_agreed(folder: Path, licence: str) -> None:
    if licence not in agreed_licences(folder):
        _agreed(folder).parent.mkdir(parents=True, exist_ok=True)
        with _agreed(folder).open("a", encoding="utf-8") as file:
            file.write(f"{licence}\n")


def _agreed(folder: Path) -> Path:
    return folder / STATE_FOLDER / "agreed"


def read_record(path: Path) -> Record | None:
    """The record of the model file `path`, None where llamachat did not download it."""
    try:
        record = Record(**json.loads(Paths(path.parent, path.name).record.read_text("utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    sound = all(isinstance(value, int if key == "size" else str) for key, value in asdict(record).items())
    return record if sound else None


def records(folders: Sequence[Path]) -> dict[Path, Record]:
    """The files in `folders` that llamachat downloaded and that still exist."""
    paths = (path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*.gguf")))
    return {path: record for path in paths if (record := read_record(path))}


def read_alias(path: Path) -> str | None:
    """The name in the catalogue under which a model file was downloaded, None without one."""
    record = read_record(path)
    return record.alias or None if record else None
