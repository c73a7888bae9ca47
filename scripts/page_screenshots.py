"""Draw docs/images/page*.png: the page in Chromium, light, dark and on a phone. The answers are written here.

python scripts/page_screenshots.py
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import web  # noqa: E402

ANSWERS = {
    "How much memory does an 8B model take at Q4_K_M?": """About **6 GB** with a window of 8,192 tokens:

| part | size |
|---|---:|
| weights, 4.8 bits each | 4.9 GB |
| KV cache, 8,192 tokens | 1.0 GB |
| buffers | 0.2 GB |

The cache grows with the window: $$2 \\cdot n_{layers} \\cdot n_{ctx} \\cdot d_{kv} \\cdot 2\\ \\text{bytes}$$
""",
    "用 Python 算一下 / in Python, please": """```python
def kv_cache_bytes(layers: int, n_ctx: int, heads: int, width: int) -> int:
    return 2 * layers * n_ctx * heads * width * 2

print(kv_cache_bytes(32, 8192, 8, 128) / 2**30)  # 1.0
```

`--n-ctx 4096` 只需要一半。
""",
}


def answer(body: dict[str, object]) -> list[str]:
    messages = body["messages"]
    assert isinstance(messages, list)
    return [ANSWERS.get(messages[-1]["content"], "…")]


def main() -> None:
    folder = ROOT / "docs" / "images"
    web.Model.answer = staticmethod(answer)
    web.Model.health = {"status": "ok", "model": "Meta-Llama-3-8B-Instruct.Q4_K_M", "n_ctx": 8192}
    with web.everything() as page:
        for scheme in ("light", "dark"):
            page.driver.execute_cdp_cmd(
                "Emulation.setEmulatedMedia",
                {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
            )
            if scheme == "light":
                page.open()
                for question in ANSWERS:
                    page.ask(question)
            page.wait(lambda: page.all("answer-text math") and page.all(".hljs-keyword"), "formula and code")
            page.driver.save_screenshot(str(folder / f"page-{scheme}.png"))
        page.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": 390, "height": 780, "deviceScaleFactor": 2, "mobile": True},
        )
        page.driver.save_screenshot(str(folder / "page-phone.png"))


if __name__ == "__main__":
    main()
