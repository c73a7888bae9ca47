"""What the client makes of servers and of their failures."""

from __future__ import annotations

import pytest

from llamachat.client import address
from llamachat.client.error_translation import from_message
from llamachat.core.sampling import Sampling
from llamachat.errors import ContextExceeded, ServerError, UsageError


def test_addresses_are_checked_before_anything_is_sent() -> None:
    assert address.check("http://localhost:8000/v1/") == "http://localhost:8000/v1"
    for wrong in ("", "localhost:8000", "ftp://x/v1", "http://", "http://x:port/v1", "http://[::1/v1"):
        with pytest.raises(UsageError):
            address.check(wrong)


def test_only_loopback_goes_past_the_proxy() -> None:
    for own in (
        "http://localhost/v1",
        "http://127.0.0.9:1/v1",
        "http://[::1]:8000/v1",
        "http://0.0.0.0:1/v1",
    ):
        assert address.is_loopback(own)
    for foreign in ("http://192.168.1.2:8000/v1", "http://example.org/v1", "http://localhost.example.org/v1"):
        assert not address.is_loopback(foreign)


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 2048 tokens. However, you requested 3010 tokens",
        "This model's maximum context length is 2048 tokens. However, you requested 3522 tokens (3010 in the "
        "messages, 512 in the completion). Please reduce the length of the messages or completion.",
        "This model's maximum context length is 2048 tokens, but the prompt has 3010 tokens.",
        "request (3010 tokens) exceeds the available context size (2048 tokens), try increasing it",
        "Requested tokens (3010) exceed context window of 2048",
    ],
)
def test_the_sizes_are_read_from_what_servers_say_of_a_full_window(message: str) -> None:
    error = from_message(message, None, None)
    assert isinstance(error, ContextExceeded)
    assert (error.prompt_tokens, error.n_ctx) == (3010, 2048)


def test_other_errors_are_passed_on_in_one_line() -> None:
    error = from_message("first\nsecond \x1b[2J", "boom", None)
    assert type(error) is ServerError
    assert str(error) == "The server answered with an error: first second ␛[2J."


def test_sampling_takes_numbers_in_their_range_only() -> None:
    sampling = Sampling().with_value("temperature", "0.2").with_value("stop", "END \\n")
    assert sampling.given() == {"temperature": 0.2, "stop": ["END", "\n"]}
    assert sampling.with_value("temperature", "default").temperature is None
    for name, wrong in (("top_p", "2"), ("top_k", "many"), ("max_tokens", "0"), ("temperature", "nan")):
        with pytest.raises(UsageError):
            sampling.with_value(name, wrong)
