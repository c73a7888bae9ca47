"""`llamachat models`: what is here, one in detail, hashes, removal, and what the names mean."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llamachat.cli import console
from llamachat.core.units import size
from llamachat.errors import ExitStatus, LlamachatError, ModelError, UsageError
from llamachat.hub import catalogue, estimate, hardware, install, local_models, model_facts, projector, quants
from llamachat.hub.local_models import LocalModel, Places
from llamachat.language import N_, _
from llamachat.server import backends
from llamachat.settings.base import add_options, load
from llamachat.settings.hub import ModelsSettings

if TYPE_CHECKING:
    from rich.console import JustifyMethod


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options may come before the action or after it."""
    add_options(parser, ModelsSettings)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title=_("actions"))
    for action in _ACTIONS:
        sub = actions.add_parser(action.name, help=_(action.summary), description=_(action.summary))
        add_options(sub, ModelsSettings)
        sub.add_argument("names", nargs="*", metavar=action.metavar)


def run(args: argparse.Namespace) -> int:
    settings = load(ModelsSettings, vars(args))
    action = next(action for action in _ACTIONS if action.name == (args.action or "list"))
    names: Sequence[str] = getattr(args, "names", ())
    if action.needs_names and not names:
        usage = f"llamachat models {action.name} {action.metavar}"
        raise UsageError(_("`models {name}` needs a name.").format(name=action.name), usage)
    return action.run(settings, names)


def _places(settings: ModelsSettings) -> Places:
    return local_models.places(settings.folder)


def _chosen(settings: ModelsSettings, names: Sequence[str]) -> list[LocalModel]:
    """The models that are named, or all that are here."""
    where = _places(settings)
    return [local_models.find(name, where) for name in names] or local_models.list_all(where)


