"""Markup that is safe by construction: whatever is not markup already is escaped.

Text of data sets, predictions and folder names goes into a page, so nobody should have to
remember to escape it.
"""

import html


class Markup(str):
    """Text that is markup already. Only this module and constants make it."""

    __slots__ = ()


_VOID = frozenset({"meta", "br"})


def element(name: str, /, *children: object, **attributes: object) -> Markup:
    """Builds an element; children that are not ``Markup`` are escaped, ``None`` children are left out.

    Args:
        name: the tag.
        children: text, markup, or sequences of both.
        attributes: values are escaped, those that are ``None`` left out, and ``True`` gives the
            name alone. ``class_`` is ``class``, and ``_`` within a name is ``-``.

    >>> element("p", "1 < 2", element("b", "!"), class_="note")
    '<p class="note">1 &lt; 2<b>!</b></p>'
    """
    parts = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        parts.append(f" {key}" if value is True else f' {key}="{html.escape(str(value))}"')
    opening = f"<{name}{''.join(parts)}>"
    return Markup(opening if name in _VOID else f"{opening}{join(children)}</{name}>")


def join(children: object) -> Markup:
    """Joins one child or a sequence of them into markup."""
    if children is None:
        return Markup()
    if isinstance(children, Markup):
        return children
    if isinstance(children, (list, tuple)):
        return Markup("".join(join(child) for child in children))
    return Markup(html.escape(str(children), quote=False))
