"""`llamachat pull`: choose a model that fits, agree to its licence, fetch it."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from llamachat.cli import console
from llamachat.cli.progress import remarks, watch
from llamachat.core.units import size
from llamachat.errors import ExitStatus, ModelError, NetworkError, UsageError
from llamachat.hub import advice, catalogue, local, machine, memory, reference
from llamachat.hub.address import FileChanged
from llamachat.hub.listing import Repository, Variant
from llamachat.hub.pull import check_room, find_pulled, forget, is_begun, pull
from llamachat.hub.records import Record, agreed_licences, read_alias, remember_agreed, writing
from llamachat.hub.refusals import gated
from llamachat.hub.remote import MIRROR, Hub
from llamachat.hub.transfer import TransferOptions
from llamachat.settings.base import add_options, load
from llamachat.settings.hub import PullSettings

CHANGES = 3  # times that a file may change under our hands


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL is no setting: that of `serve` and `chat`, from the environment, is not to be fetched."""
    add_options(parser, PullSettings)
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="llama3, llama3:Q4_K_M, OWNER/REPO[:QUANT], or a URL (default: one that suits this computer)",
    )


def run(args: argparse.Namespace) -> int:
    settings = load(PullSettings, vars(args))
    options = TransferOptions(connections=settings.connections, patience=settings.patience)
    with Hub(MIRROR if settings.mirror else "", options=options) as hub:
        if settings.list is not None:
            return _list(hub, reference.parse(settings.list, hub.endpoint), settings)
        wanted = _wanted(args.model, settings, hub.endpoint)
        if wanted is None:
            return ExitStatus.OK
        folder = console.models_folder(settings.folder)
        with writing(folder):
            return _pull(hub, wanted, folder, settings)


def _pull(hub: Hub, wanted: reference.Reference, folder: Path, settings: PullSettings) -> int:
    if hub.offline and (there := find_pulled(folder, wanted)):
        return _done(there, settings.quiet)
    for _ in range(CHANGES):
        repository, variant = find(hub, wanted, settings.n_ctx)
        try:
            if not _agreed(hub, wanted, repository, variant, folder, settings):
                return ExitStatus.OK
            alias = wanted.entry.name if wanted.entry else ""
            licence = _licence(wanted, repository)
            record = Record(repository.id, variant.quant, "", 0, licence, repository.commit, alias)
            with watch(settings.quiet) as watcher:
                path = pull(hub, variant, folder, record, watcher)
        except FileChanged as change:
            console.say(f"{variant.name} has changed on the hub ({change}): asking again")
        else:
            return _done(path, settings.quiet)
    raise NetworkError(f"{wanted} changes all the time on {hub.endpoint}.", "Try again later.")


def find(hub: Hub, wanted: reference.Reference, n_ctx: int) -> tuple[Repository, Variant]:
    """The repository and the variant of it that is meant."""
    if wanted.url:
        variant = hub.plain_url(wanted.url)
        return Repository(wanted.url, "", "", False, (variant,)), variant
    if wanted.file:
        return hub.file(wanted.repo, wanted.file, wanted.revision)
    repository = hub.repository(wanted.repo, wanted.revision)
    return repository, _variant(repository, wanted, n_ctx)


def _wanted(model: str | None, settings: PullSettings, endpoint: str) -> reference.Reference | None:
    """What the user named, or what suits this computer and was agreed to; None for no."""
    if model is not None:
        return reference.parse(model, endpoint)
    disk = machine.free_disk(console.models_folder(settings.folder))
    chosen = advice.recommend(
        catalogue.entries(), machine.look(), disk, console.language(settings.lang), settings.n_ctx
    )
    console.say(chosen.reason)
    if not console.ask(f"Fetch {chosen.entry.name}?", settings.yes):
        return None
    return reference.Reference(chosen.entry.repo, chosen.quant, entry=chosen.entry)


def _variant(repository: Repository, wanted: reference.Reference, n_ctx: int) -> Variant:
    by_quant = {variant.quant: variant for variant in reversed(repository.variants)}
    if not by_quant:
        raise ModelError(
            f"{repository.id} has no GGUF file.", "Look for a repository whose name ends in GGUF."
        )
    if wanted.quant:
        choices = [wanted.quant]
    elif wanted.entry:
        choices = [advice.choose_quant(wanted.entry, machine.look(), n_ctx), wanted.entry.quant]
    else:
        choices = []
    usual = [] if wanted.quant else ["Q4_K_M", "Q4_0", "Q5_K_M", "Q8_0", next(iter(by_quant))]
    for quant in (*choices, *usual):
        if quant in by_quant:
            return by_quant[quant]
    there = ", ".join(variant.quant for variant in repository.variants)
    raise ModelError(f"{repository.id} has no {wanted.quant}.", f"It has {there}.")