def _list(settings: ModelsSettings, names: Sequence[str]) -> int:
    here = hardware.look()
    rows = [_row(model, here, settings.n_ctx) for model in _chosen(settings, names)]
    for path, (have, whole) in install.unfinished(_places(settings).folders).items():
        rest = _("{percent}% of {size} is here").format(percent=100 * have // max(1, whole), size=size(whole))
        rows.append((path.stem, _("unfinished"), rest, *[""] * (len(_COLUMNS) - 3)))
    if rows:
        console.print_table(_COLUMNS, rows, spare=_SPARE)
    else:
        console.write(_("No models yet. Fetch one: llamachat pull"))
    return ExitStatus.OK


_COLUMNS: dict[str, JustifyMethod] = {
    N_("name"): "left",
    N_("where"): "left",
    N_("size"): "right",
    N_("quant"): "left",
    N_("params"): "right",
    N_("context"): "right",
    N_("pictures"): "left",
    N_("licence"): "left",
    N_("memory"): "right",
    N_("fits"): "left",
}
_SPARE = ("licence", "params", "context", "quant", "pictures", "memory")
"""What a narrow terminal has no room for, the least important first."""


def _row(model: LocalModel, here: hardware.Machine, n_ctx: int) -> tuple[str, ...]:
    facts = model_facts.facts_of(model, n_ctx)
    start = (model.name, _(model.source), size(model.size))
    if facts.problem:
        return (*start, "", "", "", "", "", "", _("broken: {problem}").format(problem=facts.problem))
    return (
        *start,
        facts.quant,
        f"{facts.n_params / 1e9:.2f}B",
        str(facts.n_ctx_train),
        _("yes") if facts.projector else "",
        facts.licence,
        size(facts.need.total),
        _(here.fit(facts.need.total)),
    )


def _show(settings: ModelsSettings, names: Sequence[str]) -> int:
    for model in _chosen(settings, names):
        header = local_models.check(model)
        facts = model_facts.facts_of(model, settings.n_ctx)
        one, here = facts.need, hardware.look()
        alone = facts.projector is not None or backends.has_own_memory()
        parallel, need = estimate.served(one, here.available, alone=alone)
        parts = _("weights {weights}, KV cache {kv_cache} ({parallel} at once)").format(
            weights=size(need.weights), kv_cache=size(need.kv_cache), parallel=parallel
        )
        rows = {
            _("file"): str(model.path),
            _("from"): _(model.source),
            _("name"): header.name,
            _("architecture"): header.architecture,
            _("quantisation"): facts.quant,
            _("parameters"): f"{facts.n_params:,}",
            _("context trained for"): str(facts.n_ctx_train),
            _("layers"): str(header.hyperparameter("block_count") or ""),
            _("tokens"): f"{header.n_vocab:,} ({header.text('tokenizer.ggml.model')})",
            _("licence"): f"{facts.licence} {catalogue.licence(facts.licence).url}".strip(),
            _("memory at n_ctx {n_ctx}").format(n_ctx=settings.n_ctx): _("{parts}, buffers {buffers}").format(
                parts=parts, buffers=size(need.buffers)
            ),
            _("fits"): _(here.fit(one.total)),
            _("sees pictures with"): str(
                facts.projector or facts.problem or _("nothing: it has no projector beside it")
            ),
            _("chat template"): header.chat_template or _("none: llama.cpp uses its default"),
        }
        for key, value in rows.items():
            console.write(_("{name}: {value}").format(name=key, value=value))
    return ExitStatus.OK


def _verify(settings: ModelsSettings, names: Sequence[str]) -> int:
    """Check all that are named, or all that are here; the status is that of the first that is broken."""
    status = int(ExitStatus.OK)
    for model in _chosen(settings, names):
        try:
            verdict = model_facts.verify(model) or _("complete: its sha256 is right")
        except LlamachatError as error:
            verdict, status = str(error), status or error.exit_status
        name = f"{model.name} ({_(model.source)})"
        console.write(_("{name}: {value}").format(name=name, value=verdict))
    return status


def _remove(settings: ModelsSettings, names: Sequence[str]) -> int:
    where = _places(settings)
    for name in names:
        paths = _unfinished(name, where) or _removable(local_models.find(name, where), where)
        what = ", ".join(path.name for path in paths)
        if not console.ask(
            _("Remove {what} from {parent}?").format(what=what, parent=paths[0].parent),
            settings.yes,
            default=False,
        ):
            continue
        freed = sum(install.remove(path) for path in paths)
        console.write(_("Removed {what}: {size} freed").format(what=what, size=size(freed)))
    return ExitStatus.OK


def _unfinished(name: str, where: Places) -> list[Path]:
    wanted = name.lower().removesuffix(".gguf")
    found = install.unfinished(where.folders)
    return [path for path in found if path.stem.lower() == wanted and not path.exists()]


def _removable(model: LocalModel, where: Places) -> list[Path]:
    """Its files, with the projector that no other model has."""
    if model.source in (local_models.HERE, local_models.NAMED):
        raise ModelError(
            _("{path} is not in a models folder.").format(path=model.path), _("Delete the file yourself.")
        )
    ways = {
        local_models.BUNDLED: f"`pip uninstall {local_models.BUNDLED_PACKAGE}`",
        "Ollama": f"`ollama rm {model.name}`",
        "LM Studio": _("LM Studio itself"),
        "Hugging Face cache": "`hf cache rm`",
    }
    if model.source in ways:
        raise ModelError(
            _("{name} belongs to {source}.").format(name=model.name, source=_(model.source)),
            _("Remove it with {ways}.").format(ways=ways[model.source]),
        )
    sees_with = projector.beside(model)
    others = (other for other in local_models.list_models(where) if other.path != model.path)
    own = [sees_with] if sees_with and sees_with not in map(projector.beside, others) else []
    return [path for path in local_models.shards(model.path) if path.exists()] + own


def _explain(settings: ModelsSettings, names: Sequence[str]) -> int:
    language = console.language(settings.lang)
    for name in names:
        try:
            text = quants.explain(name, language)
        except UsageError:
            text = quants.explain(_quant_of_model(name, settings) or name, language)
        console.write(text)
    return ExitStatus.OK


def _quant_of_model(name: str, settings: ModelsSettings) -> str:
    try:
        return model_facts.facts_of(local_models.find(name, _places(settings)), settings.n_ctx).quant
    except ModelError:
        return ""


@dataclass(frozen=True, slots=True)
class _Action:
    name: str
    summary: str
    run: Callable[[ModelsSettings, Sequence[str]], int]
    needs_names: bool = True
    metavar: str = "NAME"


_ACTIONS = (
    _Action("list", N_("what is here, other programs' models too (the default)"), _list, needs_names=False),
    _Action("show", N_("what a model's header says"), _show),
    _Action("verify", N_("compare files with their known hashes"), _verify, needs_names=False),
    _Action("rm", N_("remove models from the models folder"), _remove),
    _Action("explain", N_("what the parts of Q4_K_M mean"), _explain, metavar="QUANT"),
)
