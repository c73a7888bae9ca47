"""Keyboard, screen reader, zoom and a phone: everybody can use the page."""

# ruff: noqa: E501 - scripts are what they are

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.webdriver.common.keys import Keys

from tests.browser.conftest import Page

AXE = (Path(__file__).parent / "vendor" / "axe.js").read_text(encoding="utf-8")


def findings(page: Page) -> list[str]:
    """What axe-core calls serious or critical in what is shown now."""
    page.driver.execute_script(f"if (!window.axe) {{ {AXE} }}")
    found = page.run(
        "const { violations } = await axe.run({ resultTypes: ['violations'] });"
        "return violations.filter((v) => /serious|critical/.test(v.impact))"
        ".flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.html}: ${n.failureSummary}`));"
    )
    assert isinstance(found, list), found
    return found


@contextmanager
def shown_as(
    page: Page, *, scheme: str = "light", width: int = 0, height: int = 0, zoom: int = 1
) -> Iterator[None]:
    wanted = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
    media: dict[str, Any] = {"features": [{"name": name, "value": value} for name, value in wanted.items()]}
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    size = {
        "width": width // zoom,
        "height": height // zoom,
        "deviceScaleFactor": zoom,
        "mobile": 0 < width < 400,
    }
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        yield
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_axe_has_no_serious_findings_in_both_colours(page: Page) -> None:
    page.ask("error")
    page.ask("markdown")
    page.one("button[title=Settings]").click()
    page.run(
        "const { drawAnswer } = await import('/static/markdown.js');"
        "await drawAnswer(document.querySelector('answer-text'), args[0]);",
        "# a\n\n$$x^2$$\n\n> quote [link](http://x.test)\n\n```python\n# note\n@a\ndef f(x: int) -> str:\n"
        "    return 'b' + 1\n```\n\n```diff\n- a\n+ b\n```\n\n- [x] done\n",
    )
    page.driver.execute_script("document.querySelector('article').classList.add('outside')")
    for scheme in ("light", "dark"):
        with shown_as(page, scheme=scheme):
            assert findings(page) == []
            page.one(".up summary").click()
            page.wait(lambda: page.all(".up div button"), "the templates")
            page.one("#side li.current summary").click()
            assert findings(page) == []
            page.one("#side li.current .danger").click()
            assert page.one("#dialog").is_displayed()
            assert findings(page) == []
            page.press(Keys.ESCAPE)
            page.wait(lambda: not page.all("#dialog[open]"), "the dialog's end")


def test_nothing_is_cut_off_on_a_phone_and_at_200_percent(page: Page) -> None:
    page.ask("markdown")
    for width, height, zoom in ((360, 700, 1), (1100, 800, 2)):
        with shown_as(page, width=width, height=height, zoom=zoom):
            for opened in ("", ".up summary", "button[title=Settings]", "button[title=Conversations]"):
                if opened and page.one(opened).is_displayed():
                    page.one(opened).click()
                assert (
                    page.driver.execute_script("return document.documentElement.scrollWidth - innerWidth")
                    <= 0
                )
                outside = page.run(
                    "return [...document.querySelectorAll('button, summary, input, textarea, dialog')].filter((e) => {"
                    "  const r = e.getBoundingClientRect();"
                    "  return e.checkVisibility({ visibilityProperty: true, contentVisibilityAuto: true }) && r.width > 1"
                    "    && !e.closest('#scroll') && (r.left < 0 || r.right > innerWidth + 1);"
                    "}).map((e) => e.outerHTML)"
                )
                assert outside == []
            assert page.one("#message").rect["width"] > 120
            page.open(page.driver.current_url.removeprefix(page.web.url))


def test_the_keyboard_alone_is_enough(page: Page) -> None:
    page.ask("one")
    page.press(Keys.CONTROL, "k")
    page.wait(lambda: page.driver.switch_to.active_element.get_attribute("id") == "search", "the search")
    page.press(Keys.CONTROL, Keys.SHIFT, "o")
    page.wait(lambda: page.driver.switch_to.active_element.get_attribute("id") == "message", "the box")
    assert not page.all("article")
    # Every control can be reached by Tab, and says what it is.
    names = set()
    for _ in range(40):
        page.press(Keys.TAB)
        element = page.driver.switch_to.active_element
        if element.tag_name != "body":
            names.add(element.accessible_name)
    wanted = {"Templates", "Attach a file", "Send", "Search all conversations", "New chat", "Import", "More"}
    assert wanted <= names
    assert "" not in names
