"""The numbers of one answer, in one line."""

from __future__ import annotations

from llamachat.core.events import Done
from llamachat.language import _


def footer(done: Done, first: float | None, last: float, window: str) -> str:
    """Tokens read and written, speed, first-token time and window use, as far as they are known."""
    t, usage = done.timings, done.usage
    cached = int(t.get("cache_n", 0))
    read = int(t["prompt_n"]) + cached if "prompt_n" in t else usage.prompt_tokens if usage else None
    written = int(t["predicted_n"]) if "predicted_n" in t else usage.completion_tokens if usage else None
    parts: list[str] = []
    if read is not None:
        parts.append(
            _("read {read}").format(read=read)
            + (_(" ({cached} from the cache)").format(cached=cached) if cached else "")
        )
    if written is not None:
        parts.append(_("wrote {written}").format(written=written))
    speed = t.get("predicted_per_second")
    if speed is None and written and first is not None and last > first:
        speed = (written - 1) / (last - first)
    if speed:
        parts.append(_("{speed:.1f} tokens/s").format(speed=speed))
    if t.get("threads", 0) < t.get("threads_max", 0):
        busy = _("{threads:g} of {n_max:g} threads, other programs are busy")
        parts.append(busy.format(threads=t["threads"], n_max=t["threads_max"]))
    if first is not None:
        parts.append(_("first token after {first:.2f} s").format(first=first))
    if window:
        parts.append(_("window {window}").format(window=window))
    return " · ".join(parts)
