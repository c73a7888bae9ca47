"""`llamachat templates`: the named prompts, ours and the user's."""

from __future__ import annotations

import argparse

from llamachat import paths
from llamachat.cli import console
from llamachat.errors import ExitStatus, UsageError
from llamachat.language import _
from llamachat.programs import templates


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help=_("show this one"))
    parser.add_argument(
        "--lang", choices=("zh", "en", "auto"), default="auto", help=_("language of the descriptions")
    )
    parser.epilog = _("Your own templates are .toml files in the folder `templates` beside config.toml.")


def run(args: argparse.Namespace) -> int:
    lang = console.language(args.lang)
    every = templates.available(paths.templates_folder())
    if args.name is None:
        width = max(len(named.name) for named in every)
        for named in every:
            words = named.words(lang)
            console.write(f"{named.name:{width}}  {words.about}")
            if words.example:
                print(f"{'':{width}}  $ {words.example}")  # noqa: T201
        return ExitStatus.OK
    chosen = next((named for named in every if named.name == args.name), None)
    if chosen is None:
        raise UsageError(
            _("There is no template {name!r}.").format(name=args.name), _("`llamachat templates` lists them.")
        )
    print(chosen.content.decode("utf-8", "replace"), end="")  # noqa: T201
    return ExitStatus.OK
