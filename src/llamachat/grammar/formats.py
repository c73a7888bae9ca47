"""The formats of JSON Schema as regular expressions, and those that say nothing about the text."""

from __future__ import annotations

_MONTH_DAY = (
    "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    "|02-(?:0[1-9]|1[0-9]|2[0-8]))"
)
_YEAR = "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9][0-9]|[0-9][1-9][0-9]{2}|[1-9][0-9]{3})"
_LEAP_YEAR = (
    "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"  # none at 1900
)
_DATE = f"(?:{_YEAR}-{_MONTH_DAY}|{_LEAP_YEAR}-02-29)"
_HOUR_MINUTE = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_TIME = rf"{_HOUR_MINUTE}:[0-5][0-9](?:\.[0-9]{{1,9}})?(?:Z|[+-]{_HOUR_MINUTE})"

_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = rf"{_BYTE}(?:\.{_BYTE}){{3}}"
_H16 = "[0-9a-fA-F]{1,4}"
_LAST_32 = f"(?:{_H16}:{_H16}|{_IPV4})"
_IPV6 = "|".join(
    [
        f"(?:{_H16}:){{6}}{_LAST_32}",
        f"::(?:{_H16}:){{5}}{_LAST_32}",
        f"(?:{_H16})?::(?:{_H16}:){{4}}{_LAST_32}",
        f"(?:(?:{_H16}:){{0,1}}{_H16})?::(?:{_H16}:){{3}}{_LAST_32}",
        f"(?:(?:{_H16}:){{0,2}}{_H16})?::(?:{_H16}:){{2}}{_LAST_32}",
        f"(?:(?:{_H16}:){{0,3}}{_H16})?::{_H16}:{_LAST_32}",
        f"(?:(?:{_H16}:){{0,4}}{_H16})?::{_LAST_32}",
        f"(?:(?:{_H16}:){{0,5}}{_H16})?::{_H16}",
        f"(?:(?:{_H16}:){{0,6}}{_H16})?::",
    ]
)

_ESCAPED = "%[0-9A-Fa-f]{2}"
_PCHAR = f"(?:[a-zA-Z0-9._~!$&'()*+,;=:@-]|{_ESCAPED})"
_SCHEME = "[a-zA-Z][a-zA-Z0-9+.-]{0,30}"
_AUTHORITY = (
    f"(?:(?:[a-zA-Z0-9._~!$&'()*+,;=:-]|{_ESCAPED})*@)?"
    rf"(?:\[(?:{_IPV6})\]|(?:[a-zA-Z0-9._~!$&'()*+,;=-]|{_ESCAPED})*)(?::[0-9]{{0,5}})?"
)
_QUERY = rf"(?:\?(?:{_PCHAR}|[/?])*)?(?:#(?:{_PCHAR}|[/?])*)?"
_URI = f"{_SCHEME}:(?://{_AUTHORITY}(?:/{_PCHAR}*)*|/?(?:{_PCHAR}+(?:/{_PCHAR}*)*)?){_QUERY}"
_RELATIVE = (
    f"(?://{_AUTHORITY}(?:/{_PCHAR}*)*|/(?:{_PCHAR}+(?:/{_PCHAR}*)*)?"
    f"|(?:[a-zA-Z0-9._~!$&'()*+,;=@-]|{_ESCAPED})+(?:/{_PCHAR}*)*|){_QUERY}"
)
_DURATION_TIME = "T(?:[0-9]+H(?:[0-9]+M(?:[0-9]+S)?)?|[0-9]+M(?:[0-9]+S)?|[0-9]+S)"
_DURATION_DATE = "(?:[0-9]+Y(?:[0-9]+M(?:[0-9]+D)?)?|[0-9]+M(?:[0-9]+D)?|[0-9]+D)"
_ATOM = "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,20}"


def _uuid(version: str) -> str:
    return f"[0-9a-fA-F]{{8}}-[0-9a-fA-F]{{4}}-{version}[0-9a-fA-F]{{3}}-[0-9a-fA-F]{{4}}-[0-9a-fA-F]{{12}}"


_BODIES = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f"{_DATE}T{_TIME}",
    "duration": f"P(?:[0-9]+W|{_DURATION_DATE}(?:{_DURATION_TIME})?|{_DURATION_TIME})",
    "uuid": _uuid("[0-9a-fA-F]"),
    "email": rf"{_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*",
    "hostname": rf"{_LABEL}(?:\.{_LABEL})*",
    "ipv4": _IPV4,
    "ipv6": _IPV6,
    "uri": _URI,
    "uri-reference": f"(?:{_URI}|{_RELATIVE})",
    "json-pointer": "(?:/(?:[^~/]|~[01])*)*",
    "relative-json-pointer": "(?:0|[1-9][0-9]*)(?:#|(?:/(?:[^~/]|~[01])*)*)",
    "byte": "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?",
}
_BODIES |= {f"uuid{version}": _uuid(str(version)) for version in range(1, 9)}
# ASCII is a part of each.
_BODIES |= {"iri": _BODIES["uri"], "iri-reference": _BODIES["uri-reference"]}
PATTERNS = {name: f"^(?:{body})$" for name, body in _BODIES.items()}
"""Of strings. Narrower than the standards in what hardly anybody writes, as comments in an address."""

FREE = ("password", "binary", "float", "double", "decimal", "path", "file-path", "directory-path")
"""OpenAPI's and pydantic's, which hint at a use or a width and forbid no text."""
INTEGERS = {f"int{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)}
INTEGERS |= {f"uint{bits}": (0, 2**bits - 1) for bits in (8, 16, 32, 64)}
