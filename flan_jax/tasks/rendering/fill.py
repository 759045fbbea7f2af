"""Filling templates: slots, the options block, and checks of what comes of them."""

import functools
import re
import string
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from flan_jax.errors import UserError
from flan_jax.tasks.rendering.fewshot import plain
from flan_jax.tasks.style import OptionStyle
from flan_jax.tasks.template import OPTIONS_SLOT, slots_of
from flan_jax.tasks.unicode_check import block, unsound


class PromptAndTarget(NamedTuple):
    """A rendered record without the solved examples before it."""

    inputs: str
    targets: str
    options: tuple[str, ...]
    references: tuple[str, ...]
    listed: int = 0
    """Options that the prompt lists in an order of ours, duplicates counted; 0 where it lists none, or in words of its own."""
    published: tuple[int, ...] = ()
    """Of each of ``options``, its index in the published order, where the listing has another."""


def content_of(single: PromptAndTarget) -> tuple[str, str]:
    """Returns a key that is equal for records that read the same, case and white space aside."""
    return plain(single.inputs), plain(single.targets)


def check_unicode(single: PromptAndTarget) -> None:
    """Refuses texts that no vocabulary can encode.

    Raises:
        UserError: names the side.
    """
    for side, texts in (
        ("input", (single.inputs,)),
        ("target", (single.targets, *single.references)),
        ("options", single.options),
    ):
        for text in texts:
            if wrong := unsound(text):
                raise UserError(f"its {side} {wrong}. Correct or remove the record.")


class OptionListing(NamedTuple):
    """A listing of options, with options and answers as it shows them: themselves, or their markers."""

    block: str
    options: tuple[str, ...]
    references: tuple[str, ...]
    published: tuple[int, ...]


def list_options(
    style: OptionStyle, options: Sequence[str], references: Sequence[str], places: Sequence[int] = ()
) -> OptionListing:
    """Lists options.

    Args:
        style: of the listing.
        options: in the published order. They may read the same.
        references: the right ones.
        places: of each place, the index of the option that stands there; ``()`` for the published order. Options that are
            scored as they read come back in the published order all the same; markers in the order of their places.
    """
    if not style.fits(options):
        style = OptionStyle()
    order = tuple(places) or tuple(range(len(options)))
    shown = [options[index] for index in order]
    block, markers = style.block(shown), style.markers(len(shown))
    if not markers:
        distinct = tuple(dict.fromkeys(options))
        return OptionListing(block, distinct, tuple(references), tuple(range(len(distinct))))
    return OptionListing(block, markers, tuple(markers[shown.index(one)] for one in references), order)


def fill_template(text: str, slots: Mapping[str, str]) -> str:
    """Fills the slots of a template's text, ``{options}`` among them, and strips it as a block.

    Raises:
        UserError: a slot that is no text.
    """
    if not slots[OPTIONS_SLOT]:
        text = _without_options(text)
    try:
        return block(text.format_map(slots))
    except KeyError as error:
        raise UserError(f"slot {{{error.args[0]}}} is not text, so no template can show it.") from error


@functools.lru_cache(maxsize=4096)
def _without_options(text: str) -> str:
    """Removes the options slot and the blank lines around it from a template's text; a record's own blank lines stay."""
    if OPTIONS_SLOT not in slots_of(text):
        return text
    rest = ""
    for literal, name, _, _ in string.Formatter().parse(text):
        rest += literal.replace("{", "{{").replace("}", "}}")
        rest += f"{{{name}}}" if name and name != OPTIONS_SLOT else ""
    return re.sub(r"\n{3,}", "\n\n", rest)
