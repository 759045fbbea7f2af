"""Metrics by name: ``METRICS.get("rougeL")``, or with a parameter ``METRICS.get("f1_of:yes")``.

Scores run from 0 to 1 (correlations from -1), and people see them as per cent.
"""

import functools
from collections.abc import Callable
from typing import Any

from flan_jax.errors import UserError, unknown
from flan_jax.eval.metrics import (
    corpus_metrics,
    drop,
    entity_f1,
    group_metrics,
    overlap,
    stated_answers,
    string_metrics,
)
from flan_jax.eval.metrics.metric import ExampleScore, Metric, mean_of
from flan_jax.tasks.catalog import Registry

Family = Callable[[str, str], Metric]


class Metrics(Registry[Metric]):
    """The metrics, and the families of them that take what follows a colon: ``f1_of:yes``."""

    def __init__(self) -> None:
        super().__init__("metric")
        self._families: dict[str, tuple[Family, str]] = {}

    def add_family(self, name: str, family: Family, example: str) -> None:
        """Registers the metrics ``NAME:PARAMETER``.

        Args:
            name: what stands before the colon.
            family: (whole name, parameter) → metric.
            example: a parameter, for messages.
        """
        self._families[name] = (family, example)

    def get(self, name: str) -> Metric:
        """Returns a registered metric, or makes that of a family.

        Raises:
            UserError: unknown name, or a parameter that the family does not take.
        """
        family, colon, parameter = name.partition(":")
        if name in self or family not in self._families:
            known = [*self, *(f"{other}:{example}" for other, (_, example) in self._families.items())]
            if name not in self:
                raise unknown("metric", name, known)
            return super().get(name)
        make, example = self._families[family]
        if not colon:
            raise UserError(f"Metric {name!r} needs a parameter. Write it as in {family}:{example}.")
        return _made(make, name, parameter)


@functools.cache
def _made(family: Family, name: str, parameter: str) -> Metric:
    return family(name, parameter)


METRICS = Metrics()


def mean_metric(name: str, score: ExampleScore) -> Metric:
    """Registers the mean over examples of the maximum over references of ``score``.

    Args:
        name: the metric's name.
        score: (prediction, reference) → score from 0 to 1.
    """
    return METRICS.add(name, mean_of(name, score))


@functools.cache
def _rouge_scorer(kind: str) -> Any:
    # Imported on first use: it brings NLTK, which takes most of a second.
    from rouge_score import rouge_scorer

    return rouge_scorer.RougeScorer([kind], use_stemmer=True)


def _rouge(kind: str, prediction: str, reference: str) -> float:
    return float(_rouge_scorer(kind).score(target=reference, prediction=prediction)[kind].fmeasure)


def _rouge_lsum(prediction: str, reference: str) -> float:
    """ROUGE-L sentence by sentence; sentences end at line ends and at free-standing stops, as in T5's evaluation."""
    return _rouge("rougeLsum", prediction.replace(" . ", " .\n"), reference.replace(" . ", " .\n"))


for _score in (
    string_metrics.accuracy,
    string_metrics.exact_match,
    string_metrics.squad_em,
    string_metrics.squad_f1,
    string_metrics.record_f1,
    string_metrics.trivia_qa_em,
    string_metrics.trivia_qa_f1,
    string_metrics.edit_similarity,
    string_metrics.final_answer,
    drop.drop_em,
    drop.drop_f1,
    overlap.meteor,
    stated_answers.stripped_match,
    stated_answers.stated_answer,
    stated_answers.choice_answer,
    stated_answers.stated_number,
    stated_answers.last_number,
):
    mean_metric(_score.__name__, _score)
for _kind in ("rouge1", "rouge2", "rougeL"):
    mean_metric(_kind, functools.partial(_rouge, _kind))
mean_metric("rougeLsum", _rouge_lsum)
METRICS.add("bleu", corpus_metrics.bleu("bleu", "13a"))
METRICS.add("bleu_intl", corpus_metrics.bleu("bleu_intl", "intl"))
METRICS.add("chrf", overlap.CHRF)
mean_metric("rougeL_unicode", overlap.rouge_l_unicode)
METRICS.add_family("rougeL_tokens", overlap.rouge_l_tokens, "FOLDER")
METRICS.add("pearson", corpus_metrics.pearson("pearson"))
METRICS.add("spearman", corpus_metrics.spearman("spearman"))
METRICS.add_family("spearman", corpus_metrics.spearman, "0")
METRICS.add_family("pearson", corpus_metrics.pearson, "0")
METRICS.add_family("f1_of", corpus_metrics.f1_of, "yes")
METRICS.add_family("f1a", group_metrics.f1a, "yes")
METRICS.add("group_em", group_metrics.GROUP_EM)
METRICS.add("balanced_accuracy", corpus_metrics.BALANCED_ACCURACY)
METRICS.add("entity_f1", entity_f1.ENTITY_F1)
METRICS.add_family("macro_f1", corpus_metrics.macro_f1, "yes|no")
METRICS.add_family("mcc", corpus_metrics.mcc, "yes")
