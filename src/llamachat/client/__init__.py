"""The server as the chat sees it. The only importer of openai."""
