"""The server as the chat sees it. The only importer of openai."""

from llamachat.client.facts import ServerFacts
from llamachat.client.server_window import ServerWindow, server_window
from llamachat.client.stream import ChatClient, ReplyStream, Request

__all__ = ["ChatClient", "ReplyStream", "Request", "ServerFacts", "ServerWindow", "server_window"]
