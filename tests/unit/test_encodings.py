from __future__ import annotations

import pytest

from llamachat.texts.encodings import decode

SIMPLIFIED = "人工智能是计算机科学的一个分支，它企图了解智能的实质。"
TRADITIONAL = "人工智慧是電腦科學的一個分支，它企圖了解智慧的實質。"
JAPANESE = "人工知能は、計算機という道具を用いて知能を研究する分野。データ"


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("utf-8", SIMPLIFIED + JAPANESE + "naïve"),
        ("utf-8-sig", SIMPLIFIED),
        ("utf-16", TRADITIONAL),
        ("utf-32", JAPANESE),
        ("gb18030", SIMPLIFIED),
        ("gb18030", f"def f():\n    return '{SIMPLIFIED}'\n"),
        ("gb18030", "def load(path):\n    return open(path).read()\n" * 120 + "# 注释\n"),
        ("big5", TRADITIONAL),
        ("cp932", JAPANESE),
        ("cp932", "データベース"),
        ("cp1252", "naïve café, Größe über Müller, “señor” – 5 €"),
        ("latin-1", "déjà vu à l'été"),
    ],
)
def test_a_text_is_read_in_the_encoding_that_it_was_written_in(encoding: str, text: str) -> None:
    assert decode(text.encode(encoding)) == text


def test_bytes_that_no_text_has_are_not_text() -> None:
    assert decode(b"\x89PNG\r\n\x1a\n\0\0\0") is None
    assert decode(SIMPLIFIED.encode("utf-16-le") + b"\0") is None
