"""The data sets of T0 (Sanh et al. 2022): family, role, published size, and where the hub keeps them.

Families and roles are those of T0's ``datasets.csv``; COPA is in the family that the paper gives
it. Families that FLAN knows too have FLAN's name, so that both collections hold them out together.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Any, Literal

from flan_jax.data.sources.published import PublishedSource, published
from flan_jax.tasks.spec import Record

Role = Literal["", "base", "gpt", "superglue"]
"""Trained on by T0 and all after it (``base``), from T0+ on (``gpt``), by T0++ alone (``superglue``), or never."""

CLUSTERS = {
    "coreference": "coreference",
    "natural language inference": "entailment",
    "paraphrase identification": "paraphrase",
    "closed-book QA": "closed_book_qa",
    "extractive QA": "extractive_qa",
    "multiple-choice QA": "multiple_choice_qa",
    "sentence completion": "sentence_completion",
    "sentiment": "sentiment",
    "structure-to-text": "structure_to_text",
    "summarization": "summarization",
    "topic classification": "topic_classification",
    "word sense disambiguation": "word_disambiguation",
    "bias and fairness": "bias_fairness",
}
"""T0's task family → cluster."""


@dataclasses.dataclass(frozen=True)
class T0Set:
    """A data set of T0.

    Attributes:
        dataset: its name in promptsource.
        subset: its configuration in promptsource.
        hub: its name on the Hugging Face hub.
        family: T0's task family.
        role: since which model it is trained on.
        evaluated: T0 is measured on it.
        train_size: training examples as published.
        train: the upstream split to train on.
        validation: the upstream split to choose a checkpoint on, ``""`` where there is none.
        test: the upstream split that is scored; T0 scores validation splits.
        revision: the hub's; its own conversion to Parquet, because several of these are scripts.
        fields: record → record, where published copies differ.
    """

    dataset: str
    subset: str | None
    hub: str
    family: str = ""
    role: Role = ""
    evaluated: bool = False
    train_size: int = 0
    train: str = "train"
    validation: str = "validation"
    test: str = ""
    revision: str = "refs/convert/parquet"
    fields: Callable[[Record], Record] | None = None

    @property
    def cluster(self) -> str:
        """The cluster that it is held out with."""
        return CLUSTERS[self.family]


def as_on_hub(record: Record) -> dict[str, Any]:
    """A record with the columns of the hub's copy: a label as a number, the spans of a Winograd sentence unfolded."""
    columns = dict(record)
    label = columns.get("label")
    if isinstance(label, bool) or (isinstance(label, str) and label.lstrip("-").isdecimal()):
        columns["label"] = int(label)
    target = columns.get("target")
    if isinstance(target, dict) and "span1_text" in target:
        columns.update(target)
    return columns


def _trained(
    role: Role, family: str, dataset: str, subset: str | None, hub: str, size: int, validation: str = "validation"
) -> T0Set:
    return T0Set(dataset, subset, hub, family, role, train_size=size, validation=validation, fields=as_on_hub)


def _scored(
    family: str, dataset: str, subset: str | None, hub: str, size: int = 0, role: Role = "", train: str = "train"
) -> T0Set:
    return T0Set(
        dataset,
        subset,
        hub,
        family,
        role,
        evaluated=True,
        train_size=size,
        train=train,
        validation="",
        test="validation",
        fields=as_on_hub,
    )


def _bias(dataset: str, subset: str | None, hub: str, test: str) -> T0Set:
    return T0Set(dataset, subset, hub, "bias and fairness", train="", validation="", test=test, fields=as_on_hub)


