"""Which model `serve` runs: the one that is named, the only one here, or the one that the user picks."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from llamachat.cli import console
from llamachat.core.units import size
from llamachat.errors import ModelError
from llamachat.hub import local_models, other_stores
from llamachat.hub.local_models import LocalModel, Places
from llamachat.language import _


def choose(name: str | None, where: Places) -> LocalModel:
    """Find the model; ask if there are several. Raises ModelError if there is none."""
    try:
        return local_models.resolve(name, where)
    except local_models.SeveralModels as several:
        if not sys.stdin.isatty() or not sys.stderr.isatty():
            raise
        return _ask(several.models)


def introduce(model: LocalModel) -> None:
    """Say which model was found if none was named."""
    if not model.bundled:
        console.say(_("Found {path}").format(path=model.path))
        return
    others = (
        _("; or use {source}'s: llamachat serve {name}").format(source=_(m.source), name=m.name)
        for m in other_stores.find_all()
    )
    console.say(
        _(
            "No model found: this is the demo {name}, which is small and speaks English only. Fetch "
            "a better one: llamachat pull{others}"
        ).format(name=model.name, others=next(others, ""))
    )


def _ask(models: Sequence[LocalModel]) -> LocalModel:
    for number, model in enumerate(models, 1):
        console.say_line(f"{number}  {model.name}  {size(model.size)}  {model.path.parent}")
    answer = console.prompt(_("Which model? [1-{count}]").format(count=len(models))).strip()
    if answer.isdecimal() and 1 <= int(answer) <= len(models):
        return models[int(answer) - 1]
    named = next((model for model in models if answer.lower() in local_models.names_of(model)), None)
    if named is None:
        raise ModelError(_("You chose no model."), _("Name it: `llamachat serve MODEL`."))
    return named