def _agreed(
    hub: Hub,
    wanted: reference.Reference,
    repository: Repository,
    variant: Variant,
    folder: Path,
    settings: PullSettings,
) -> bool:
    """Whether to go on. Raises for what can't be had or does not fit."""
    if repository.gated and not hub.token:
        raise gated(repository.id)
    check_room(variant, folder)
    begun = is_begun(folder, variant)
    agreed = False
    try:
        fit = _check_fit(hub, wanted, repository, variant, folder, settings)
        licence = catalogue.licence(_licence(wanted, repository))
        if not settings.quiet:
            text = f"{variant.name}: {size(variant.size)}, fits: {fit}; licence: {licence.name}"
            console.say(f"{text} {licence.url}".rstrip())
        question = f"Do you agree to the {licence.name}?"
        agreed = not licence.ask or licence.id in agreed_licences(folder)
        if not agreed and console.ask(question, settings.yes, default=False):
            remember_agreed(folder, licence.id)
            agreed = True
    finally:
        if not agreed and not begun:
            forget(variant, folder)
    return agreed


def _check_fit(
    hub: Hub,
    wanted: reference.Reference,
    repository: Repository,
    variant: Variant,
    folder: Path,
    settings: PullSettings,
) -> machine.Fit:
    estimate = _estimate(hub, wanted, variant, folder, settings)
    here = machine.look()
    fit = here.fit(estimate.total)
    if fit == "no" and not settings.force:
        raise ModelError(
            f"{variant.name} needs {size(estimate.total)} of memory, and there are {size(here.memory)}.",
            f"Choose a smaller one (`llamachat pull --list {repository.id}`), or insist with `--force`.",
        )
    return fit


def _licence(wanted: reference.Reference, repository: Repository) -> str:
    return wanted.entry.licence if wanted.entry else repository.licence


def _estimate(
    hub: Hub, wanted: reference.Reference, variant: Variant, folder: Path, settings: PullSettings
) -> memory.Estimate:
    """By the catalogue's shape; for other models by the header, of the file that is here where it is."""
    if wanted.entry:
        return memory.estimate_shape(wanted.entry.shape, variant.size, settings.n_ctx)
    header = hub.header(variant.files[0], folder, remarks(settings.quiet))
    return memory.estimate_shape(memory.shape_of(header), variant.size, settings.n_ctx)


def _list(hub: Hub, wanted: reference.Reference, settings: PullSettings) -> int:
    from rich.markup import escape
    from rich.table import Table

    n_ctx, watcher = settings.n_ctx, remarks(settings.quiet)
    if wanted.url:
        raise UsageError(f"{wanted} is no repository.", "Name OWNER/REPO, or a name of the catalogue.")
    repository, first = find(hub, reference.Reference(wanted.repo, revision=wanted.revision), n_ctx)
    with tempfile.TemporaryDirectory() as folder:
        try:
            shape = memory.shape_of(hub.header(repository.variants[0].files[0], Path(folder), watcher))
        except FileChanged as change:
            raise NetworkError(f"{repository.id} has just changed ({change}).", "Ask again.") from change
    here = machine.look()
    table = Table(
        title=f"{escape(repository.id)}, n_ctx {n_ctx}, {size(here.memory)} of memory here", box=None
    )
    for column, justify in (("quantisation", "left"), ("size", "right"), ("memory", "right")):
        table.add_column(column, justify="right" if justify == "right" else "left")
    table.add_column("weights + KV + buffers", justify="right")
    table.add_column("fits")
    table.add_column("file")
    for variant in repository.variants:
        need = memory.estimate_shape(shape, variant.size, n_ctx)
        parts = " + ".join(size(part) for part in (need.weights, need.kv_cache, need.buffers))
        name = variant.name + (f" ({len(variant.files)} parts)" if len(variant.files) > 1 else "")
        mark = " *" if variant is first else ""
        sizes = (size(variant.size), size(need.total))
        table.add_row(variant.quant + mark, *sizes, parts, here.fit(need.total), escape(name))
    console.stdout().print(table)
    return ExitStatus.OK


def _done(path: Path, quiet: bool) -> int:
    """The path on stdout, for scripts; what to do with it on stderr."""
    if not quiet:
        found = path.parent in local.models_folders(Path.cwd())
        name = (read_alias(path) or path.stem) if found else path
        console.say(f"Talk to it: llamachat serve {name} --chat")
    sys.stdout.write(f"{path}\n")
    return ExitStatus.OK
