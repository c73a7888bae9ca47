"""Errors in OpenAI's shape, for a body of JSON and for an event of a stream alike."""

from __future__ import annotations

import re
import sys
import traceback
from typing import Any

from fastapi import HTTPException
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException as AnyHTTPException

from llamachat.engine.jobs import Cancelled

OVERFLOW = re.compile(r"Requested tokens \((\d+)\) exceed context window of (\d+)")


class Refused(HTTPException):
    """A request that can't be served: an HTTPException, the one kind that the library's routes pass on."""

    def __init__(self, status: int, message: str, retry_after: int | None = None, **more: Any) -> None:
        headers = None if retry_after is None else {"Retry-After": str(retry_after)}
        super().__init__(status, message, headers)
        kind = "server_error" if status >= 500 else "invalid_request_error"
        self.error: dict[str, Any] = {"message": message, "type": kind, "param": None, "code": None, **more}


def refusal(error: Exception, n_ctx: int | None = None) -> Refused:
    """What the client is told about `error`: 400 if its request is to blame, else 500.

    `n_ctx` is the window of one conversation; the library counts those of all lanes.
    """
    if isinstance(error, Refused):
        return error
    if isinstance(error, Cancelled):  # one that hung up doesn't hear it
        return Refused(503, "The server is stopping.")
    if overflow := OVERFLOW.search(str(error)):
        return context_exceeded(n_ctx or int(overflow[2]), int(overflow[1]))
    if isinstance(error, RecursionError):
        return Refused(400, "The request is nested too deeply.")
    # What the library and chat templates raise on parameters and messages that they can't take.
    if isinstance(error, (ValueError, TypeError)) or type(error).__module__.startswith("jinja2"):
        return Refused(400, str(error) or type(error).__name__)
    traceback.print_exception(error, file=sys.stderr)
    return Refused(500, f"{type(error).__name__}: {error}")


def answer(error: AnyHTTPException) -> JSONResponse:
    value = error.error if isinstance(error, Refused) else Refused(error.status_code, str(error.detail)).error
    return JSONResponse({"error": value}, error.status_code, error.headers)


def context_exceeded(
    n_ctx: int, prompt_tokens: int, param: str = "messages", *, at_least: bool = False
) -> Refused:
    return Refused(
        400,
        f"This model's maximum context length is {n_ctx} tokens, but the prompt has "
        f"{'at least ' if at_least else ''}{prompt_tokens} tokens. "
        "Shorten the messages, or start the server with a larger n_ctx.",
        param=param,
        code="context_length_exceeded",
        n_prompt_tokens=prompt_tokens,
        n_ctx=n_ctx,
    )
