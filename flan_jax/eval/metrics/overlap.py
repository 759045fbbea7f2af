"""Overlap of texts in any language: ROUGE-L over chosen tokens, chrF, METEOR."""

import functools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flan_jax.errors import UserError
from flan_jax.eval.metrics.corpus_metrics import sacrebleu_signature
from flan_jax.eval.metrics.metric import Metric, References, mean_of

_PAIRS = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
_CHRF_ORDERS, _CHRF_BETA = 6, 2
# Scripts that write no spaces between words: Thai to Khmer, kana and signs of Chinese, halfwidth kana.
_ALONE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
# What belongs to the letter before it and is none itself: accents, and the vowels of Indian scripts.
_MARKS = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670\u0900-\u0963\u0980-\u09e3\u0a00-\u0dff\u200c\u200d"
_WORD = rf"[^\W_{_ALONE}]"
_UNICODE_TOKEN = re.compile(rf"[{_ALONE}]|(?:{_WORD}[{_MARKS}]*)+")


def unicode_tokens(text: str) -> list[str]:
    """Splits into words of any script in lower case; signs of scripts without spaces between words one by one.

    >>> unicode_tokens("Привет, мир! 東京 x2")
    ['привет', 'мир', '東', '京', 'x2']
    """
    return _UNICODE_TOKEN.findall(text.lower())


class _Tokens:
    """A tokenizer as rouge_score wants one."""

    def __init__(self, tokenize: Callable[[str], list[str]]) -> None:
        self.tokenize = tokenize


def _rouge_l(scorer: Any, prediction: str, reference: str) -> float:
    return float(scorer.score(target=reference, prediction=prediction)["rougeL"].fmeasure)


def _scorer(tokenize: Callable[[str], list[str]]) -> Any:
    from rouge_score import rouge_scorer

    return rouge_scorer.RougeScorer(["rougeL"], tokenizer=_Tokens(tokenize))


@functools.cache
def _unicode_scorer() -> Any:
    return _scorer(unicode_tokens)


def rouge_l_unicode(prediction: str, reference: str) -> float:
    """ROUGE-L over ``unicode_tokens``, no stemming: for answers in any language where GPT-2's tokenizer is not at hand.

    It is not the published cross-lingual score of Super-NaturalInstructions, which ``rougeL_tokens`` gives.
    """
    return _rouge_l(_unicode_scorer(), prediction, reference)


def rouge_l_tokens(name: str, folder: str) -> Metric:
    """ROUGE-L over the tokens of a byte-level tokenizer, the mark of a space in front of them left out.

    With GPT-2's this is what Super-NaturalInstructions' cross-lingual track is measured by (Wang et al. 2022).

    Args:
        name: the metric's name.
        folder: a tokenizer's folder: ``tokenizer.json``, ``vocab.json`` and ``merges.txt``, or ``encoder.json`` and
            ``vocab.bpe``.

    Raises:
        UserError: none is there.
    """
    tokenizer = _tokenizer(Path(folder).expanduser(), name)

    def tokenize(text: str) -> list[str]:
        return [token.lstrip("Ġ") for token in tokenizer.encode(text, add_special_tokens=False).tokens]

    return mean_of(name, functools.partial(_rouge_l, _scorer(tokenize)))


def _tokenizer(folder: Path, name: str) -> Any:
    from tokenizers import ByteLevelBPETokenizer, Tokenizer

    if (folder / "tokenizer.json").is_file():
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    for vocabulary, merges in _PAIRS:
        if (folder / vocabulary).is_file() and (folder / merges).is_file():
            return ByteLevelBPETokenizer(str(folder / vocabulary), str(folder / merges))
    raise UserError(
        f"Metric {name!r} needs a tokenizer, but {str(folder)!r} has neither tokenizer.json nor vocab.json and merges.txt. "
        "Name a folder that has, or use rougeL_unicode, which needs none."
    )


@functools.cache
def _sacre_chrf() -> Any:
    from sacrebleu.metrics import CHRF

    return CHRF()


def _chrf_statistics(predictions: Sequence[str], references: References) -> np.ndarray:
    """``[n, 18]``: for n-grams of 1 to 6 characters those predicted, expected and matched, of the best reference."""
    rows = [
        _sacre_chrf()._extract_corpus_statistics([prediction], [[text] for text in accepted])[0]
        for prediction, accepted in zip(predictions, references, strict=True)
    ]
    return np.asarray(rows, np.float64).reshape(-1, 3 * _CHRF_ORDERS)


def _chrf(sums: np.ndarray, count: int) -> np.ndarray:
    """chrF (Popović 2015) of summed statistics: precision and recall averaged over the orders that both sides have."""
    parts = sums.reshape(*sums.shape[:-1], _CHRF_ORDERS, 3)
    predicted, expected, matched = parts[..., 0], parts[..., 1], parts[..., 2]
    counted = (predicted > 0) & (expected > 0)
    orders = np.maximum(counted.sum(axis=-1), 1)
    precision = np.where(counted, matched / np.maximum(predicted, 1), 0).sum(axis=-1) / orders
    recall = np.where(counted, matched / np.maximum(expected, 1), 0).sum(axis=-1) / orders
    below = _CHRF_BETA**2 * precision + recall
    return np.where(below > 0, (1 + _CHRF_BETA**2) * precision * recall / np.where(below > 0, below, 1), 0.0)


def _chrf_signature(references: References) -> str:
    from sacrebleu.metrics import CHRF

    return sacrebleu_signature(CHRF(), references)


CHRF = Metric("chrf", _chrf_statistics, _chrf, example_scores=lambda rows: _chrf(rows, 1), signature=_chrf_signature)


@functools.cache
def _wordnet() -> Any:
    from nltk.corpus import wordnet

    try:
        wordnet.ensure_loaded()
    except LookupError as error:
        raise UserError(
            "METEOR compares words by WordNet, which is not on this machine. Fetch it with "
            "`python -m nltk.downloader wordnet`, or name the folder that holds it with NLTK_DATA."
        ) from error
    return wordnet


def meteor(prediction: str, reference: str) -> float:
    """METEOR (Banerjee and Lavie 2005) as NLTK computes it, over words and marks.

    Raises:
        UserError: WordNet is not there.
    """
    wordnet = _wordnet()
    from nltk.tokenize import wordpunct_tokenize
    from nltk.translate.meteor_score import single_meteor_score

    return float(single_meteor_score(wordpunct_tokenize(reference), wordpunct_tokenize(prediction), wordnet=wordnet))
