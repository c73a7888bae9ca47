"""A local Llama on your own laptop: `llamachat serve` in one terminal, `llamachat chat` in another."""

__version__ = "0.1.0"
