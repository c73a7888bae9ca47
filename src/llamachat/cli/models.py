"""`llamachat models`: what is here, one in detail, hashes, removal, and what the names mean."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from llamachat.cli import console
from llamachat.core.units import size
from llamachat.core.visible import visible
from llamachat.errors import ExitStatus, LlamachatError, ModelError, UsageError
from llamachat.hub import catalogue, estimate, hardware, install, local_models, model_facts, quants
from llamachat.hub.local_models import LocalModel, Places
from llamachat.settings.base import add_options, load
from llamachat.settings.hub import ModelsSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options may come before the action or after it."""
    add_options(parser, ModelsSettings)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions")
    for action in _ACTIONS:
        sub = actions.add_parser(action.name, help=action.summary, description=action.summary)
        add_options(sub, ModelsSettings)
        sub.add_argument("names", nargs="*", metavar=action.metavar)


def run(args: argparse.Namespace) -> int:
    settings = load(ModelsSettings, vars(args))
    action = next(action for action in _ACTIONS if action.name == (args.action or "list"))
    names: Sequence[str] = getattr(args, "names", ())
    if action.needs_names and not names:
        usage = f"llamachat models {action.name} {action.metavar}"
        raise UsageError(f"`models {action.name}` needs a name.", usage)
    return action.run(settings, names)


def _places(settings: ModelsSettings) -> Places:
    return local_models.places(settings.folder)


def _chosen(settings: ModelsSettings, names: Sequence[str]) -> list[LocalModel]:
    """The models that are named, or all that are here."""
    where = _places(settings)
    return [local_models.find(name, where) for name in names] or local_models.list_all(where)


def _list(settings: ModelsSettings, names: Sequence[str]) -> int:
    from rich.markup import escape
    from rich.table import Table

    here = hardware.look()
    table = Table(box=None)
    for column in ("name", "where", "size", "quant", "params", "context", "licence", "memory", "fits"):
        table.add_column(
            column, justify="right" if column in ("size", "params", "context", "memory") else "left"
        )
    for model in _chosen(settings, names):
        table.add_row(*(escape(visible(cell)) for cell in _row(model, here, settings.n_ctx)))
    for path, (have, whole) in install.unfinished(_places(settings).folders).items():
        rest = f"{100 * have // max(1, whole)}% of {size(whole)} is here"
        table.add_row(escape(path.stem), "unfinished", rest)
    console.stdout().print(table if table.row_count else "No models yet. Fetch one: llamachat pull")
    return ExitStatus.OK


def _row(model: LocalModel, here: hardware.Machine, n_ctx: int) -> tuple[str, ...]:
    facts = model_facts.facts_of(model, n_ctx)
    start = (model.name, model.source, size(model.size))
    if facts.problem:
        return (*start, "", "", "", "", "", f"broken: {facts.problem}")
    return (
        *start,
        facts.quant,
        f"{facts.n_params / 1e9:.2f}B",
        str(facts.n_ctx_train),
        facts.licence,
        size(facts.need),
        here.fit(facts.need),
    )


def _show(settings: ModelsSettings, names: Sequence[str]) -> int:
    for model in _chosen(settings, names):
        header = local_models.check(model)
        facts = model_facts.facts_of(model, settings.n_ctx)
        need = estimate.estimate(header, settings.n_ctx)
        parts = f"weights {size(need.weights)}, KV cache {size(need.kv_cache)}"
        rows = {
            "file": str(model.path),
            "from": model.source,
            "name": header.name,
            "architecture": header.architecture,
            "quantisation": facts.quant,
            "parameters": f"{facts.n_params:,}",
            "context trained for": str(facts.n_ctx_train),
            "layers": str(header.hyperparameter("block_count") or ""),
            "tokens": f"{header.n_vocab:,} ({header.text('tokenizer.ggml.model')})",
            "licence": f"{facts.licence} {catalogue.licence(facts.licence).url}".strip(),
            f"memory at n_ctx {settings.n_ctx}": f"{parts}, buffers {size(need.buffers)}",
            "fits": hardware.look().fit(need.total),
            "chat template": header.chat_template or "none: llama.cpp uses its default",
        }
        for key, value in rows.items():
            sys.stdout.write(visible(f"{key}: {value}\n"))
    return ExitStatus.OK


def _verify(settings: ModelsSettings, names: Sequence[str]) -> int:
    """Check all that are named, or all that are here; the status is that of the first that is broken."""
    status = int(ExitStatus.OK)
    for model in _chosen(settings, names):
        try:
            verdict = model_facts.verify(model) or "complete: its sha256 is right"
        except LlamachatError as error:
            verdict, status = str(error), status or error.exit_status
        sys.stdout.write(visible(f"{model.name} ({model.source}): {verdict}\n"))
        sys.stdout.flush()
    return status


def _remove(settings: ModelsSettings, names: Sequence[str]) -> int:
    where = _places(settings)
    for name in names:
        paths = _unfinished(name, where) or _removable(local_models.find(name, where))
        what = ", ".join(path.name for path in paths)
        if not console.ask(f"Remove {what} from {paths[0].parent}?", settings.yes, default=False):
            continue
        freed = sum(install.remove(path) for path in paths)
        sys.stdout.write(f"Removed {what}: {size(freed)} freed\n")
    return ExitStatus.OK


def _unfinished(name: str, where: Places) -> list[Path]:
    wanted = name.lower().removesuffix(".gguf")
    found = install.unfinished(where.folders)
    return [path for path in found if path.stem.lower() == wanted and not path.exists()]


def _removable(model: LocalModel) -> list[Path]:
    if model.source in (local_models.HERE, local_models.NAMED):
        raise ModelError(f"{model.path} is not in a models folder.", "Delete the file yourself.")
    ways = {
        local_models.BUNDLED: f"`pip uninstall {local_models.BUNDLED_PACKAGE}`",
        "Ollama": f"`ollama rm {model.name}`",
        "LM Studio": "LM Studio itself",
        "Hugging Face cache": "`hf cache rm`",
    }
    if model.source in ways:
        raise ModelError(f"{model.name} belongs to {model.source}.", f"Remove it with {ways[model.source]}.")
    return [path for path in local_models.shards(model.path) if path.exists()]


def _explain(settings: ModelsSettings, names: Sequence[str]) -> int:
    language = console.language(settings.lang)
    for name in names:
        try:
            text = quants.explain(name, language)
        except UsageError:
            text = quants.explain(_quant_of_model(name, settings) or name, language)
        sys.stdout.write(text + "\n")
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
    _Action("list", "what is here, other programs' models too (the default)", _list, needs_names=False),
    _Action("show", "what a model's header says", _show),
    _Action("verify", "compare files with their known hashes", _verify, needs_names=False),
    _Action("rm", "remove models from the models folder", _remove),
    _Action("explain", "what the parts of Q4_K_M mean", _explain, metavar="QUANT"),
)
