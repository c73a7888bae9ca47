"""What is wrong with a file that should be a GGUF, by its first bytes, its name and the files next to it."""

from __future__ import annotations

from pathlib import Path

from llamachat.errors import ModelError
from llamachat.language import N_, _

HINT = N_("Download it again.")
PARTIAL_SUFFIXES = (".part", ".partial", ".incomplete", ".crdownload", ".download", ".aria2", ".tmp")


def describe(head: bytes) -> str:
    """What a file seems to be, from its first few hundred bytes."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    lower = text[:256].lower()
    if not head:
        return _("it is empty")
    if not head.strip(b"\0"):
        return _("it has only zeros, like a download whose space was reserved but never filled")
    if lower.startswith((b"<!doctype", b"<html", b"<?xml")) or b"<head" in lower:
        return _("it seems to be an HTML page saved by a browser instead of the file")
    if text.startswith(b"version https://git-lfs"):
        return _("it is a git-lfs pointer, not the file it points to (try `git lfs pull`)")
    if text.startswith((b"{", b"[")):
        return _("it seems to be JSON, such as a site's error message saved as a file")
    if head[8:10] == b'{"' and int.from_bytes(head[:8], "little") < 1 << 27:
        return _("it seems to be a safetensors file, which has to be converted to GGUF first")
    if head.startswith(b"PK\x03\x04"):
        return _("it seems to be a zip archive or a PyTorch file")
    if head.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04")):
        return _("it seems to be a PyTorch file (pickle), which has to be converted to GGUF first")
    if head.startswith((b"tjgg", b"ggjt", b"fmgg", b"ggmf", b"lmgg", b"ggml")):
        return _("it is a model in GGML's older format, from before August 2023")
    if head.startswith((b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ")):
        return _("it seems to be a compressed archive; unpack it first")
    return _("it begins with {head!r}").format(head=head[:8])


def check_is_file(path: Path) -> None:
    """Raise ModelError for what is not a file, for an empty one, and for a download that is not complete."""
    if path.is_dir():
        inside = sorted(p.name for p in path.glob("*.gguf"))
        hint = (
            _("Name a file in it: {names}.").format(names=", ".join(inside))
            if inside
            else _("Name a .gguf file.")
        )
        raise ModelError(_("{path} is a folder.").format(path=path), hint)
    if not path.exists():
        check_not_partial(path)
        raise ModelError(_("There is no file {path}.").format(path=path))
    if not path.is_file():
        raise ModelError(_("{path} is not a regular file.").format(path=path))
    if path.suffix.lower() in PARTIAL_SUFFIXES:
        raise ModelError(
            _("{path} is a partial download.").format(path=path), _("Finish the download first.")
        )
    control = path.with_name(path.name + ".aria2")
    if control.exists():
        raise ModelError(
            _("{path} is a partial download: {name} is next to it.").format(path=path, name=control.name),
            _("Finish the download first."),
        )
    if path.stat().st_size == 0:
        raise ModelError(_("{path} is empty.").format(path=path), _(HINT))


def check_not_partial(path: Path) -> None:
    """Raise ModelError if there is only a part of `path`, that some program has downloaded."""
    rest = next((r for s in PARTIAL_SUFFIXES if (r := path.with_name(path.name + s)).exists()), None)
    if rest:
        raise ModelError(
            _("{path} is not complete: there is {name}.").format(path=path, name=rest.name),
            _("Finish the download first."),
        )
