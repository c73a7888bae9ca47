"""One chat: its conversation and everything that a turn or a command may need."""

from __future__ import annotations

from dataclasses import dataclass, field

from llamachat.chat.context import Context
from llamachat.chat.journal import Journal
from llamachat.client import ChatClient
from llamachat.core.conversation import Conversation, Message
from llamachat.core.presets import Lang
from llamachat.core.sampling import Sampling
from llamachat.errors import ExitStatus
from llamachat.terminal.base import Terminal


@dataclass(frozen=True, slots=True)
class Cut:
    """An answer that broke off, and the conversation up to its question; `/continue` takes it up."""

    conversation: Conversation
    part: Message


@dataclass(slots=True)
class Session:
    """`draft` is given back for editing at the next prompt; `attached` goes out with the next message."""

    terminal: Terminal
    client: ChatClient
    context: Context
    journal: Journal
    conversation: Conversation
    model: str
    lang: Lang
    system: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    show_stats: bool = False
    stats: str = ""
    draft: str = ""
    attached: list[str] = field(default_factory=list)
    cut: Cut | None = None
    leaving: bool = False
    exit_status: ExitStatus = ExitStatus.OK

    def take_draft(self) -> str:
        draft, self.draft = self.draft, ""
        return draft
