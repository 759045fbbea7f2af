"""Templates, and the rendered example that comes of one."""

import dataclasses
import functools
import string
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from flan_jax.errors import UserError

# Slots that the renderer itself fills.
OPTIONS_SLOT = "options"
ANSWER_SLOT = "answer"


@functools.lru_cache(maxsize=4096)
def slots_of(text: str) -> tuple[str, ...]:
    """Parses the slot names in ``text``, in order of first appearance.

    Raises:
        UserError: unbalanced braces, or a slot that is not a plain name.
    """
    names: dict[str, None] = {}
    try:
        for _, name, spec, conversion in string.Formatter().parse(text):
            if name is None:
                continue
            if not name.isidentifier() or spec or conversion:
                raise UserError(
                    f"Slot {{{name}}} in {text!r} is not a plain name. Write {{name}}, and {{{{ }}}} for literal braces."
                )
            names[name] = None
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"Template text {text!r} has unbalanced braces ({error}). Write {{{{ }}}} for literal braces."
        ) from error
    return tuple(names)


@dataclasses.dataclass(frozen=True, slots=True)
class Template:
    """One way to put a record into words.

    Attributes:
        inputs: text with ``{slot}``s; ``{options}`` places the options block.
        targets: text with ``{slot}``s; ``{answer}`` is the task's answer.
        inverted: the target is not the task's answer (a question from its answer, say); such a
            template is used in training only, never scored.
    """

    inputs: str
    targets: str = "{answer}"
    inverted: bool = False

    @property
    def slots(self) -> tuple[str, ...]:
        """Every slot used on either side."""
        return tuple(dict.fromkeys(slots_of(self.inputs) + slots_of(self.targets)))


@dataclasses.dataclass(frozen=True, slots=True)
class VerbatimTemplate(Template):
    """A published template, filled in byte for byte: nothing is stripped, and options stand only where it has them.

    Attributes:
        asks: the slot that its target consists of, where that is an answer as good as the task's own
            (the other side of a translation); ``""`` for the task's answer.
    """

    asks: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Parts:
    """Output of a template that renders by itself, for one record.

    Attributes:
        inputs: the prompt, without an options block of ours.
        targets: the answer.
        options: the closed set that the answer is of, or ``()``.
        references: every accepted answer; ``()`` for the target alone.
        lists_options: the prompt shows the options in its own words.
    """

    inputs: str
    targets: str
    options: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    lists_options: bool = False


@runtime_checkable
class Rendering(Protocol):
    """A template in a language of its own, such as promptsource's. It reads the record, not slots.

    Its ``repr`` must tell apart any two that render differently: fingerprints are made from it.
    """

    @property
    def inverted(self) -> bool:
        """True where its target is not the task's answer, so that it is never scored."""

    def render(self, record: Mapping[str, Any]) -> Parts | None:
        """Renders ``record``; ``None`` where the template does not apply to it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Rendered:
    """One example as text.

    Attributes:
        inputs: what the encoder reads.
        targets: what the model is trained to write.
        options: the closed set that rank classification scores, or ``()``.
        references: every accepted answer, ``targets`` among them.
        example_id: index of the record in its split.
        template_id: index of the template in the task's ``templates``.
        exemplars: indices, in the training split, of the solved examples that come first.
        extras: texts by name that are kept beside the tokens: those of ``TaskSpec.extras``.
    """

    inputs: str
    targets: str
    options: tuple[str, ...]
    references: tuple[str, ...]
    example_id: int
    template_id: int
    exemplars: tuple[int, ...] = ()
    extras: Mapping[str, str] = dataclasses.field(default_factory=dict)
