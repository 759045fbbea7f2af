"""What the nine chain-of-thought tasks share: their source, their fields, and how each is turned around."""

import re

from flan_jax.data.collections.cot import cot_file
from flan_jax.tasks.catalog import register
from flan_jax.tasks.fields import text
from flan_jax.tasks.invert import inverted
from flan_jax.tasks.spec import PublishedFields, Record, TaskSpec, Template
from mixtures.flan_fields.shared import raw

_ENDED = re.compile(r"[.!?…][\"'”’)\]]*$")


def reasoned(record: Record) -> dict[str, str]:
    """A row of the file as slots; the question keeps the options that it lists."""
    return {
        "question": text(record, "question"),
        "answer": text(record, "answer"),
        "rationale": as_sentence(text(record, "rationale")),
    }


def _as_published(record: Record) -> dict[str, str]:
    return {
        "question": raw(record, "question"),
        "answer": raw(record, "answer"),
        "chain_of_thought": raw(record, "rationale"),
    }


_PUBLISHED = (
    PublishedFields(
        "flan2022", _as_published, ("question", "answer", "chain_of_thought"), rationale="chain_of_thought"
    ),
)


def as_sentence(rationale: str) -> str:
    """The rationale with a full stop, where it ends without one: the answer's sentence follows.

    >>> as_sentence("3 x 2 = 6"), as_sentence("So it is 6!"), as_sentence("It costs 6,")
    ('3 x 2 = 6.', 'So it is 6!', 'It costs 6.')
    """
    return rationale if _ENDED.search(rationale) else rationale.rstrip(" ,;:") + "."


def cot_task(
    name: str, *, cluster: str, title: str, direct: tuple[str, ...], reasoning: tuple[tuple[str, str], ...]
) -> TaskSpec:
    """Registers ``cot_NAME``.

    Args:
        name: the file's name.
        cluster: what it is held out with.
        title: what people call the data set.
        direct: inputs whose target is the answer alone.
        reasoning: inputs and targets where the rationale comes before the answer.
    """
    return register(
        TaskSpec(
            name=f"cot_{name}",
            cluster=cluster,
            collection="cot",
            title=title,
            source=cot_file(name),
            fields=reasoned,
            slots=("question", "answer", "rationale"),
            predict="generate",
            metric="final_answer",
            rationale="rationale",
            templates=tuple(Template(inputs) for inputs in direct),
            cot_templates=tuple(Template(inputs, targets) for inputs, targets in reasoning),
            published=_PUBLISHED,
        )
    )


def question_from(spec: TaskSpec, *inputs: str) -> TaskSpec:
    """Registers the inversion of ``spec``: its question, from its rationale and its answer, ``{given}``."""
    templates = tuple(Template(given) for given in inputs)
    return register(inverted(spec, "question", templates, published_answer="question"))
