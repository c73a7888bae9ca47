"""Files of other kinds than plain text, as text."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from llamachat.errors import UsageError
from llamachat.texts.documents import picture_url, read_text

_DOCX = {
    "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
    "_rels/.rels": (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        '<Relationship Id="a" '
        'Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" '
        'Target="word/document.xml"/></Relationships>'
    ),
    "word/document.xml": (
        '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r>'
        "<w:t>合同 of 2024</w:t></w:r></w:p></w:body></w:document>"
    ),
}


def pdf(text: str) -> bytes:
    content = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET"
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        f"<</Length {len(content)}>>stream\n{content}\nendstream",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    body, offsets = "%PDF-1.4\n", []
    for number, value in enumerate(objects, 1):
        offsets.append(len(body))
        body += f"{number} 0 obj{value}endobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    trailer = f"trailer<</Size 6/Root 1 0 R>>\nstartxref\n{len(body)}\n%%EOF"
    return f"{body}xref\n0 6\n0000000000 65535 f \n{table}{trailer}".encode()


def test_word_pdf_html_and_subtitles_are_text(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.docx", "w") as archive:
        for name, text in _DOCX.items():
            archive.writestr(name, text)
    (tmp_path / "a.pdf").write_bytes(pdf("Party: Ann"))
    (tmp_path / "a.html").write_text("<title>no</title><h1>Head</h1><script>no</script><ul><li>one</li></ul>")
    (tmp_path / "a.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\n<i>Hello</i>\n\n")
    assert read_text(tmp_path / "a.docx").strip() == "合同 of 2024"
    assert read_text(tmp_path / "a.pdf").strip() == "Party: Ann"
    assert "Head" in read_text(tmp_path / "a.html") and "one" in read_text(tmp_path / "a.html")
    assert "no" not in read_text(tmp_path / "a.html")
    assert read_text(tmp_path / "a.srt") == "Hello"


@pytest.mark.parametrize("name", ["a.docx", "a.pdf", "a.srt", "a.txt"])
def test_a_damaged_file_is_an_error_of_ours(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"%PDF-\x00\x01\xff\xfe nonsense")
    with pytest.raises(UsageError, match=name):
        read_text(tmp_path / name)


def test_a_picture_is_known_by_its_first_bytes() -> None:
    assert picture_url(b"\xff\xd8\xff\xe0", "x").startswith("data:image/jpeg;base64,")
    for data, words in ((b"text", "is not a picture"), (b"RIFF0000WEBP", "WebP")):
        with pytest.raises(UsageError, match=words):
            picture_url(data, "x")
