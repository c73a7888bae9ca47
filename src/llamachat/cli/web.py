"""`llamachat web`: the page, on the conversations of `llamachat chat`."""

from __future__ import annotations

import argparse
import secrets
import sys
import threading
import time
import webbrowser
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

from llamachat import paths
from llamachat.cli import console
from llamachat.cli.chat import conversation_settings
from llamachat.client import facts
from llamachat.client.stream import ChatClient
from llamachat.core.presets import Lang
from llamachat.errors import ExitStatus, Unavailable, UsageError
from llamachat.language import _
from llamachat.programs import templates
from llamachat.server import bind
from llamachat.server.readiness import POLL_SECONDS
from llamachat.server.supervisor import Signals
from llamachat.settings.base import add_options, load
from llamachat.settings.web import WebSettings

if TYPE_CHECKING:
    from llamachat.web.page_app import PageTemplate

STOP_SECONDS = 3.0
SWITCH_SECONDS = 0.0005
"""A turn's thread and the event loop wait for each other, by Python's default for up to 5 ms each time."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(parser, WebSettings)


def run(args: argparse.Namespace) -> int:
    return web(load(WebSettings, vars(args)))


def web(settings: WebSettings) -> int:
    """Serve the page until it is stopped."""
    try:
        facts.fetch(settings.base_url, console.api_key(settings))
    except Unavailable as error:
        console.say(_("{error} The page waits for it.").format(error=error))
    with Signals().caught() as signals, page_served(settings):
        while signals.received is None:
            time.sleep(POLL_SECONDS)
    return ExitStatus.OK


@contextmanager
def page_served(settings: WebSettings) -> Iterator[None]:
    """The page is there while this is entered; its address is printed."""
    import uvicorn

    from llamachat.web.library import Conversations
    from llamachat.web.page_app import Page

    sys.setswitchinterval(SWITCH_SECONDS)
    port = bind.claim(settings.host, settings.port)
    key = settings.key or secrets.token_urlsafe(16)
    client = ChatClient(settings.base_url, console.api_key(settings))
    client.warm_up()
    conversations = Conversations(
        paths.transcripts_file(settings.transcripts),
        client,
        lambda said: conversation_settings(settings, said),
        settings.n_ctx,
    )
    with closing(client), closing(conversations):
        # Cookies don't tell ports apart, and two pages may be served on one machine.
        page = Page(conversations, client.facts, _templates, key=key, cookie=f"llamachat_{port}")
        app = page.app(settings.host)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                settings.host,
                port,
                log_level="error",
                lifespan="off",
                timeout_graceful_shutdown=1,
                ws="none",
            )
        )
        # Outside of the main thread it leaves signals alone.
        serving = threading.Thread(target=server.run, name="page", daemon=True)
        serving.start()
        _announce(settings, port, key)
        try:
            yield
        finally:
            server.should_exit = True
            serving.join(STOP_SECONDS)


def _templates(lang: Lang) -> list[PageTemplate]:
    """The prompts to begin with; one that can't be read is left out."""
    from llamachat.web.page_app import PageTemplate

    found = []
    for named in templates.available(paths.templates_folder()):
        with suppress(UsageError):
            template = named.template
            words = template.words(lang)
            given = {n: f"[{n}]" for n in words.parameters if n not in template.params}
            composed = templates.compose(words, template.params, given).with_system_in_prompt()
            text = composed.ask(f"{{{templates.INPUT}}}", "")
            if not template.picture:
                found.append(PageTemplate(named.name, words.about, text))
    return found


def _announce(settings: WebSettings, port: int, key: str) -> None:
    url = f"http://{_written(bind.reachable_host(settings.host))}:{port}/#token={key}"
    print(_("The page is at {url}").format(url=url), flush=True)  # noqa: T201
    if not bind.is_loopback(settings.host):
        outside = f"http://{_written(bind.outside_host(settings.host))}:{port}/#token={key}"
        print(_("From another computer: {outside}").format(outside=outside), flush=True)  # noqa: T201
    if settings.open:
        webbrowser.open(url)


def _written(host: str) -> str:
    return f"[{host}]" if ":" in host else host
