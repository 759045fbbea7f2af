"""Flan 2021 as a whole: its clusters in their published order, and its mixtures.

The public code has 17 clusters and 69 tasks; the paper (Wei et al. 2022, arXiv:2109.01652, figure 3)
shows 62 data sets in 12 clusters. Tasks train at the rate min(examples, 3,000).
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from flan_jax.mixing.holdout import (
    Holdout,
    HoldoutRules,
    diversity,
    hold_out_clusters,
    hold_out_tasks,
    intra_cluster,
    scored,
)
from flan_jax.mixing.mixture import Entry, Mixture, Suite, register_mixture
from flan_jax.mixing.policies import Proportional
from flan_jax.tasks.catalog import TASKS
from flan_jax.tasks.spec import Prompted, PromptMode, TaskSpec

NAME = "flan2021"
RATE_CAP = 3000
"""A task's rate in training is its number of examples, 3,000 at most."""

CLUSTERS: dict[str, tuple[str, ...]] = {
    "summarization": (
        "aeslc",
        "cnn_dailymail",
        "gigaword",
        "multi_news",
        "newsroom",
        "samsum",
        "xsum",
        "ag_news_subset",
        "opinion_abstracts_rotten_tomatoes",
        "opinion_abstracts_idebate",
        "wiki_lingua_english_en",
    ),
    "structure_to_text": ("web_nlg_en", "common_gen", "e2e_nlg", "dart"),
    "reading_comprehension": ("squad_v1", "squad_v2", "drop", "multirc", "openbookqa", "bool_q"),
    "open_domain_qa": ("trivia_qa", "natural_questions", "arc_challenge", "arc_easy"),
    "paraphrase": ("glue_mrpc", "glue_qqp", "paws_wiki", "stsb"),
    "sentiment": ("imdb_reviews", "sentiment140", "yelp_polarity_reviews", "sst2"),
    "text_formatting": ("true_case", "fix_punct", "word_segment"),
    "common_sense": ("copa", "hellaswag", "story_cloze", "piqa"),
    "translation": (
        "para_crawl_enes",
        "wmt14_enfr",
        "wmt16_translate_deen",
        "wmt16_translate_tren",
        "wmt16_translate_csen",
        "wmt16_translate_fien",
        "wmt16_translate_roen",
        "wmt16_translate_ruen",
    ),
    "coreference": ("definite_pronoun_resolution", "winogrande", "wsc"),
    "entailment": (
        "anli_r1",
        "anli_r2",
        "anli_r3",
        "cb",
        "rte",
        "mnli_matched",
        "mnli_mismatched",
        "qnli",
        "wnli",
        "snli",
    ),
    "math": ("math_dataset",),
    "conversational_qa": ("quac", "coqa"),
    "word_disambiguation": ("wic",),
    "linguistic_acceptability": ("cola",),
    "question_classification": ("trec",),
    "read_comp_and_common_sense": ("record", "cosmos_qa"),
}
"""The 17 clusters of the public code."""

_MISCELLANEOUS = ("math", "conversational_qa", "word_disambiguation", "linguistic_acceptability")
PAPER_CLUSTERS: dict[str, tuple[str, ...]] = {
    "natural_language_inference": CLUSTERS["entailment"],
    "commonsense": CLUSTERS["common_sense"],
    "sentiment": CLUSTERS["sentiment"],
    "paraphrase": CLUSTERS["paraphrase"],
    "closed_book_qa": CLUSTERS["open_domain_qa"],
    "struct_to_text": CLUSTERS["structure_to_text"],
    "reading_comprehension": CLUSTERS["reading_comprehension"],
    "reading_comprehension_with_commonsense": CLUSTERS["read_comp_and_common_sense"],
    "coreference": CLUSTERS["coreference"],
    "miscellaneous": (
        *(task for cluster in _MISCELLANEOUS for task in CLUSTERS[cluster]),
        *CLUSTERS["question_classification"],
        "fix_punct",
    ),
    "summarization": CLUSTERS["summarization"],
    "translation": CLUSTERS["translation"],
}
"""The paper's 12 clusters. It has no truecasing and no word segmentation."""

SUPERGLUE = ("bool_q", "cb", "copa", "multirc", "record", "rte", "wic", "wsc")
SUPERGLUE_TEMPLATES = (1, 2, 4, 7, 10)
"""How many templates the runs of the ablation that holds SuperGLUE out train with."""
DIVERSITY_TEST = ("entailment", "common_sense", "open_domain_qa")
DIVERSITY_TRAIN = (
    "summarization",
    "translation",
    "reading_comprehension",
    "sentiment",
    "structure_to_text",
    "coreference",
    "conversational_qa",
    "paraphrase",
)
"""The order in which the ablation adds clusters: by number of tasks."""
DIVERSITY_CLUSTERS = range(1, 8)
TASKS_PER_CLUSTER = range(1, 5)
INTRA_CLUSTER_SPLITS = range(10)

