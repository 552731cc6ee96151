# SPDX-License-Identifier: MIT
"""Names as text: what Markdown and terminals would obey is shown instead."""

import pytest

from solo_plugins.untrusted.text import Markdown, code, markdown, one_line, printable

HOSTILE = (
    "<script>alert(1)</script>", "[a](javascript:b)", "![a](https://b.c/d.png)", "https://b.c",
    "HTTP://b.c", "www.b.c", "a | b", "a\n\n# heading", "a\r# heading", "a\u2028# heading",
    "<!-- ", "&lt;b&gt;", "*a* __b__ ~~c~~ $d$ @e", "\x1b[31m", "\x9b31m", "\x07", "\u202eabc",
    "\ud800", "\udcff", "a\\|b", "[a]: https://b.c", "a\tb", "\x00",
)  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_markdown_is_read_as_itself(text: str) -> None:
    found = markdown(text)
    found.encode()
    assert found.isprintable()  # no line ends, no escapes of terminals
    bare = found.replace("\\|", "")
    assert not set("<>[]|*~$@\\") & set(bare)
    assert "://" not in bare
    assert "www." not in bare.lower()
    assert markdown(found) is found


@pytest.mark.parametrize(
    "text", ["resnet18", "a_b-c.d", "p=1, μ=-0.5", "91.00 ± 0.50", "summary.json: `a` (b)", "#2"]
)
def test_what_means_nothing_stays_as_it_is(text: str) -> None:
    assert markdown(text) == text
    assert one_line(text) == text


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_terminal_is_told_nothing(text: str) -> None:
    assert printable(text).replace("\n", "").isprintable()
    assert one_line(text).isprintable()


def test_long_names_are_cut_off() -> None:
    assert len(markdown("x" * 10**6)) == 300
    assert one_line("abcdef", 3) == "ab…"


@pytest.mark.parametrize("text", ["a`b", "a|b", "a<b", "a[b"])
def test_a_path_that_ends_code_is_plain_text(text: str) -> None:
    assert code(text) == markdown(text)
    assert isinstance(code(text), Markdown)
