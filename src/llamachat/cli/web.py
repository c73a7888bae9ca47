"""`llamachat web`: the page, on the conversations of `llamachat chat`."""

from __future__ import annotations

import argparse
import secrets
import webbrowser
from contextlib import closing

from llamachat import paths
from llamachat.cli import console
from llamachat.cli.chat import conversation_settings
from llamachat.client import ChatClient, facts
from llamachat.errors import ExitStatus, Unavailable
from llamachat.server import bind
from llamachat.settings.base import add_options, load
from llamachat.settings.web import WebSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(parser, WebSettings)


def run(args: argparse.Namespace) -> int:
    return web(load(WebSettings, vars(args)))


def web(settings: WebSettings) -> int:
    """Serve the page until it is stopped."""
    import uvicorn

    from llamachat.web.app import Page
    from llamachat.web.conversations import Conversations

    port = bind.claim(settings.host, settings.port)
    key = settings.key or secrets.token_urlsafe(16)
    try:
        facts.fetch(settings.base_url, settings.api_key)
    except Unavailable as error:
        console.say(f"{error} The page waits for it.")
    client = ChatClient(settings.base_url, settings.api_key)
    client.warm_up()
    conversations = Conversations(
        paths.transcripts_file(settings.transcripts),
        client,
        lambda said: conversation_settings(settings, said),
        settings.n_ctx,
    )
    with closing(client), closing(conversations):
        # Cookies don't tell ports apart, and two pages may be served on one machine.
        app = Page(conversations, client.facts, key, cookie=f"llamachat_{port}").app(settings.host)
        config = uvicorn.Config(
            app,
            settings.host,
            port,
            log_level="error",
            lifespan="off",
            timeout_graceful_shutdown=1,
            ws="none",
        )
        url = f"http://{_written(bind.reachable_host(settings.host))}:{port}/#token={key}"
        print(f"The page is at {url}", flush=True)  # noqa: T201
        if not bind.is_loopback(settings.host):
            outside = f"http://{_written(bind.outside_host(settings.host))}:{port}/#token={key}"
            print(f"From another computer: {outside}", flush=True)  # noqa: T201
        if settings.open:
            webbrowser.open(url)
        uvicorn.Server(config).run()
    return ExitStatus.OK


def _written(host: str) -> str:
    return f"[{host}]" if ":" in host else host
