"""Reading texts and their summaries from records, for the summarization tasks."""

from collections.abc import Sequence
from typing import Any

from flan_jax.data.sources.published import PublishedSource
from flan_jax.tasks.fields import text
from flan_jax.tasks.spec import Fields, Record, TaskSpec, Template

METRIC = "rougeL"
OTHER_METRICS = ("rouge1", "rouge2", "rougeLsum")


def filled(record: Record, *names: str) -> bool:
    """Whether the record has all these columns and none is blank; some published articles and titles are."""
    values = (record.get(name) for name in names)
    return all(value is not None and (not isinstance(value, str) or value.strip()) for value in values)


def document_summary(record: Record) -> dict[str, Any] | None:
    """The columns ``document`` and ``summary``, as text and answer."""
    if not filled(record, "document", "summary"):
        return None
    return {"text": text(record, "document"), "answer": text(record, "summary")}


def summaries(
    name: str,
    title: str,
    source: PublishedSource,
    fields: Fields,
    slots: Sequence[str],
    templates: tuple[Template, ...],
    collection: str = "flan2021",
) -> TaskSpec:
    """A task that asks for a summary, written freely and measured by ROUGE; its answer is the summary."""
    return TaskSpec(
        name=name,
        cluster="summarization",
        collection=collection,
        title=title,
        source=source,
        fields=fields,
        slots=(*slots, "answer"),
        metric=METRIC,
        other_metrics=OTHER_METRICS,
        predict="generate",
        templates=templates,
    )
