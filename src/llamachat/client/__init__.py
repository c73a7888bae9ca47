"""The server as the chat sees it. The only importer of openai."""

from llamachat.client.facts import ServerFacts
from llamachat.client.stream import ChatClient, ReplyStream, Request
from llamachat.client.window import ServerWindow, survey

__all__ = ["ChatClient", "ReplyStream", "Request", "ServerFacts", "ServerWindow", "survey"]
