"""`llamachat chat`: the wiring of a chat."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from llamachat import paths
from llamachat.chat import history_commands
from llamachat.chat.commands import COMMANDS
from llamachat.chat.face import Terminal
from llamachat.chat.repl import Repl
from llamachat.chat.session import Session, Settings
from llamachat.chat.template_commands import InUse, words_of
from llamachat.cli import console, programs
from llamachat.cli.history import LISTED_BY
from llamachat.client import ServerFacts, facts
from llamachat.client.stream import ChatClient
from llamachat.core import presets
from llamachat.core.sampling import Sampling
from llamachat.errors import NotFoundError, ServerError
from llamachat.language import _
from llamachat.programs.templates import available
from llamachat.settings import base
from llamachat.settings.chat import ChatSettings, ConversationOptions
from llamachat.store.journal import Journal, NoJournal
from llamachat.terminal import theme
from llamachat.terminal.interactive import open_terminal
from llamachat.terminal.options import CommandHint, DisplayOptions
from llamachat.terminal.plain import PlainTerminal, use_utf8


def command_hints(folder: Path) -> tuple[CommandHint, ...]:
    """What Tab completes; `folder` has the user's templates."""
    names = tuple(named.name for named in available(folder))
    more = {"t": names}
    return tuple(
        CommandHint(c.name, c.arguments, _(c.summary), (*more.get(c.name, ()), *c.values)) for c in COMMANDS
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    base.add_options(parser, ChatSettings)
    programs.add_params(parser)


def run(args: argparse.Namespace) -> int:
    return chat(base.load(ChatSettings, vars(args)), dict(args.param))


def chat(options: ChatSettings, params: Mapping[str, str] = MappingProxyType({})) -> int:
    """A chat with these settings, until the user leaves; the exit status. `params` are the template's."""
    folder = paths.templates_folder()
    if options.template:  # what is wrong with it is said before the server is waited for
        words_of(options.template, params, console.language(options.lang), folder)
    url, api_key = options.base_url, console.api_key(options)
    use_utf8(sys.stdin, sys.stdout, sys.stderr)
    said = facts.wait(url, api_key, options.wait, _tell_waiting)
    client = ChatClient(url, api_key)
    try:
        with _terminal(options) as terminal:
            if terminal.interactive:
                _banner(terminal, url, options.model, said)
            client.warm_up()
            with closing(_journal(options, terminal)) as journal:
                settings = conversation_settings(options, said)
                in_use = None
                if options.template:
                    in_use = InUse(words_of(options.template, params, settings.lang, folder), settings.system)
                    settings = replace(settings, system=in_use.words.system or settings.system)
                session = Session.open(
                    client,
                    journal,
                    settings,
                    facts=said,
                    n_ctx=options.n_ctx,
                    piped=not sys.stdin.isatty(),
                )
                transcripts = paths.transcripts_file(options.transcripts)
                one = Repl(session, terminal, transcripts, folder, in_use, show_stats=options.stats)
                resumed = options.continue_last or options.resume is not None
                if resumed:
                    _resume(one, options)
                    if in_use and in_use.words.system:
                        session.set_system(in_use.words.system)
                introduced = resumed or in_use is not None
                return one.run(intro=options.intro and terminal.interactive and not introduced)
    finally:
        client.close()


def _journal(options: ChatSettings, terminal: Terminal) -> NoJournal:
    if not options.store:
        return NoJournal()
    return Journal(paths.transcripts_file(options.transcripts), lambda error: terminal.error(str(error)))


def _resume(one: Repl, options: ChatSettings) -> None:
    try:
        history_commands.resume(one, options.resume, keep=tuple(options.model_fields_set))
    except NotFoundError as error:
        error.hint = _(LISTED_BY)
        raise


def conversation_settings(options: ConversationOptions, said: ServerFacts) -> Settings:
    """What a new conversation is set to."""
    auto: presets.Lang = "en" if said.bundled else "zh"
    return Settings(
        model=options.model,
        lang=auto if options.lang == "auto" else options.lang,
        system=options.system,
        on_full=options.on_full,
        sampling=Sampling(temperature=options.temperature, max_tokens=options.max_tokens),
    )


@contextmanager
def _terminal(options: ChatSettings) -> Iterator[Terminal]:
    """A person's terminal, where stdin and stdout are one that can more than a typewriter; else a pipe."""
    person = sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    display = DisplayOptions(
        color=_decide(options.color, person and not os.environ.get("NO_COLOR")),
        markdown=_decide(options.markdown, person),
        think=options.think,
        theme=theme.choose(options.theme, os.environ.get("COLORFGBG", "")),
    )
    if not person:
        lines = options.lines or sys.stdin.isatty()
        yield PlainTerminal(sys.stdin, sys.stdout, sys.stderr, display, lines=lines)
        return
    # What is typed becomes messages, so a chat that keeps no messages does not keep that either.
    kept = options.input_history and options.store
    history = paths.input_history_file() if kept else None
    commands = command_hints(paths.templates_folder())
    with open_terminal(sys.stdin, sys.stdout, sys.stderr, display, history, commands) as terminal:
        yield terminal


def _decide(choice: str, auto: bool) -> bool:
    return auto if choice == "auto" else choice == "always"


def _banner(terminal: Terminal, url: str, model: str, said: ServerFacts) -> None:
    # Short, so that it is one line of a common screen.
    window = f" · n_ctx {said.n_ctx}" if said.n_ctx else ""
    terminal.tell(f"{said.model or model}{window} · {url}")
    terminal.tell(_("/help shows what can be done; bye or Ctrl-D leaves."))


def _tell_waiting(error: ServerError) -> None:
    console.say(_("{error} Waiting for it.").format(error=error))
