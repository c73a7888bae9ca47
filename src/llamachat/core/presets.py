"""The messages of the article, word for word, and their English translation.

*The article* is the tutorial in Chinese that llamachat grew out of: it runs Llama 3 8B on a laptop with
`python -m llama_cpp.server` and talks to it with forty lines of Python (tests/data/article_client.py). These
messages come from it, and so do the green and red of the chat, and the words that end it.
"""

from __future__ import annotations

from typing import Literal

from llamachat.core.conversation import Conversation

Lang = Literal["zh", "en"]

MODEL = "local-model"
"""The model that requests name unless the user names one; llama.cpp's servers take any name."""

SYSTEM: dict[Lang, str] = {
    "zh": "你是一个智能助理，你的回答总是正确的、有用的和内容非常精简.",
    "en": "You are an intelligent assistant. Your answers are always correct, useful and very concise.",
}

INTRODUCE: dict[Lang, str] = {
    "zh": "请用中文进行自我介绍，要求不能超过5句话，总字数不超过100个字。",
    "en": "Please introduce yourself in English, in no more than 5 sentences and no more than 100 words.",
}


def seed(lang: Lang, system: str | None = None) -> Conversation:
    """A conversation that holds only the system message: `system` if it is given, else the article's."""
    return Conversation().with_system(SYSTEM[lang] if system is None else system)
