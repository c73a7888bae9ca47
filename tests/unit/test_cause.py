"""Why a child died, in one line."""

from __future__ import annotations

import signal

import pytest

from llamachat.server import cause


def test_signals_are_named() -> None:
    assert cause.explain(-signal.SIGSEGV, ()) == "killed by SIGSEGV"
    assert "memory" in cause.explain(-signal.SIGKILL, ())
    assert "0xC" not in cause.explain(0xC0000005, ())


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (
            ["Traceback (most recent call last):", "ValueError: Failed to load model from file: x.gguf"],
            "Failed to load",
        ),
        (
            [
                "llama_model_load: error loading model: unknown model architecture: 'foo'",
                "ValueError: Failed",
            ],
            "unknown model architecture: 'foo'",
        ),
        (
            ["usage: x", "__main__.py: error: unrecognized arguments: --bogus"],
            "unrecognized arguments: --bogus",
        ),
        (["llamachat: This build lacks a hook.", "other"], "This build lacks a hook"),
        (
            ["1 validation error for ModelSettings", "n_batch", "  Input should be 1 [type=x, y]", "usage"],
            "n_batch Input should be 1",
        ),
        (
            ["ERROR:    [Errno 98] error while attempting to bind on address"],
            "error while attempting to bind",
        ),
        (["only this", ""], "only this"),
    ],
)
def test_the_telling_line_is_found(log: list[str], words: str) -> None:
    assert words in cause.explain(1, log)


def test_a_silent_death_has_its_status() -> None:
    assert cause.explain(3, ()) == "ended with status 3"
