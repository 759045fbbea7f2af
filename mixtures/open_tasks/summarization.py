"""Summarization beside Flan 2021's: the contribution of a scientific paper in one sentence."""

from typing import Any

from flan_jax.data.sources.published import published
from flan_jax.tasks.catalog import register
from flan_jax.tasks.fields import texts
from flan_jax.tasks.spec import Record, Template
from mixtures.summaries import summaries


def _scitldr(record: Record) -> dict[str, Any]:
    # The abstract is given by the sentence; a paper may have summaries by its authors and by reviewers.
    return {"abstract": " ".join(texts(record, "source")), "answer": texts(record, "target")}


SCITLDR_A = register(
    summaries(
        "scitldr_a",
        "SciTLDR",
        published(
            "allenai/scitldr",
            "Abstract",
            revision="refs/convert/parquet",
            train="train",
            validation="validation",
            test="test",
            sizes={"train": 1_992, "validation": 619, "test": 618},
            folders=("scitldr_a", "scitldr"),
        ),
        _scitldr,
        ("abstract",),
        (
            Template("{abstract}\n\nSum up the contribution of this paper in one sentence."),
            Template("Abstract: {abstract}\n\nTLDR:"),
            Template(
                "A researcher scrolls through a list of new papers and reads one line about each. "
                "Write that line for the paper that has the abstract below.\n\n{abstract}"
            ),
            Template("What is the main idea or finding of this study? {abstract}"),
            Template("Explain in about twenty words what the authors did.\n\n{abstract}"),
            Template(
                "You are reviewing a paper, and your report opens with one sentence on what it is about. "
                "The authors say this: {abstract}\n\nYour sentence:"
            ),
            Template("Compress this scientific abstract into an extremely short summary: {abstract}"),
            Template("{abstract}\n\nIf I remember a single thing about this work, what should it be?"),
            Template(
                "Write the abstract of a paper that can be summed up like this: {answer}", "{abstract}", inverted=True
            ),
            Template(
                "One-line summary of a study: {answer}\n\nThe study as its authors describe it, in a paragraph:",
                "{abstract}",
                inverted=True,
            ),
        ),
        collection="open",
    )
)
