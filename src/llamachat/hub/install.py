"""From what the user asked for to model files: the variant, whether it fits, consent, the download."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from llamachat.core.units import size
from llamachat.errors import ModelError, NetworkError
from llamachat.hub import catalogue, download, estimate, hardware, quants
from llamachat.hub.download import Watcher
from llamachat.hub.http_file import FileChanged, RemoteFile, gated
from llamachat.hub.hub_client import Hub
from llamachat.hub.model_folder import (
    PART_SUFFIX,
    Paths,
    Record,
    agreed_licences,
    read_record,
    records,
    remember_agreed,
    writing,
)
from llamachat.hub.projector import NAME, kept_as
from llamachat.hub.reference import Reference
from llamachat.hub.repository import Repository, Variant
from llamachat.hub.segments import read_identity, read_progress
from llamachat.language import _

DISK_RESERVE = 64 << 20
ATTEMPTS = 3  # if the file changes on the hub in the meantime
PROJECTOR_QUANTS = ("F16", "Q8_0", "BF16", "F32")
USUAL_QUANTS = ("Q4_K_M", "Q4_0", "Q5_K_M", "Q8_0")


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted, for which models folder and context window; `force` ignores that it does not fit.

    `projector`: with what the model sees pictures with, if the repository has that.
    """

    wanted: Reference
    folder: Path
    n_ctx: int
    force: bool = False
    projector: bool = True


@dataclass(frozen=True, slots=True)
class Choice:
    """What would be downloaded; `asks_consent` if the user has to agree to its licence first.

    `projector` is one of the variant's files.
    """

    variant: Variant
    projector: RemoteFile | None
    fit: hardware.Fit
    licence: catalogue.Licence
    asks_consent: bool


@dataclass(frozen=True, slots=True)
class Face:
    """Who is asked for consent, and told: `remarks` before the download, `progress` while it runs."""

    consents: Callable[[Choice], bool]
    remarks: Watcher
    progress: Callable[[], AbstractContextManager[Watcher]]


def install(hub: Hub, request: Request, face: Face) -> Path | None:
    """Find what is wanted and download it; returns the path of its first file, None without consent.

    Raises ModelError if it does not fit into memory or on the disk, NetworkError, AuthError.
    """
    wanted = request.wanted
    if hub.offline and (there := find_pulled(request.folder, wanted)):
        return there
    for _attempt in range(ATTEMPTS):
        repository, variant = find(hub, wanted, request.n_ctx)
        projector = choose_projector(repository, variant) if request.projector else None
        if projector:
            variant = replace(variant, files=(*variant.files, projector))
        try:
            if not _consented(hub, request, face, repository, variant, projector):
                return None
            alias = wanted.entry.name if wanted.entry else ""
            licence = _licence_id(wanted, repository)
            record = Record(repository.id, variant.quant, "", 0, licence, repository.commit, alias)
            with face.progress() as watcher:
                return pull(hub, variant, request.folder, record, watcher)
        except FileChanged as change:
            face.remarks.noted(
                _("{name} has changed on the hub ({change}): asking again").format(
                    name=variant.name, change=change
                )
            )
    raise NetworkError(
        _("{wanted} keeps changing on {endpoint}.").format(wanted=wanted, endpoint=hub.endpoint),
        _("Try again later."),
    )


def find(hub: Hub, wanted: Reference, n_ctx: int) -> tuple[Repository, Variant]:
    """The repository, and the variant of it that is meant or suits this computer."""
    if wanted.url:
        variant = hub.plain_url(wanted.url)
        return Repository(wanted.url, "", "", False, (variant,)), variant
    if wanted.file:
        return hub.file(wanted.repo, wanted.file, wanted.revision)
    repository = hub.repository(wanted.repo, wanted.revision)
    return repository, choose_variant(repository, wanted, hardware.look(), n_ctx)


def choose_variant(
    repository: Repository, wanted: Reference, machine: hardware.Machine, n_ctx: int
) -> Variant:
    """The quantisation that was named; else the catalogue's for this computer, or a usual one."""
    by_quant = {variant.quant: variant for variant in reversed(repository.variants)}
    if not by_quant:
        raise ModelError(
            _("{repository} has no GGUF files.").format(repository=repository.id),
            _("Look for a repository whose name ends in GGUF."),
        )
    if wanted.quant:
        quants = [wanted.quant]
    else:
        entry = wanted.entry
        known = [catalogue.choose_quant(entry, machine, n_ctx), entry.quant] if entry else []
        quants = [*known, *USUAL_QUANTS, next(iter(by_quant))]
    for quant in quants:
        if quant in by_quant:
            return by_quant[quant]
    there = ", ".join(variant.quant for variant in repository.variants)
    raise ModelError(
        _("{repository} has no {quant}.").format(repository=repository.id, quant=wanted.quant),
        _("It has {there}.").format(there=there),
    )


def choose_projector(repository: Repository, variant: Variant) -> RemoteFile | None:
    """What the variant sees pictures with: the one with its name, in a usual precision."""
    everyone = [projector.files[0] for projector in repository.projectors]
    own = [file for file in everyone if kept_as(file.name, variant.name) == file.name]
    by_quant = {quants.quant_of(file.name): file for file in reversed(own or everyone)}
    quant = next((q for q in PROJECTOR_QUANTS if q in by_quant), next(iter(by_quant), None))
    if quant is None:
        return None
    return replace(by_quant[quant], name=kept_as(by_quant[quant].name, variant.name))


