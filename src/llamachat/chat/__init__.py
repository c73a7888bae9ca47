"""The chat: one loop, one turn, a table of commands."""
