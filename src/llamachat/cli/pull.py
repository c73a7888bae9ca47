"""`llamachat pull`: fetch a model that fits this computer, or show what a repository has."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from llamachat.cli import console
from llamachat.cli.progress import remarks, watch
from llamachat.core.units import size
from llamachat.errors import ExitStatus, NetworkError, UsageError
from llamachat.hub import catalogue, estimate, hardware, install, local_models, reference
from llamachat.hub.http_file import FileChanged, TransferOptions
from llamachat.hub.hub_client import Hub
from llamachat.hub.model_folder import read_alias, writing
from llamachat.language import N_, _
from llamachat.server import backends
from llamachat.settings.base import add_options, load
from llamachat.settings.hub import PullSettings
from llamachat.settings.serve import ServeSettings

if TYPE_CHECKING:
    from rich.console import JustifyMethod


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL is not a setting: the model of `serve` and `chat`, from the environment, is not to be fetched."""
    add_options(parser, PullSettings)
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help=_("llama3, llama3:Q4_K_M, OWNER/REPO[:QUANT], or a URL (default: one that suits this computer)"),
    )


def run(args: argparse.Namespace) -> int:
    settings = load(PullSettings, vars(args))
    options = TransferOptions(connections=settings.connections, patience=settings.patience)
    with Hub(reference.MIRROR if settings.mirror else "", options=options) as hub:
        if settings.list is not None:
            return _list(hub, hub.parse(settings.list), settings)
        folder = local_models.places(settings.folder).folders[0]
        wanted = _recommended(folder, settings) if args.model is None else hub.parse(args.model)
        if wanted is None:
            return ExitStatus.OK
        with writing(folder):
            return _install(hub, _request(wanted, folder, settings), settings)


def _request(wanted: reference.Reference, folder: Path, settings: PullSettings) -> install.Request:
    return install.Request(wanted, folder, settings.n_ctx, settings.force, settings.projector)


def _recommended(folder: Path, settings: PullSettings) -> reference.Reference | None:
    """What suits this computer, if the user agrees."""
    language = console.language(settings.lang)
    disk = hardware.free_disk(folder)
    chosen = catalogue.recommend(catalogue.entries(), hardware.look(), disk, language, settings.n_ctx)
    console.say(chosen.reason)
    if not console.ask(_("Fetch {name}?").format(name=chosen.entry.name), settings.yes):
        return None
    return reference.Reference(chosen.entry.repo, chosen.quant, entry=chosen.entry)


def _install(hub: Hub, request: install.Request, settings: PullSettings) -> int:
    """The path on stdout, for scripts; what to do with it on stderr."""

    def consents(choice: install.Choice) -> bool:
        name, licence = choice.variant.name, choice.licence
        if not settings.quiet:
            text = _("{name}: {size}, fits: {fit}; licence: {licence}").format(
                name=name, size=size(choice.variant.size), fit=_(choice.fit), licence=licence.name
            )
            console.say(f"{text} {licence.url}".rstrip())
            if choice.projector:
                console.say(
                    _("With {name} ({size}) it sees pictures; --no-projector leaves that out.").format(
                        name=choice.projector.name, size=size(choice.projector.size)
                    )
                )
        question = _("Do you agree to the {name}?").format(name=licence.name)
        return not choice.asks_consent or console.ask(question, settings.yes, default=False)

    face = install.Face(consents, remarks(settings.quiet), lambda: watch(settings.quiet))
    path = install.install(hub, request, face)
    if path is None:
        return ExitStatus.OK
    if not settings.quiet:
        console.say(_("Talk to it: llamachat serve {model} --chat").format(model=_name_for_serve(path)))
    sys.stdout.write(f"{path}\n")
    return ExitStatus.OK


def _name_for_serve(path: Path) -> str:
    """The name by which `serve` finds the model, or its path."""
    with contextlib.suppress(UsageError):
        if path.parent in local_models.places(load(ServeSettings, {}).folder).folders:
            return read_alias(path) or path.stem
    return shlex.quote(str(path))


def _list(hub: Hub, wanted: reference.Reference, settings: PullSettings) -> int:
    n_ctx, watcher = settings.n_ctx, remarks(settings.quiet)
    if wanted.url:
        raise UsageError(
            _("{wanted} is not a repository.").format(wanted=wanted),
            _("Give OWNER/REPO, or a name of the catalogue."),
        )
    repository, first = install.find(hub, reference.Reference(wanted.repo, revision=wanted.revision), n_ctx)
    with tempfile.TemporaryDirectory() as folder:
        try:
            shape = estimate.shape_of(hub.header(repository.variants[0].files[0], Path(folder), watcher))
        except FileChanged as change:
            raise NetworkError(
                _("{repository} has just changed ({change}).").format(
                    repository=repository.id, change=change
                ),
                _("Try again."),
            ) from change
    here = hardware.look()
    rows = []
    sees_with = install.choose_projector(repository, first) if settings.projector else None
    alone = sees_with is not None or backends.has_own_memory()
    for variant in repository.variants:
        weights = variant.size + (sees_with.size if sees_with else 0)
        one = estimate.estimate_shape(shape, weights, n_ctx)
        parallel, need = estimate.served(one, here.available, alone=alone)
        parts = " + ".join(size(part) for part in (need.weights, need.kv_cache, need.buffers))
        name = variant.name + (
            _(" ({count} parts)").format(count=len(variant.files)) if len(variant.files) > 1 else ""
        )
        mark = " *" if variant is first else ""
        sizes = (size(variant.size), size(need.total), str(parallel))
        rows.append((variant.quant + mark, *sizes, parts, _(here.fit(one.total)), name))
    title = _("{name}, n_ctx {n_ctx}, {memory} of memory here").format(
        name=repository.id, n_ctx=n_ctx, memory=size(here.memory)
    )
    console.print_table(_COLUMNS, rows, spare=("file", "weights + KV + buffers", "at once"), title=title)
    if sees_with:
        console.say(
            _("With {name} ({size}) they see pictures; it comes with each of them.").format(
                name=sees_with.name, size=size(sees_with.size)
            )
        )
    return ExitStatus.OK


_COLUMNS: dict[str, JustifyMethod] = {
    N_("quantisation"): "left",
    N_("size"): "right",
    N_("memory"): "right",
    N_("at once"): "right",
    N_("weights + KV + buffers"): "right",
    N_("fits"): "left",
    N_("file"): "left",
}
