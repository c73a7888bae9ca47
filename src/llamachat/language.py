"""The language of the program's words: Chinese where the user's is, else English, which is the source.

Messages are translated when they are made: `_("{path} does not exist.").format(path=path)`. `N_` marks one
that is declared before it is shown. `python scripts/messages.py` brings the catalogue up to date.
"""

from __future__ import annotations

import gettext as catalogues
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

VARIABLE = "LLAMACHAT_LANG"
CATALOGUE = Path(__file__).parent / "locale" / "zh_CN" / "LC_MESSAGES" / "llamachat.mo"


def gettext(message: str) -> str:
    """`message` in the user's language; "" and argparse's None stay, for a catalogue's "" is its header."""
    return catalogue().gettext(message) if message else message


_ = gettext


def ngettext(one: str, many: str, number: int) -> str:
    return catalogue().ngettext(one, many, number)


def counted(number: int, one: str, many: str) -> str:
    """`counted(2, "{} message", "{} messages")` is `2 messages`."""
    return ngettext(one, many, number).format(number)


def N_(message: str) -> str:
    """Mark a message that is translated where it is shown."""
    return message


def reason(error: OSError) -> str:
    """What the operating system says, which is English whatever the locale."""
    return gettext(error.strerror) if error.strerror else str(error)


def user_language(environ: Mapping[str, str] = os.environ) -> Literal["zh", "en"]:
    """`LLAMACHAT_LANG` if it is set, else the locale's, else the system's where no locale is set."""
    chosen = environ.get(VARIABLE, "").lower()
    if chosen not in ("", "auto"):
        return "zh" if chosen.startswith("zh") else "en"
    names = [environ.get(name, "") for name in ("LC_ALL", "LC_MESSAGES", "LANG")]
    locale = next((name for name in names if name), None)
    if locale is None:
        return "zh" if _system_is_chinese() else "en"
    # As in GNU gettext, LANGUAGE goes before the locale, but not before C.
    if not locale.startswith(("C", "POSIX")):
        locale = environ.get("LANGUAGE", "") or locale
    return "zh" if locale.lower().startswith(("zh", "chinese")) else "en"


@cache
def catalogue() -> catalogues.NullTranslations:
    if user_language() == "zh" and CATALOGUE.is_file():
        with CATALOGUE.open("rb") as file:
            return catalogues.GNUTranslations(file)
    return catalogues.NullTranslations()


def _system_is_chinese() -> bool:
    if sys.platform == "win32":
        import ctypes

        return ctypes.windll.kernel32.GetUserDefaultUILanguage() & 0x3FF == 0x04  # LANG_CHINESE
    if sys.platform == "darwin":
        command = ["defaults", "read", "-g", "AppleLanguages"]
        try:
            first = subprocess.run(command, capture_output=True, text=True, timeout=5).stdout
        except (OSError, subprocess.TimeoutExpired):
            return False
        return first.lstrip('( \n"').startswith("zh")
    return False


OS_REASONS = (
    N_("Address already in use"),
    N_("Cannot assign requested address"),
    N_("Connection refused"),
    N_("Connection reset by peer"),
    N_("Disk quota exceeded"),
    N_("File exists"),
    N_("File name too long"),
    N_("File too large"),
    N_("Input/output error"),
    N_("Invalid argument"),
    N_("Is a directory"),
    N_("Network is unreachable"),
    N_("No route to host"),
    N_("No space left on device"),
    N_("No such file or directory"),
    N_("Not a directory"),
    N_("Operation not permitted"),
    N_("Permission denied"),
    N_("Read-only file system"),
    N_("Too many levels of symbolic links"),
    N_("Too many open files"),
)
"""What `reason` can say in another language."""
