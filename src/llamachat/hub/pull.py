"""From a variant on the hub to files under their names: room on the disk, shards, a record of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from pathlib import Path

from llamachat.core.units import size
from llamachat.errors import ModelError
from llamachat.hub import download, machine
from llamachat.hub.download import RemoteFile
from llamachat.hub.journal import read_identity, read_progress
from llamachat.hub.listing import Variant
from llamachat.hub.records import PART_SUFFIX, Paths, Record, read_record, records, writing
from llamachat.hub.reference import Reference
from llamachat.hub.remote import Hub
from llamachat.hub.transfer import Watcher

DISK_RESERVE = 64 << 20


def find_pulled(folder: Path, wanted: Reference) -> Path | None:
    """A file that was fetched before and is what `wanted` means, so that nothing need be asked of the hub."""
    for path, record in records([folder]).items():
        if (
            record.repo == (wanted.repo or wanted.url)
            and wanted.quant in ("", record.quant)
            and wanted.file in ("", path.name)
        ):
            return path
    return None


def is_begun(folder: Path, variant: Variant) -> bool:
    """Whether a part of the variant, or all of it, is here."""
    paths = [Paths(folder, file.name) for file in variant.files]
    return any(path.journal.exists() or path.final.exists() for path in paths)


def check_room(variant: Variant, folder: Path) -> None:
    """Raise ModelError where the disk has no room for what is still to come."""
    missing = [Paths(folder, f.name) for f in variant.files if not (folder / f.name).exists()]
    have = sum(read_progress(paths.journal) for paths in missing)
    need = sum(f.size for f in variant.files if Paths(folder, f.name) in missing) - have + DISK_RESERVE
    free = machine.free_disk(folder)
    if missing and need > free:
        raise ModelError(
            f"{variant.name} needs {size(need)}, and {folder} has {size(free)} free.",
            "Make room, or name another folder with `--folder`.",
        )


def is_here(file: RemoteFile, paths: Paths, record: Record) -> bool:
    """Whether the file is there already, by its record, or by its hash where it has none.

    Raises ModelError where another file has its name, which we did not fetch as what `record` names.
    """
    if not paths.final.exists():
        return False
    known, size = read_record(paths.final), paths.final.stat().st_size
    if known is not None and (known.repo, known.quant) == (record.repo, record.quant):
        same = file.identity.sha256 in (None, known.sha256) and file.identity.etag in (None, known.etag)
        return same and known.size == size == file.size
    if size == file.size and file.identity.sha256 in (None, download.sha256_of(paths.final)):
        return True
    raise ModelError(
        f"{paths.final} is another file than that of the hub.",
        "Move it away, or name another folder with `--folder`.",
    )


def pull(hub: Hub, variant: Variant, folder: Path, record: Record, watcher: Watcher) -> Path:
    """Fetch all files of the variant; each gets its name when all are whole. Returns the first's path.

    What `record` lacks is filled in for each file. Raises FileChanged where the hub has other files by now.
    """
    all_paths = [Paths(folder, file.name) for file in variant.files]
    with writing(folder), ExitStack() as stack:
        for paths in all_paths:
            stack.enter_context(download.locked(paths, watcher))
        check_room(variant, folder)
        together = list(zip(variant.files, all_paths, strict=True))
        hashes = [_bring(hub, file, paths, record, watcher) for file, paths in together]
        for (file, paths), sha256 in zip(together, hashes, strict=True):
            if paths.part.exists():
                download.publish(paths)
            size = paths.final.stat().st_size
            filled = replace(record, sha256=sha256, size=size, etag=file.identity.etag or "")
            paths.record.write_text(json.dumps(asdict(filled)), "utf-8")
    return all_paths[0].final


def _bring(hub: Hub, file: RemoteFile, paths: Paths, record: Record, watcher: Watcher) -> str:
    """Have the file whole, as the part file or under its name, but not both; its sha256."""
    if not is_here(file, paths, record):
        return download.fetch(file, paths, hub.client, hub.options, watcher, hub.token_for(file))
    watcher.noted(f"{file.name} is here already")
    download.discard(paths)  # the beginning of a download, which must not take the whole file's name
    return file.identity.sha256 or download.sha256_of(paths.final)


def unfinished(folders: Sequence[Path]) -> dict[Path, tuple[int, int]]:
    """Part files that wait to be gone on with: bytes that are here, and bytes of the whole."""
    found = {}
    for folder in folders:
        for part in sorted(folder.glob(f"*{PART_SUFFIX}")) if folder.is_dir() else ():
            paths = Paths(folder, part.name.removesuffix(PART_SUFFIX))
            identity = read_identity(paths.journal)
            if identity:
                found[paths.final] = (read_progress(paths.journal), identity.size)
    return found


def forget(variant: Variant, folder: Path) -> None:
    """Remove what was read ahead of a variant that is not wanted after all."""
    for file in variant.files:
        with suppress(ModelError):  # another process is fetching it
            if not (folder / file.name).exists():
                remove(folder / file.name)


def remove(path: Path) -> int:
    """Delete a model file with its record, or the rest of an unfinished one; the bytes that it gives back.

    Raises ModelError where it is being fetched.
    """
    paths = Paths(path.parent, path.name)
    with writing(path.parent):
        with download.locked_at_once(paths):
            freed = _remove(paths)
            with suppress(OSError):  # Windows, where it is open
                paths.lock.unlink()  # while it is held: who waits for it sees that it is gone
        return freed


def _remove(paths: Paths) -> int:
    freed = 0
    for file in (paths.final, paths.part):
        if file.exists():
            freed += file.stat().st_size
            file.unlink()
    for file in (paths.journal, paths.record):
        file.unlink(missing_ok=True)
    return freed
