"""Texts of data, whatever their source: what may go at their ends, and what no vocabulary can take."""

_ESCAPED = range(0xDC80, 0xDD00)
"""What Python makes of a byte that is not UTF-8, where a file is read in spite of it."""


def unsound(text: str) -> str:
    r"""What is wrong with a text, as the end of a sentence about it; ``""`` for nothing.

    JSON may hold, written as escapes, what is no character: half of a surrogate pair, which nothing can
    encode, and NUL, which tells that bytes were taken for text.

    >>> unsound("naïve {answer} </s>"), unsound("a\0"), unsound("a\ud800")
    ('', 'holds a NUL character, so it is binary or wrongly decoded', 'is not valid Unicode (character 2)')
    >>> unsound(b"caf\xe9".decode(errors="surrogateescape"))
    'is not valid Unicode (character 4 was a byte that is not UTF-8)'
    """
    if "\0" in text:
        return "holds a NUL character, so it is binary or wrongly decoded"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            if ord(text[error.start]) in _ESCAPED:
                return f"is not valid Unicode (character {error.start + 1} was a byte that is not UTF-8)"
            return f"is not valid Unicode (character {error.start + 1})"
    return ""


def block(text: str) -> str:
    r"""A text without blank lines before it and white space behind it.

    The indentation of its first line stays: in code it is a part of what is said.

    >>> block("\n \n    return 1\n"), block(" yes "), block(" \t\n ")
    ('    return 1', ' yes', '')
    """
    begins = len(text) - len(text.lstrip())
    return text[text.rfind("\n", 0, begins) + 1 :].rstrip()
