"""What is too near to be trained on beside what is held out, across all collections.

FLAN's own exclusions are those of ``mixtures.flan2021.collection``. A cluster has other names in the
other collections: entailment is ``cot_entailment`` among the chains of thought and
``textual_entailment`` in Super-NaturalInstructions. Holding one of them out drops the others.
"""

import dataclasses
import itertools
from collections.abc import Iterable

from flan_jax.mixing.mixture import Mixture
from flan_jax.tasks.spec import TaskSpec
from mixtures.flan2021 import collection

SAME_SKILL: tuple[tuple[str, ...], ...] = (
    ("entailment", "cot_entailment", "textual_entailment", "natural_language_inference"),
    ("paraphrase", "paraphrasing", "paraphrase_identification", "text_matching"),
    (
        "common_sense",
        "cot_commonsense",
        "commonsense_classification",
        "cause_effect_classification",
        "sentence_completion",
    ),
    ("open_domain_qa", "cot_facts", "cot_science", "closed_book_qa"),
    ("reading_comprehension", "cot_reading", "extractive_qa", "answerability_classification"),
    ("coreference", "coreference_resolution"),
    ("sentiment", "sentiment_analysis"),
    ("math", "cot_math", "mathematics"),
    ("structure_to_text", "data_to_text", "structured_data_to_text"),
    ("word_disambiguation", "word_semantics", "word_sense_disambiguation"),
    ("linguistic_acceptability", "grammar_error_detection", "grammar_error_correction"),
    ("question_classification", "question_understanding"),
    ("topic_classification", "text_categorization"),
    ("ner", "named_entity_recognition"),
    ("question_rewriting", "disfluency_correction"),
)
"""Clusters that ask for the same, under the names of different collections."""


def _across(pair: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    """A pair of FLAN's, for every name that its two clusters have."""
    one, other = (next((names for names in SAME_SKILL if cluster in names), (cluster,)) for cluster in pair)
    return tuple(itertools.product(one, other))


PAPER_NAMES: dict[str, tuple[str, ...]] = {
    "natural_language_inference": ("entailment",),
    "commonsense": ("common_sense",),
    "closed_book_qa": ("open_domain_qa",),
    "struct_to_text": ("structure_to_text",),
    "reading_comprehension_with_commonsense": ("read_comp_and_common_sense",),
    "miscellaneous": collection.PAPER_CLUSTERS["miscellaneous"],
}
"""The paper's name of a cluster → what the public code calls it: a cluster, or the tasks of several."""


def named(mixture: Mixture, names: Iterable[str]) -> tuple[str, ...]:
    """Clusters and tasks of ``mixture``, the paper's names of clusters among them put into the public code's."""
    clusters = {task.cluster for task in mixture.all_tasks}
    specs = {task.spec_name for task in mixture.all_tasks}
    found: list[str] = []
    for name in names:
        meant = [other for other in PAPER_NAMES.get(name, ()) if other in clusters | specs]
        found += meant if meant and name not in clusters | specs else [name]
    return tuple(dict.fromkeys(found))


WINOGRAD, SQUAD = "winograd schemas", "squad passages"
MADE_FROM: dict[str, str] = {
    "wnli": WINOGRAD,
    "wsc": WINOGRAD,
    "wsc273": WINOGRAD,
    "squad_v1": SQUAD,
    "squad_v2": SQUAD,
    "xquad_en": SQUAD,
    "disfl_qa": SQUAD,
}
"""Task → the texts it is made from, where data sets of different names share them. FLAN trains on WSC with WNLI held out."""


def origins(spec: TaskSpec) -> frozenset[str]:
    """The data sets of a task, the texts that these are made from, and the very source: a task's inversion has it too."""
    shared = {MADE_FROM[spec.name]} if spec.name in MADE_FROM else set()
    return spec.source.origins() | shared | {spec.source.describe()}


RULES = dataclasses.replace(
    collection.RULES,
    origins=origins,
    related=(
        *(pair for names in SAME_SKILL for pair in itertools.combinations(names, 2)),
        *(pair for related in collection.RULES.related for pair in _across(related)),
    ),
)
"""FLAN's exclusions and siblings, with the names of every collection, and what is known to share its texts."""