RULES = HoldoutRules(
    related=(
        ("reading_comprehension", "read_comp_and_common_sense"),
        ("common_sense", "read_comp_and_common_sense"),
        ("paraphrase", "entailment"),
    ),
    siblings=(
        ("opinion_abstracts_rotten_tomatoes", "opinion_abstracts_idebate"),
        ("squad_v1", "squad_v2"),
        ("arc_challenge", "arc_easy"),
        ("anli_r1", "anli_r2", "anli_r3"),
        ("mnli_matched", "mnli_mismatched"),
    ),
)
"""FLAN's: which clusters drop each other, and which tasks count as one.

``mixtures.rules`` adds what FLAN does not ask: whether two tasks are made from the same texts. The
named splits here are FLAN's own, so the audit before a run may refuse one: WNLI, held out, has
records of WSC, which FLAN trains on.
"""


def specs() -> tuple[TaskSpec, ...]:
    """The 69 tasks in their published order."""
    return tuple(TASKS.get(name) for tasks in CLUSTERS.values() for name in tasks)


def mixture(
    name: str = NAME,
    split: Holdout | None = None,
    *,
    mode: PromptMode = PromptMode.ZS_OPT,
    templates: int | None = None,
) -> Mixture:
    """A mixture over Flan 2021, or over one split of it.

    Args:
        name: of the mixture.
        split: what is trained on and what is held out; ``None`` trains on everything.
        mode: of the prompts, in training and in measuring.
        templates: only the first so many of each task.

    Returns:
        Suites: ``held_in`` (validation records of the trained tasks) and, with a split, ``held_out``.
    """
    trained = specs() if split is None else split.train
    tasks = tuple(_trained(spec, mode, templates) for spec in trained)
    suites: tuple[Suite, ...] = (Suite("held_in", tuple(scored(spec, mode) for spec in trained), split="validation"),)
    if split is not None:
        # Tasks held out of a cluster that is trained on otherwise are unseen, but their cluster is not.
        whole = not {spec.cluster for spec in split.test} & {spec.cluster for spec in trained}
        unseen = tuple(scored(spec, mode) for spec in split.test)
        suites = (Suite("held_out", unseen, split="test", held_out=whole), *suites)
    dropped = () if split is None else split.dropped
    entries = tuple(Entry(task) for task in tasks)
    return Mixture(name, entries, policy=Proportional(cap=RATE_CAP), suites=suites, dropped=dropped)


def _trained(spec: TaskSpec, mode: PromptMode, templates: int | None) -> Prompted:
    if templates is None or templates >= len(spec.templates):
        return Prompted(spec, mode)
    return Prompted(spec, mode, tuple(range(templates)), variant=f"{templates}templates")


def _held_out(name: str, make: Callable[[str, Sequence[TaskSpec]], Holdout], **options: int) -> Mixture:
    return mixture(name, make(name, specs()), **options)  # type: ignore[arg-type]


def _register() -> None:
    register_mixture(NAME, mixture)
    # Without instructions, and with solved examples: the conditions of FLAN's ablation.
    for mode in (PromptMode.NO_TEMPLATE, PromptMode.DATASET_NAME, PromptMode.ZS_NOOPT, PromptMode.FS_OPT):
        register_mixture(f"{NAME}_{mode}", functools.partial(mixture, f"{NAME}_{mode}", mode=mode))

    def add(name: str, make: Callable[..., Holdout], *, templates: int | None = None, **arguments: Any) -> None:
        split = (
            functools.partial(make, rules=RULES, **arguments)
            if make is not diversity
            else functools.partial(make, **arguments)
        )
        options = {} if templates is None else {"templates": templates}
        register_mixture(name, functools.partial(_held_out, name, split, **options))

    for cluster in CLUSTERS:
        add(f"{NAME}_holdout_{cluster}", hold_out_clusters, clusters=(cluster,))
    add(f"{NAME}_holdout_superglue", hold_out_tasks, tasks=SUPERGLUE)
    for count in SUPERGLUE_TEMPLATES[:-1]:
        add(f"{NAME}_holdout_superglue_{count}templates", hold_out_tasks, tasks=SUPERGLUE, templates=count)
    for index in INTRA_CLUSTER_SPLITS:
        add(f"{NAME}_intra_cluster_{index}", intra_cluster, index=index)
    both: dict[str, Any] = {"test_clusters": DIVERSITY_TEST}
    for count in DIVERSITY_CLUSTERS:
        add(f"{NAME}_diversity_{count}", diversity, **both, train_clusters=DIVERSITY_TRAIN[:count])
    for count in TASKS_PER_CLUSTER:
        name, trained = f"{NAME}_tasks_per_cluster_{count}", DIVERSITY_TRAIN[: DIVERSITY_CLUSTERS[-1]]
        add(name, diversity, **both, train_clusters=trained, tasks_per_cluster=count)


_register()
