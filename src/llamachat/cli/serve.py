"""`llamachat serve`: run the server, say how to reach it, stop it; `serve_plan` decides what is run."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import psutil

from llamachat import paths
from llamachat.cli import console
from llamachat.cli.api_key import KEY_VARIABLE, hide_key
from llamachat.cli.loading import LoadingBar
from llamachat.cli.model_choice import choose, introduce
from llamachat.cli.serve_plan import Plan, prepare, server_options
from llamachat.errors import ExitStatus, UsageError
from llamachat.hub import local_models
from llamachat.language import _
from llamachat.running import RunningServer, announced
from llamachat.server import bind, command
from llamachat.server.child import Child
from llamachat.server.readiness import health
from llamachat.server.supervisor import Signals, Supervisor
from llamachat.settings.base import add_options, load
from llamachat.settings.chat import ChatSettings
from llamachat.settings.serve import ServeSettings
from llamachat.settings.web import WebSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(parser, ServeSettings)
    parser.add_argument(
        "positional", nargs="?", metavar="MODEL", help=_("a GGUF file or a name, as for --model")
    )
    parser.epilog = _(
        "Everything after `--` goes to `python -m llama_cpp.server`; the last value of a flag wins."
    )


def run(args: argparse.Namespace) -> int:
    own, extra = command.split_extra(args.rest)
    given = vars(args) | own
    if "api_key" in given and os.name == "posix":
        hide_key(given["api_key"])
    settings = _settings(given)
    if settings.print_command:
        model = choose(settings.model, local_models.places(settings.folder))
        options = server_options(settings, model, settings.port, extra, local_models.check(model))
        print(command.quote(command.plain_command(options)))  # noqa: T201
        return ExitStatus.OK
    plan = prepare(settings, extra)
    # Here, so that mistakes in them are reported before the model is loaded.
    chat = load(ChatSettings, plan.connection) if settings.chat else None
    page = load(WebSettings, plan.connection) if settings.web else None
    if settings.model is None:
        introduce(plan.model)
    with Signals().caught() as signals:
        return _serve(plan, chat, page, signals)


def _settings(given: dict[str, Any]) -> ServeSettings:
    named = given["positional"]
    if named is None:
        return load(ServeSettings, given)
    if given.get("model", named) != named:
        raise UsageError(
            _("Two models were given: {named} and {given}.").format(named=named, given=given["model"]),
            _("Give one."),
        )
    return load(ServeSettings, given | {"model": named})


def _serve(plan: Plan, chat: ChatSettings | None, page: WebSettings | None, signals: Signals) -> int:
    supervisor = Supervisor(plan.launch, plan.endpoint, console.say)
    with supervisor:
        with LoadingBar(plan.model.name, plan.need.weights, plain=plan.settings.verbose) as bar:

            def tick(child: Child) -> bool:
                bar.show(child.resident_bytes)
                return signals.received is None

            ready = supervisor.start(tick)
        if not ready:
            return ExitStatus.INTERRUPTED if signals.interrupted else ExitStatus.OK
        with announced(paths.running_folder(), _description(plan)), ExitStack() as faces:
            _announce(plan)
            if page is not None:
                from llamachat.cli.web import page_served

                faces.enter_context(page_served(page))
            if chat is not None:
                return _chat(chat, supervisor, signals)
            supervisor.watch(lambda: signals.received is not None)
            if signals.received == signal.SIGTERM and not plan.settings.plain:
                supervisor.drain(plan.settings.drain, lambda: signals.again)
    return ExitStatus.OK


def _description(plan: Plan) -> RunningServer:
    pid = os.getpid()
    return RunningServer(
        base_url=plan.base_url,
        host=plan.options.host,
        api_key=plan.api_key,
        model=plan.model.name,
        n_ctx=plan.options.n_ctx,
        pid=pid,
        created=psutil.Process(pid).create_time(),
    )


def _announce(plan: Plan) -> None:
    """Print one line with everything a client needs, and three for other computers if they can connect."""
    options = plan.options
    lanes, why = _lanes(plan)
    key = shlex.quote(plan.api_key) if plan.api_key else ""
    chat = f"llamachat chat --base-url {plan.base_url}"
    if plan.base_url == "http://127.0.0.1:8000/v1":
        chat = "llamachat chat"
    parts = (
        _("Ready at {base_url}").format(base_url=plan.base_url),
        plan.model.name,
        *([_("embeddings: {name}").format(name=plan.embeddings.model.name)] if plan.embeddings else ()),
        f"n_ctx {options.n_ctx}",
        *([_("sees pictures")] if plan.mmproj else []),
        _("{n_threads} threads").format(n_threads=options.n_threads),
        _("{parallel} at once").format(parallel=lanes),
        _("connect: {chat}").format(chat=chat),
        _("others: OPENAI_BASE_URL={base_url} OPENAI_API_KEY={key}").format(
            base_url=plan.base_url, key=key or "not-needed"
        ),
    )
    console.write_parts(parts)
    if why:
        console.say(_("One request at a time: {reason}.").format(reason=_(why)))
    if not bind.is_loopback(options.host):
        url = bind.base_url(options.scheme, bind.outside_host(options.host), options.port)
        chat = f"llamachat chat --base-url {url}"
        for line in (
            _("From another computer: {key_variable}={key} {chat}"),
            _("    in PowerShell: $env:{key_variable}='{api_key}'; {chat}"),
            _('    in cmd: set "{key_variable}={api_key}" && {chat}'),
        ):
            print(  # noqa: T201
                line.format(key_variable=KEY_VARIABLE, key=key, api_key=plan.api_key, chat=chat), flush=True
            )


def _lanes(plan: Plan) -> tuple[int, str]:
    """How many requests are served at once, and why only one if more were to be."""
    if plan.settings.plain or plan.settings.parallel == 1:
        return 1, ""
    said = health(plan.endpoint)
    return said.get("lanes", plan.parallel), said.get("one_lane", "")


def _chat(settings: ChatSettings, supervisor: Supervisor, signals: Signals) -> int:
    """Run the chat in this terminal, which gets Ctrl-C back; the child is watched meanwhile."""
    from llamachat.cli.chat import chat

    supervisor.silence()
    with _watched(supervisor), signals.given_back():
        try:
            return chat(settings)
        except SystemExit:  # the chat leaves so on a stop signal, which is a normal end for a server
            return ExitStatus.OK


@contextmanager
def _watched(supervisor: Supervisor) -> Iterator[None]:
    """While entered, restart the child if it dies; that it died too often is raised at the end."""
    over = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(supervisor.watch, over.is_set)
        try:
            yield
        finally:
            over.set()
    if (error := watching.exception()) is not None:
        raise error
