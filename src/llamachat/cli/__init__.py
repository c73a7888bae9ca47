"""The command line: a module for each subcommand, which parses, wires the parts together and prints."""

from llamachat.cli.program import main

__all__ = ["main"]
