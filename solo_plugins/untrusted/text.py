# SPDX-License-Identifier: MIT
"""Names that anybody may have given, shown in a terminal, in Markdown and in pictures."""

__all__ = ["Markdown", "code", "markdown", "one_line", "printable"]

import re

# What Markdown, HTML and GitHub read as something else within a line: tags, references, links,
# cells, emphasis, formulas, and addresses that become links by themselves. Marks of code stay: in
# code nothing is read as anything.
_SPECIAL = re.compile(
    r"[<>&\[\]\\|*~@$]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=\bwww)\.", re.IGNORECASE
)
_HARMLESS_CODE = re.compile(r"[\w ./:@+=,;%()'~-]+")
_LONGEST = 300


class Markdown(str):
    """A text that is Markdown already, and is not escaped again."""

    __slots__ = ()


def printable(text: str) -> str:
    r"""Show what a terminal would obey, and what turns or hides text, as escapes; keep line ends.

    Args:
        text: any text, also with bytes that are no text (``surrogateescape``).

    Returns:
        Text that can be encoded.

    Example:
        >>> printable("a\x1b[31mb\u202ec\nd")
        'a\\x1b[31mb\\u202ec\nd'
    """
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode()
        for char in text
    )


def one_line(text: object, most: int = _LONGEST) -> str:
    r"""Write a text in one line that says what it holds, cut off if it is long.

    Args:
        text: what is shown, as ``str`` writes it.
        most: its largest number of characters.

    Returns:
        The line; a line end in it becomes a space.

    Example:
        >>> one_line("a\n# b\x07"), one_line("abcdef", 4)
        ('a # b\\x07', 'abc…')
    """
    line = printable(" ".join(str(text).split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"


def markdown(text: object, most: int = _LONGEST) -> Markdown:
    r"""Write a text into Markdown so that it is read as itself: no tag, link, heading or cell.

    Args:
        text: what is shown; :class:`Markdown` stays as it is.
        most: its largest number of characters.

    Returns:
        One line. What could mean something is written by number, as ``&#60;``, and a bar by a
        backslash, for which tables ask.

    Example:
        >>> print(markdown("<b>[a](https://b.c)|www.d.e"))
        &#60;b&#62;&#91;a&#93;(https&#58;//b.c)\|www&#46;d.e
    """
    if isinstance(text, Markdown):
        return text
    return Markdown(_SPECIAL.sub(_by_number, one_line(text, most)))


def code(text: object) -> Markdown:
    """Write a path or a commit as code; if it has signs that mean something, as plain text.

    Args:
        text: what is shown.

    Returns:
        One line.

    Example:
        >>> code("runs/a_b"), code("runs/`<b>")
        ('`runs/a_b`', 'runs/`&#60;b&#62;')
    """
    line = one_line(text)
    return Markdown(f"`{line}`") if _HARMLESS_CODE.fullmatch(line) else markdown(line)


def _by_number(found: re.Match[str]) -> str:
    # tables ask for a backslash there
    return "\\|" if found[0] == "|" else f"&#{ord(found[0])};"
