"""Renders templates in a language of their own, such as promptsource's: they read the whole record."""

from collections.abc import Callable, Sequence

from flan_jax.errors import UserError
from flan_jax.tasks.modes import PromptMode
from flan_jax.tasks.rendering.fewshot import Slots
from flan_jax.tasks.rendering.fill import PromptAndTarget, list_options
from flan_jax.tasks.rendering.slots import accepted_references
from flan_jax.tasks.style import OptionStyle
from flan_jax.tasks.template import OPTIONS_SLOT, Rendering
from flan_jax.tasks.unicode_check import block


def render_by_itself(
    template: Rendering,
    record: Slots,
    style: OptionStyle,
    mode: PromptMode,
    *,
    places: Sequence[int] = (),
    mark: Callable[[str, str], str] | None = None,
) -> PromptAndTarget | None:
    """Renders a record with a template that does so by itself.

    Args:
        template: one of the task's.
        record: as the task's ``fields`` returned it.
        style: how options are listed where the template lists none in its own words.
        mode: of the prompt.
        places: of each place of the listing, the index of the option that stands there; ``()`` for the published order.
        mark: puts marks around the listing.

    Returns:
        The parts; ``None`` where the template does not apply to the record.

    Raises:
        UserError: a mode without the template's words.
    """
    parts = template.render(record)
    if parts is None:
        return None
    if not mode.instructs:
        raise UserError("templates in a language of their own have no form without their words. Choose another mode.")
    inputs = block(parts.inputs)
    # Two choices may read the same; only the first of them could be told apart.
    options = tuple(dict.fromkeys(option.strip() for option in parts.options))
    references = tuple(dict.fromkeys(accepted_references((parts.targets, *parts.references), options)))
    wanted = options and mode.shows_options and not parts.lists_options and not template.inverted
    count, published = 0, tuple[int, ...]()
    if wanted and all(reference in options for reference in references):
        count = len(options)
        listing, options, references, published = list_options(style, options, references, places)
        inputs = f"{inputs}\n\n{mark(OPTIONS_SLOT, listing) if mark else listing}"
    return PromptAndTarget(inputs, references[0], () if template.inverted else options, references, count, published)
