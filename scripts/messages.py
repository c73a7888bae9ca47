"""Bring the catalogue of messages up to date with the source, compile it, and list what is not translated.

python scripts/messages.py    then translate what it lists in the .po file, and run it again
"""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from io import SEEK_END, BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

SOURCE = Path(__file__).parent.parent / "src" / "llamachat"
PO = SOURCE / "locale" / "zh_CN" / "LC_MESSAGES" / "llamachat.po"
HEADER = """\
# The messages of llamachat in simplified Chinese. Updated and compiled by scripts/messages.py.
msgid ""
msgstr ""
"Language: zh_CN\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Plural-Forms: nplurals=1; plural=0;\\n"

"""
KEYWORDS = {"_": None, "N_": None, "ngettext": (1, 2), "counted": (2, 3), "option": (2,)}
ARGPARSE = (
    "usage: ",
    "positional arguments",
    "options",
    "show this help message and exit",
    " (default: %(default)s)",
    "argument %(argument_name)s: %(message)s",
    "expected one argument",
    "expected at most one argument",
    "expected at least one argument",
    ("expected %s argument", "expected %s arguments"),
    "ambiguous option: %(option)s could match %(matches)s",
    "can't open '%(filename)s': %(error)s",
    "ignored explicit argument %r",
    "invalid %(type)s value: %(value)r",
    "invalid choice: %(value)r (choose from %(choices)s)",
    "not allowed with argument %s",
    "one of the arguments %s is required",
    "the following arguments are required: %s",
    "unexpected option string: %s",
    "unknown parser %(parser_name)r (choices: %(choices)s)",
    "unrecognized arguments: %s",
    "argument '%(argument_name)s' is deprecated",
    "command '%(parser_name)s' is deprecated",
    "option '%(option)s' is deprecated",
    "%(heading)s:",
)
"""What argparse says to users, in Python 3.10 to 3.14."""
SAME_IN_CHINESE = ("%(prog)s: error: %(message)s\n", "%(prog)s: warning: %(message)s\n")


def extract() -> Catalog:
    """The messages of the source, in a catalogue without translations."""
    template = Catalog("zh_CN")
    for message in ARGPARSE:
        template.add(message)
    for found in extract_from_dir(SOURCE, [("**.py", "python")], keywords=KEYWORDS):
        template.add(found[2])
    return template


def read() -> Catalog:
    with PO.open("rb") as file:
        return read_po(file, locale="zh_CN")


def untranslated(catalogue: Catalog) -> list[str]:
    return [str(m.id) for m in catalogue if m.id and (not m.string or not all(m.string) or m.fuzzy)]


def main() -> int:
    catalogue = read()
    catalogue.update(extract(), no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    # The same messages make the same file, whenever and by whomever it is written.
    catalogue.creation_date = catalogue.revision_date = datetime(2026, 1, 1, tzinfo=timezone.utc)
    catalogue.project, catalogue.version = "llamachat", ""
    catalogue.msgid_bugs_address = catalogue.last_translator = catalogue.language_team = ""
    po, mo = BytesIO(HEADER.encode()), BytesIO()
    po.seek(0, SEEK_END)
    write_po(po, catalogue, width=110, no_location=True, omit_header=True, sort_output=True)
    write_mo(mo, catalogue)
    PO.write_bytes(po.getvalue())
    PO.with_suffix(".mo").write_bytes(mo.getvalue())
    missing = untranslated(catalogue)
    for message in missing:
        print(repr(message))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
