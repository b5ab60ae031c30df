from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickover.core.errors import DefinitionErrors
from tickover.core.limits import Duration
from tickover.routines.blocks import Step, parse_steps

TOUR = """\
# First part

Prose with `code`, and a block that is only shown:

```text
not run
```

```bash id=fetch timeout=5m
echo one
```

Setext part
-----------

~~~python
print("```bash")
~~~

1. In a list:

   ````sh id=outer
   cat <<'X'
   ```bash
   echo not a step of its own
   ```
   X
   ````

> ## Quoted part
>
> ```js
> console.log(1)
> ```

    ```bash
    indented code is no fence
    ```

<!--
```bash
echo in a comment
```
-->

```
no language
```
"""


def test_steps_are_the_fenced_blocks_of_their_languages() -> None:
    assert parse_steps(TOUR, first_line=10) == (
        Step("fetch", "bash", "echo one\n", "First part", Duration(300), 18),
        Step("step-2", "python", 'print("```bash")\n', "Setext part", None, 25),
        Step("outer", "sh", "cat <<'X'\n```bash\necho not a step of its own\n```\nX\n", "Setext part", None, 31),
        Step("step-4", "js", "console.log(1)\n", "Quoted part", None, 41),
    )


@pytest.mark.parametrize(
    ("markdown", "message"),
    [
        ("```bash\necho", "the fence that opens here is never closed"),
        ("```bash", "the fence that opens here is never closed"),
        ("````bash\necho\n```\n", "the fence that opens here is never closed"),
        ("~~~bash\necho\n```\n", "the fence that opens here is never closed"),
        ("- ```bash\n  echo\n\nout\n", "the fence that opens here is never closed"),
        ("```bash\n\n```\n", "the block is empty"),
        ("```bash\n```\n", "the block is empty"),
        ("```bash idd=a\nx\n```\n", "unknown option `idd=a`; did you mean `id=`?"),
        ("```bash verbose\nx\n```\n", "unknown option `verbose`; there is id=NAME and timeout=DUR"),
        ("```bash id=a id=b\nx\n```\n", "`id` is given twice"),
        ("```bash id=A\nx\n```\n", "an id is 1 to 64 of a-z, 0-9 and -"),
        ("```bash timeout=5\nx\n```\n", "timeout: a duration is a whole number with its unit: 30s, 20m, 4h, 7d"),
        ("```bash timeout=0s\nx\n```\n", "timeout: more than nothing is needed here"),
        (
            "```python3 id=a\nx\n```\n",
            "`python3` is no language of a step; write `python`, or no options if it is only shown",
        ),
        (
            "```Bash id=a\nx\n```\n",
            "`Bash` is no language of a step; write `bash`, or no options if it is only shown",
        ),
    ],
)
def test_what_is_wrong_with_a_step(markdown: str, message: str) -> None:
    with pytest.raises(DefinitionErrors) as caught:
        parse_steps(f"text\n\n{markdown}", file="R.md", first_line=7)
    [problem] = caught.value.problems
    assert problem.where is not None
    assert (problem.message, problem.where.file, problem.where.line) == (message, "R.md", 9)


def test_all_problems_come_at_once() -> None:
    with pytest.raises(DefinitionErrors) as caught:
        parse_steps("```bash id=a\nx\n```\n```sh id=a\ny\n```\n```js x\nz\n```\n")
    assert [(each.code, each.where.line if each.where else None) for each in caught.value.problems] == [
        ("blocks.duplicate", 4),
        ("blocks.step", 7),
    ]


def test_prose_has_no_steps() -> None:
    assert parse_steps("Just words.\n\n```shell\n$ ls\n```\n\n```yaml\na: 1\n```\n") == ()


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet="`~#>- \n1.ab=", max_size=80))
def test_any_markdown_has_steps_or_problems(markdown: str) -> None:
    with contextlib.suppress(DefinitionErrors):
        assert isinstance(parse_steps(markdown), tuple)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "unit", ["> ", "- ", "```bash\n", "```bash\na\n```\n", "`", "[a](", "<!--", "1. ", "a\n", "# \n", "\t"]
)
def test_a_long_hostile_text_ends_soon(unit: str) -> None:
    with contextlib.suppress(DefinitionErrors):
        assert isinstance(parse_steps(unit * (100_000 // len(unit))), tuple)
