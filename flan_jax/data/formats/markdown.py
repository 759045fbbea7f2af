"""Converts HTML back to Markdown: conversations saved from web pages are learned as the model wrote them."""

import re
from html.parser import HTMLParser

_STARTS_AS_HTML = re.compile(r"\s*<(div|p|h[1-6]|ul|ol|pre|blockquote|table|article|section)\b[^<>]*>", re.IGNORECASE)
_MARKS = {"strong": "**", "b": "**", "em": "*", "i": "*", "del": "~~", "s": "~~"}
_BLOCKS = frozenset(("p", "div", "article", "section", "blockquote", "table", "ul", "ol", "pre", "hr"))
_SILENT = frozenset(("script", "style", "button", "svg", "head"))
_VOID = frozenset(("br", "hr", "img", "input", "meta", "link"))
_LANGUAGE = re.compile(r"\blang(?:uage)?-([\w+#.-]+)")


def is_html(text: str) -> bool:
    """Tells whether a text as a whole is HTML; one that only talks about tags is not."""
    return bool(_STARTS_AS_HTML.match(text)) and text.rstrip().endswith(">")


def to_markdown(text: str) -> str:
    """Converts a piece of HTML to Markdown.

    >>> to_markdown("<p>Use <code>ls</code>:</p><ol><li>open</li><li>type</li></ol>")
    'Use `ls`:\\n\\n1. open\\n2. type'
    """
    converter = _Converter()
    converter.feed(text)
    converter.close()
    return converter.result()


class _Converter(HTMLParser):
    """Appends Markdown as tags open and close; text inside ``pre`` is kept as it is."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self.lists: list[int | None] = []  # the next number of each open list; None where it has no numbers
        self.silent = self.preformatted = 0
        self.code_at = 0
        self.language = ""
        self.links: list[str] = []
        self.cells: list[int] = []
        self.rows = 0

    def result(self) -> str:
        # Code was set aside, so that its blank lines stay.
        parts = re.split("(\0[^\0]*\0)", "".join(self.pieces))
        prose = [part if part.startswith("\0") else re.sub(r"[ \t]*\n(?:[ \t]*\n)+", "\n\n", part) for part in parts]
        return "".join(prose).replace("\0", "").strip()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self.silent:
            self.silent += tag not in _VOID
            return
        if self.preformatted:
            if tag == "code":  # what a page puts above its code: a language's name, a button
                del self.pieces[self.code_at :]
                self.language = self.language or _language(attrs)
            return
        match tag:
            case _ if tag in _SILENT:
                self.silent = 1
            case "pre":
                self.preformatted, self.language = 1, _language(attrs)
                self._block()
                self.code_at = len(self.pieces)
            case "ul" | "ol":
                self._line() if self.lists else self._block()
                self.lists.append(1 if tag == "ol" else None)
            case "li":
                self._item()
            case "br":
                self.pieces.append("\n")
            case "hr":
                self._block("---")
                self._block()
            case "code":
                self.pieces.append("`")
            case "a":
                self.links.append(dict(attrs).get("href") or "")
                self.pieces.append("[" if self.links[-1] else "")
            case "tr":
                self._line()
                self.cells.append(0)
            case "td" | "th":
                self.pieces.append("| ")
                if self.cells:
                    self.cells[-1] += 1
            case "h1" | "h2" | "h3" | "h4" | "h5" | "h6":
                self._block("#" * int(tag[1]) + " ")
            case _ if tag in _MARKS:
                self.pieces.append(_MARKS[tag])
            case _ if tag in _BLOCKS and not self.lists:
                self._block()

    def handle_endtag(self, tag: str) -> None:
        if self.silent:
            self.silent -= tag not in _VOID
            return
        if self.preformatted:
            if tag == "pre":
                self._close_code()
            return
        match tag:
            case "ul" | "ol":
                if self.lists:
                    self.lists.pop()
                self._line() if self.lists else self._block()
            case "code":
                self.pieces.append("`")
            case "a" if self.links:
                target = self.links.pop()
                self.pieces.append(f"]({target})" if target else "")
            case "td" | "th":
                self.pieces.append(" ")
            case "tr" if self.cells:
                self._end_row(self.cells.pop())
            case _ if tag in _MARKS:
                self.pieces.append(_MARKS[tag])
            case _ if tag in _BLOCKS or re.fullmatch("h[1-6]", tag):
                if not self.lists:
                    self._block()
                if tag == "table":
                    self.rows = 0

    def _end_row(self, cells: int) -> None:
        self.pieces.append("|")
        self.rows += 1
        if self.rows == 1:  # Markdown wants a line below the head of a table
            self.pieces.append("\n" + "| --- " * cells + "|")

    def handle_data(self, data: str) -> None:
        if self.silent:
            return
        data = data.replace("\0", "")
        if self.preformatted:
            self.pieces.append(data)
            return
        data = re.sub(r"\s+", " ", data)
        at_start = not self.pieces or self.pieces[-1].endswith(("\n", "- ", ". "))
        self.pieces.append(data.lstrip() if at_start else data)

    def close(self) -> None:
        super().close()
        if self.preformatted:
            self._close_code()

    def _close_code(self) -> None:
        code = "".join(self.pieces[self.code_at :]).strip("\n")
        fence = "```"
        while fence in code:
            fence += "`"
        self.pieces[self.code_at :] = [f"\0{fence}{self.language}\n{code}\n{fence}\0"]
        self.preformatted = 0
        self._block()

    def _item(self) -> None:
        self._line()
        indent = "  " * max(0, len(self.lists) - 1)
        number = self.lists[-1] if self.lists else None
        if number is None:
            self.pieces.append(f"{indent}- ")
        else:
            self.pieces.append(f"{indent}{number}. ")
            self.lists[-1] = number + 1

    def _line(self) -> None:
        if self.pieces and not self.pieces[-1].endswith("\n"):
            self.pieces.append("\n")

    def _block(self, start: str = "") -> None:
        self.pieces.append("\n\n" if self.pieces else "")
        if start:
            self.pieces.append(start)


def _language(attrs: list[tuple[str, str | None]]) -> str:
    found = _LANGUAGE.search(dict(attrs).get("class") or "")
    return found[1] if found else ""