_SETS = (
    _trained("base", "paraphrase identification", "glue", "mrpc", "nyu-mll/glue", 3_668),
    _trained("base", "paraphrase identification", "glue", "qqp", "nyu-mll/glue", 363_846),
    _trained("base", "paraphrase identification", "paws", "labeled_final", "google-research-datasets/paws", 49_401),
    _trained("gpt", "closed-book QA", "ai2_arc", "ARC-Challenge", "allenai/ai2_arc", 1_119),
    _trained("gpt", "closed-book QA", "ai2_arc", "ARC-Easy", "allenai/ai2_arc", 2_251),
    _trained("base", "closed-book QA", "kilt_tasks", "hotpotqa", "facebook/kilt_tasks", 88_869),
    _trained("gpt", "closed-book QA", "trivia_qa", "unfiltered", "mandarjoshi/trivia_qa", 87_622),
    _trained("gpt", "closed-book QA", "web_questions", None, "stanfordnlp/web_questions", 3_778, ""),
    _trained("base", "closed-book QA", "wiki_qa", None, "microsoft/wiki_qa", 20_360),
    _trained("base", "extractive QA", "adversarial_qa", "dbidaf", "UCLNLP/adversarial_qa", 10_000),
    _trained("base", "extractive QA", "adversarial_qa", "dbert", "UCLNLP/adversarial_qa", 10_000),
    _trained("base", "extractive QA", "adversarial_qa", "droberta", "UCLNLP/adversarial_qa", 10_000),
    _trained("base", "extractive QA", "duorc", "SelfRC", "ibm-research/duorc", 60_721),
    _trained("base", "extractive QA", "duorc", "ParaphraseRC", "ibm-research/duorc", 69_524),
    _trained("base", "extractive QA", "ropes", None, "allenai/ropes", 10_924),
    _trained("gpt", "extractive QA", "squad_v2", None, "rajpurkar/squad_v2", 130_319),
    _trained("superglue", "extractive QA", "super_glue", "record", "aps/super_glue", 100_730),
    _trained("base", "extractive QA", "quoref", None, "allenai/quoref", 19_399),
    _trained("base", "multiple-choice QA", "cos_e", "v1.11", "Salesforce/cos_e", 9_741),
    _trained("base", "multiple-choice QA", "cosmos_qa", None, "allenai/cosmos_qa", 25_262),
    _trained("base", "multiple-choice QA", "dream", None, "dataset-org/dream", 6_116),
    _trained("gpt", "multiple-choice QA", "openbookqa", "main", "allenai/openbookqa", 4_957),
    _trained("base", "multiple-choice QA", "qasc", None, "allenai/qasc", 8_134),
    _trained("base", "multiple-choice QA", "quail", None, "textmachinelab/quail", 10_246),
    _trained("base", "multiple-choice QA", "quarel", None, "community-datasets/quarel", 1_941),
    _trained("base", "multiple-choice QA", "quartz", None, "allenai/quartz", 2_696),
    _trained("gpt", "multiple-choice QA", "race", "high", "ehovy/race", 62_445),
    _trained("gpt", "multiple-choice QA", "race", "middle", "ehovy/race", 25_421),
    _trained("base", "multiple-choice QA", "sciq", None, "allenai/sciq", 11_679),
    _trained("base", "multiple-choice QA", "social_i_qa", None, "allenai/social_i_qa", 33_410),
    _trained("superglue", "multiple-choice QA", "super_glue", "boolq", "aps/super_glue", 9_427),
    _trained("superglue", "multiple-choice QA", "super_glue", "multirc", "aps/super_glue", 27_243),
    _trained("base", "multiple-choice QA", "wiki_hop", "original", "QAngaroo/wiki_hop", 43_738),
    _trained("base", "multiple-choice QA", "wiqa", None, "allenai/wiqa", 29_808),
    _trained("gpt", "multiple-choice QA", "piqa", None, "ybisk/piqa", 16_113),
    _trained("base", "sentiment", "amazon_polarity", None, "fancyzhx/amazon_polarity", 3_600_000, ""),
    _trained("base", "sentiment", "app_reviews", None, "sealuzh/app_reviews", 288_065, ""),
    _trained("base", "sentiment", "imdb", None, "stanfordnlp/imdb", 25_000, ""),
    _trained("base", "sentiment", "rotten_tomatoes", None, "cornell-movie-review-data/rotten_tomatoes", 8_530),
    _trained("base", "sentiment", "yelp_review_full", None, "Yelp/yelp_review_full", 650_000, ""),
    _trained("base", "structure-to-text", "common_gen", None, "allenai/common_gen", 67_389),
    _trained("base", "structure-to-text", "wiki_bio", None, "michaelauli/wiki_bio", 582_659),
    _trained("base", "summarization", "cnn_dailymail", "3.0.0", "abisee/cnn_dailymail", 287_113),
    _trained("base", "summarization", "gigaword", None, "Harvard/gigaword", 3_803_957),
    _trained("base", "summarization", "multi_news", None, "alexfabbri/multi_news", 44_972),
    _trained("base", "summarization", "samsum", None, "Samsung/samsum", 14_732),
    _trained("base", "summarization", "xsum", None, "EdinburghNLP/xsum", 204_045),
    _trained("base", "topic classification", "ag_news", None, "fancyzhx/ag_news", 120_000, ""),
    _trained("base", "topic classification", "dbpedia_14", None, "fancyzhx/dbpedia_14", 560_000, ""),
    _trained("base", "topic classification", "trec", None, "CogComp/trec", 5_452, ""),
    _scored("coreference", "super_glue", "wsc.fixed", "aps/super_glue", 554, "superglue"),
    _scored("coreference", "winogrande", "winogrande_xl", "allenai/winogrande", 40_398),
    _scored("natural language inference", "super_glue", "cb", "aps/super_glue", 250),
    _scored("natural language inference", "super_glue", "rte", "aps/super_glue", 2_490),
    # The conversion goes by the names of splits, and knows none that are called after a round.
    dataclasses.replace(_scored("natural language inference", "anli", None, "facebook/anli", 162_865), revision="main"),
    _scored("sentence completion", "super_glue", "copa", "aps/super_glue", 400, "superglue"),
    _scored("sentence completion", "story_cloze", "2016", "LSDSem/story_cloze", train=""),
    _scored("sentence completion", "hellaswag", None, "Rowan/hellaswag", 39_905, "gpt"),
    _scored("word sense disambiguation", "super_glue", "wic", "aps/super_glue", 5_428, "superglue"),
    _bias("crows_pairs", None, "nyu-mll/crows_pairs", "test"),
    _bias("super_glue", "axg", "aps/super_glue", "test"),
    *(
        _bias("wino_bias", f"type{kind}_{side}", "uclanlp/wino_bias", "validation")
        for kind in (1, 2)
        for side in ("anti", "pro")
    ),
)

