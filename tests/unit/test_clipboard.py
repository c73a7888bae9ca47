from __future__ import annotations

from llamachat.texts.code_blocks import code_blocks

ANSWER = """\
1. Write:
   ```python
   def f():
       return 1
   ```
2. Quoted:
   > ~~~
   > a
   > ~~~

        ```sh
        ls
        ```

````md
```
inner
```
````

Not `one` of them, and the last one was cut:

```
x = [
"""


def test_code_blocks_come_without_what_is_around_them() -> None:
    assert code_blocks(ANSWER) == ["def f():\n    return 1\n", "a\n", "ls\n", "```\ninner\n```\n", "x = [\n"]
