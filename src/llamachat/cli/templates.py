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
    if args.name is None:
        rows = templates.abouts(paths.templates_folder(), lang)
        width = max(len(name) for name, _ in rows)
        for name, about in rows:
            print(f"{name:{width}}  {about}")  # noqa: T201
        return ExitStatus.OK
    every = templates.available(paths.templates_folder())
    named = next((named for named in every if named.name == args.name), None)
    if named is None:
        raise UsageError(
            _("There is no template {name!r}.").format(name=args.name), _("`llamachat templates` lists them.")
        )
    print(named.content.decode("utf-8", "replace"), end="")  # noqa: T201
    return ExitStatus.OK
