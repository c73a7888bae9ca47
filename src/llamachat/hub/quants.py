"""The names of quantisations: found in file names, with their bits per weight, explained in plain words."""

from __future__ import annotations

import functools
import re
import sys
from importlib import resources
from typing import Literal, cast

from llamachat.errors import UsageError
from llamachat.language import _

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Lang = Literal["zh", "en"]

_INTEGER = r"Q4_0_(?:4_4|4_8|8_8)|(?:IQ|TQ|Q)[1-8](?:_(?:[KSML01]|XS|XXS|NL|XL))*"
_NAME = rf"(?:{_INTEGER}|BF16|FP?16|FP?32|(?:MX|NV)FP4(?:_MOE)?)"
_QUANT = re.compile(rf"(?:^|[-._/])(?P<quant>{_NAME})(?=[-._/]|$)", re.IGNORECASE)
_LETTERS = ("K", "0", "1", "XXS", "XS", "S", "M", "L", "XL", "NL")
_NAMED = re.compile(rf"(?:(?:UD|I1)-)?{_NAME}", re.IGNORECASE)  # prefixes that some converters use

# Bits per weight, of whole models: llama.cpp's tools/quantize/README.md and its ftype table.
BITS = {
    "IQ1_S": 2.0, "IQ1_M": 2.15, "IQ2_XXS": 2.38, "IQ2_XS": 2.59, "IQ2_S": 2.74, "IQ2_M": 2.93, "Q2_K": 3.16,
    "Q2_K_S": 2.97, "IQ3_XXS": 3.25, "IQ3_XS": 3.50, "Q3_K_S": 3.64, "IQ3_S": 3.66, "IQ3_M": 3.76,
    "Q3_K_M": 4.00, "Q3_K_L": 4.30, "IQ4_XS": 4.46, "IQ4_NL": 4.68, "Q4_0": 4.66, "Q4_K_S": 4.67,
    "Q4_K_M": 4.90, "Q4_1": 5.13, "Q5_0": 5.60, "Q5_K_S": 5.57, "Q5_K_M": 5.70, "Q5_1": 6.07, "Q6_K": 6.57,
    "Q8_0": 8.50, "F16": 16.0, "BF16": 16.0, "F32": 32.0, "MXFP4": 4.6, "TQ1_0": 1.7, "TQ2_0": 2.1,
}  # fmt: skip

# general.file_type, the enum llama_ftype of llama.cpp's llama.h; a test compares them.
FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
    19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
    26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0",
    37: "TQ2_0", 38: "MXFP4", 39: "NVFP4", 40: "Q1_0", 41: "Q2_0",
}  # fmt: skip


def quant_of(file_name: str) -> str:
    """The quantisation in a file's name, in capitals; "" if there is none."""
    found = [match["quant"] for match in _QUANT.finditer(file_name.removesuffix(".gguf"))]
    return _normalise(found[-1]) if found else ""


def parse(text: str) -> str:
    """The quantisation that `text` names, spelled as usual (`q4km` is Q4_K_M); "" if it names none."""
    if _NAMED.fullmatch(text):
        return _normalise(text)
    return _compact_names().get(text.upper(), "")


def _normalise(quant: str) -> str:
    bare = re.sub("^(UD|I1)-", "", quant.upper())
    return bare.replace("FP16", "F16").replace("FP32", "F32")


@functools.cache
def _compact_names() -> dict[str, str]:
    return {name.replace("_", ""): name for name in (*FILE_TYPES.values(), *BITS)}


def explain(text: str, lang: Lang) -> str:
    """What a name such as Q4_K_M means, or the letters K_M alone, or those in a file's name.

    Raises UsageError if there is no such name.
    """
    words = _words()[lang]
    name = parse(text) or (quant_of(text) if text[:1].isalnum() else "")
    letters = text.upper().removeprefix("_")
    if not name and all(part in _LETTERS for part in letters.split("_")):
        return "\n".join(
            [words["letters"].format(name=letters), *(words[part] for part in letters.split("_"))]
        )
    if not name:
        raise UsageError(
            _("{text!r} is not the name of a quantisation.").format(text=text),
            _("Try `llamachat models explain Q4_K_M`."),
        )
    lines = [words["what"].format(name=name), *_parts(name, words)]
    if name in BITS:
        lines.append(words["size"].format(bits=BITS[name], eight=BITS[name] * 8.03 / 8))
    if not name.startswith("TQ"):
        lines.append(words["verdict"].format(verdict=words[_verdict(name)]))
    return "\n".join(lines)


def _parts(name: str, words: dict[str, str]) -> list[str]:
    family, *parts = name.split("_")
    if family in ("F16", "F32", "BF16"):
        return [words["float"].format(bits=family[-2:])]
    if family in ("MXFP4", "NVFP4"):
        return [words[family]]
    kind, bits = family[:-1], family[-1]
    if kind == "TQ":
        return [words[kind].format(family=family)]
    if parts[-1:] == ["L"] and name != "Q3_K_L":
        parts[-1] = "larger"
    told = [words[part] for part in parts if part in words]
    rearranged = [words["rearranged"]] if len(parts) == 3 and parts[0] == "0" else []
    return [words[kind].format(family=family, bits=bits), *told, *rearranged]


def _verdict(name: str) -> str:
    bits = _bits(name)
    if bits < 3.3:
        return "poor"
    if bits < 4.4:
        return "fair"
    return "good" if bits < 5.3 else "high"


def _bits(name: str) -> float:
    """From the table; for a variant those of the plain one; else from the number in the name."""
    plain = name
    while plain not in BITS and "_" in plain:
        plain = plain.rpartition("_")[0]
    return BITS.get(plain) or int("".join(filter(str.isdigit, plain))[:1]) + 0.7


@functools.cache
def _words() -> dict[Lang, dict[str, str]]:
    text = resources.files("llamachat.hub").joinpath("quant_words.toml").read_text("utf-8")
    return cast("dict[Lang, dict[str, str]]", tomllib.loads(text))
