"""What is wrong with a text that no vocabulary can take, whatever its source."""

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
