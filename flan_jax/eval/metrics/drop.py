"""DROP's exact match and F1 of one answer with one reference (Dua et al. 2019), as the official evaluation has them.

Words are split at spaces and hyphens; numbers are compared by value and keep their punctuation; a reference with a
number needs that number in the answer. An answer is one span: a reference of several spans is their text.
"""

import re

from flan_jax.eval.metrics.string_metrics import _ARTICLES, _DROPPED

_BETWEEN = re.compile("[ -]")


def drop_em(prediction: str, reference: str) -> float:
    """1 for texts that DROP's normalization makes equal; an empty reference is no answer, and nothing matches it."""
    return float(bool(reference.strip()) and normalize_drop(prediction) == normalize_drop(reference))


def drop_f1(prediction: str, reference: str) -> float:
    """F1 over sets of words, 0 without the reference's number, rounded to two digits as the official script does."""
    predicted, expected = set(normalize_drop(prediction).split()), set(normalize_drop(reference).split())
    numbers = {word for word in expected if _is_number(word)}
    if not reference.strip() or (numbers and not numbers & predicted):
        return 0.0
    shared = len(predicted & expected)
    precision = shared / len(predicted) if predicted else 1.0
    recall = shared / len(expected) if expected else 1.0
    return round(2 * precision * recall / (precision + recall), 2) if precision + recall else 0.0


def normalize_drop(text: str) -> str:
    """As DROP compares answers.

    >>> normalize_drop("The 3-yard, 20.0 Touchdown!")
    '3.0 yard 20.0 touchdown'
    """
    words = (_word(word.lower()) for word in _BETWEEN.split(text))
    return " ".join(word for word in words if word)


def _word(word: str) -> str:
    bare = word if _is_number(word) else word.translate(_DROPPED)
    return " ".join(_ARTICLES.sub(" ", str(float(bare)) if _is_number(bare) else bare).split())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