def _consented(
    hub: Hub,
    request: Request,
    face: Face,
    repository: Repository,
    variant: Variant,
    projector: RemoteFile | None,
) -> bool:
    """Whether the user wants it. Raises if it can't be downloaded or does not fit."""
    folder = request.folder
    if repository.gated and not hub.token:
        raise gated(repository.id)
    check_room(variant, folder)
    begun, consented = is_begun(folder, variant), False
    try:
        fit = _check_fit(hub, request, face, repository, variant)
        licence = catalogue.licence(_licence_id(request.wanted, repository))
        asks = licence.ask and licence.id not in agreed_licences(folder)
        consented = face.consents(Choice(variant, projector, fit, licence, asks))
        if consented and asks:
            remember_agreed(folder, licence.id)
    finally:
        if not consented and not begun:
            forget(variant, folder)
    return consented


def _check_fit(
    hub: Hub, request: Request, face: Face, repository: Repository, variant: Variant
) -> hardware.Fit:
    """From the catalogue's shape, for other models from the header. Raises ModelError for "no"."""
    if request.wanted.entry:
        shape = request.wanted.entry.shape
    else:
        shape = estimate.shape_of(hub.header(variant.files[0], request.folder, face.remarks))
    need, machine = estimate.estimate_shape(shape, variant.size, request.n_ctx).total, hardware.look()
    fit = machine.fit(need)
    if fit == "no" and not request.force:
        raise ModelError(
            _("{name} needs {needed} of memory, and there are {memory}.").format(
                name=variant.name, needed=size(need), memory=size(machine.memory)
            ),
            _(
                "Choose a smaller one (`llamachat pull --list {repository}`), or insist with `--force`."
            ).format(repository=repository.id),
        )
    return fit


def _licence_id(wanted: Reference, repository: Repository) -> str:
    return wanted.entry.licence if wanted.entry else repository.licence


def find_pulled(folder: Path, wanted: Reference) -> Path | None:
    """A file that was downloaded before and is what `wanted` means, so that the hub need not be asked."""
    for path, record in records([folder]).items():
        if not NAME.search(path.name) and (
            record.repo == (wanted.repo or wanted.url)
            and wanted.quant in ("", record.quant)
            and wanted.file in ("", path.name)
        ):
            return path
    return None


def is_begun(folder: Path, variant: Variant) -> bool:
    """Whether the download of the variant has begun, or is complete."""
    paths = [Paths(folder, file.name) for file in variant.files]
    return any(path.journal.exists() or path.final.exists() for path in paths)


def check_room(variant: Variant, folder: Path) -> None:
    """Raise ModelError if the disk has no room for the rest."""
    missing = [Paths(folder, f.name) for f in variant.files if not (folder / f.name).exists()]
    have = sum(read_progress(paths.journal) for paths in missing)
    need = sum(f.size for f in variant.files if Paths(folder, f.name) in missing) - have + DISK_RESERVE
    free = hardware.free_disk(folder)
    if missing and need > free:
        raise ModelError(
            _("{name} needs {needed}, and {folder} has {free} free.").format(
                name=variant.name, needed=size(need), folder=folder, free=size(free)
            ),
            _("Free some space, or choose another folder with `--folder`."),
        )


def is_here(file: RemoteFile, paths: Paths, record: Record) -> bool:
    """Whether the file is here already, by its record, or by its hash if there is no record.

    Raises ModelError if another file has its name, which was not downloaded as what `record` names.
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
        _("{final} is not the file that the hub has.").format(final=paths.final),
        _("Move it away, or choose another folder with `--folder`."),
    )


def pull(hub: Hub, variant: Variant, folder: Path, record: Record, watcher: Watcher) -> Path:
    """Download all files of the variant; they get their names when all are complete. Returns the first path.

    What `record` lacks is filled in for each file. Raises FileChanged if the hub has other files now.
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
    """Complete the file, as the part file or under its name, but not both; returns its sha256."""
    if not is_here(file, paths, record):
        return download.fetch(file, paths, hub.transport(file, watcher))
    watcher.noted(_("{name} is here already").format(name=file.name))
    download.discard(paths)  # an unfinished download must not replace the complete file
    return file.identity.sha256 or download.sha256_of(paths.final)


def unfinished(folders: Sequence[Path]) -> dict[Path, tuple[int, int]]:
    """Downloads that are not complete: bytes that have arrived, and bytes in all."""
    found = {}
    for folder in folders:
        for part in sorted(folder.glob(f"*{PART_SUFFIX}")) if folder.is_dir() else ():
            paths = Paths(folder, part.name.removesuffix(PART_SUFFIX))
            identity = read_identity(paths.journal)
            if identity:
                found[paths.final] = (read_progress(paths.journal), identity.size)
    return found


def forget(variant: Variant, folder: Path) -> None:
    """Remove the header that was read of a variant that is not wanted after all."""
    for file in variant.files:
        with suppress(ModelError):  # another process is fetching it
            if not (folder / file.name).exists():
                remove(folder / file.name)


def remove(path: Path) -> int:
    """Delete a model file with its record, or the rest of an unfinished one; returns the bytes freed.

    Raises ModelError if it is being fetched.
    """
    paths = Paths(path.parent, path.name)
    with writing(path.parent):
        with download.locked_at_once(paths):
            freed = _remove(paths)
            with suppress(OSError):  # Windows, where it is open
                paths.lock.unlink()  # while it is held: a process that waits for it notices
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