T0_SETS: dict[tuple[str, str | None], T0Set] = {(data.dataset, data.subset): data for data in _SETS}
"""(data set, subset) as in promptsource → what T0 does with it."""

ANLI_ROUNDS = ("r1", "r2", "r3")
"""T0 measures ANLI round by round; its splits are ``train_r1``, ``dev_r1``, …"""

LEFT_OUT: dict[tuple[str, str | None], tuple[str, ...]] = {("gigaword", None): ("summarize_",)}
"""Templates that T0 does not use, by their name with everything but letters, digits and dots as ``_``."""


def task_name(dataset: str, subset: str | None = None) -> str:
    """Names the task of a data set: ``p3_super_glue_rte``."""
    return re.sub(r"\W+", "_", "_".join(["p3", dataset, *([subset] if subset else [])])).lower()


def hub_source(data: T0Set, name: str) -> PublishedSource:
    """Makes the source: the hub's data set, or a local folder called like the task ``name`` or the data set."""
    folders = [name, name.removeprefix("p3_")]
    if name == task_name(data.dataset, data.subset):
        alone = sum(dataset == data.dataset for dataset, _ in T0_SETS) == 1
        folders.append(data.dataset if alone or not data.subset else data.subset.removesuffix(".fixed"))
    return published(
        data.hub,
        data.subset,
        revision=data.revision,
        train=data.train or None,
        validation=data.validation or None,
        test=data.test or None,
        sizes={data.train: data.train_size} if data.train and data.train_size else None,
        folders=tuple(dict.fromkeys(folders)),
        train_limit=max(data.train_size, 1_000_000),
    )
