"""The server as the chat sees it. The only importer of openai.

`client.stream` is imported by those who need it: a command that asks once does not, and asyncio takes long.
"""

from llamachat.client.facts import ServerFacts
from llamachat.client.server_window import ServerWindow, server_window

__all__ = ["ServerFacts", "ServerWindow", "server_window"]
