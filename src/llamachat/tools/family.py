"""How each family of models writes tool calls, and which one a chat template belongs to."""

from __future__ import annotations

import enum


class Family(enum.Enum):
    """The forms that the model's makers document."""

    HERMES = "hermes"
    """`<tool_call>{"name": …, "arguments": {…}}</tool_call>`: Hermes, Qwen 2.5 and 3, and our default."""
    QWEN_CODER = "qwen-coder"
    """`<tool_call><function=name><parameter=key>…</parameter></function></tool_call>`: Qwen3-Coder."""
    LLAMA = "llama"
    """The whole answer is `{"name": …, "parameters": {…}}`, perhaps behind `<|python_tag|>`: Llama 3.1 on."""
    MISTRAL = "mistral"
    """`[TOOL_CALLS][{"name": …, "arguments": {…}}]`: Mistral to 2024."""
    MISTRAL_ARGS = "mistral-args"
    """`[TOOL_CALLS]name[ARGS]{…}`: Mistral since 2025."""
    DEEPSEEK = "deepseek"
    """`<｜tool▁call▁begin｜>function<｜tool▁sep｜>name`, and the arguments in a block of code: V3 and R1."""
    DEEPSEEK_PLAIN = "deepseek-plain"
    """`<｜tool▁call▁begin｜>name<｜tool▁sep｜>{…}`: V3.1."""
    HARMONY = "harmony"
    """Channels: `<|channel|>commentary to=functions.name <|constrain|>json<|message|>{…}`: gpt-oss."""


MARKERS: dict[Family, tuple[str, ...]] = {
    Family.HERMES: ("<tool_call>", "</tool_call>", "<think>", "</think>"),
    Family.LLAMA: ("<|python_tag|>",),
    Family.MISTRAL: ("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"),
    Family.MISTRAL_ARGS: ("[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"),
    Family.DEEPSEEK: (
        *("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>", "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"),
        "<｜tool▁sep｜>",
    ),
    Family.HARMONY: ("<|channel|>", "<|message|>", "<|constrain|>", "<|start|>", "<|end|>"),
}
"""Texts that may be control tokens, which an answer otherwise leaves out."""
MARKERS[Family.QWEN_CODER] = MARKERS[Family.HERMES]
MARKERS[Family.DEEPSEEK_PLAIN] = MARKERS[Family.DEEPSEEK]


def of_template(template: str | None) -> Family | None:
    """The family of a chat template that knows tools; None for one that doesn't."""
    if not template or "tools" not in template:
        return Family.HARMONY if template and "<|channel|>" in template else None
    if "<|channel|>" in template:
        return Family.HARMONY
    if "tool▁call▁begin" in template:
        return Family.DEEPSEEK if "```json" in template else Family.DEEPSEEK_PLAIN
    if "[TOOL_CALLS]" in template:
        return Family.MISTRAL_ARGS if "[ARGS]" in template else Family.MISTRAL
    if "<tool_call>" in template:
        return Family.QWEN_CODER if "<function=" in template else Family.HERMES
    if "<|python_tag|>" in template or "<|start_header_id|>" in template:
        return Family.LLAMA
    return None
