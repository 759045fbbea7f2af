"""Comparing one answer with one reference: normalisations and scores from 0 to 1, standard library and NumPy only."""

import collections
import re
import string

import numpy as np

_DROPPED = str.maketrans("", "", string.punctuation)
# TriviaQA puts a space where a mark was, and knows some quotation marks beyond ASCII.
_SPACED = str.maketrans(dict.fromkeys(string.punctuation + "‘’´`", " "))
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_ANSWER_MARK = re.compile(r"\banswer(?:\s+is\b|\s*:)\s*:?", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n")
_NUMBER = re.compile(r"(?<![\w.])-?(?:\d[\d,]*)?\.?\d+")


def normalize(text: str) -> str:
    """Lower case, ASCII punctuation removed, white space closed up; articles stay.

    This is how the Super-NaturalInstructions benchmark compares answers.

    >>> normalize(" The  answer: it's B. ")
    'the answer its b'
    """
    return " ".join(text.lower().translate(_DROPPED).split())


def normalize_squad(text: str) -> str:
    """As SQuAD compares answers: ``normalize`` without articles (Rajpurkar et al. 2016).

    >>> normalize_squad("The well-known cat.")
    'wellknown cat'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_DROPPED)).split())


def normalize_trivia_qa(text: str) -> str:
    """As TriviaQA compares answers: punctuation gives way to spaces, articles go (Joshi et al. 2017).

    >>> normalize_trivia_qa("The well-known cat_food.")
    'well known cat food'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_SPACED)).split())


def accuracy(prediction: str, reference: str) -> float:
    """1 for the very text."""
    return float(prediction == reference)


def exact_match(prediction: str, reference: str) -> float:
    """1 for texts that ``normalize`` makes equal."""
    return float(normalize(prediction) == normalize(reference))


def squad_em(prediction: str, reference: str) -> float:
    """1 for texts that SQuAD's normalisation makes equal."""
    return float(normalize_squad(prediction) == normalize_squad(reference))


def squad_f1(prediction: str, reference: str) -> float:
    """SQuAD's F1 over bags of words; two empty answers agree, as in SQuAD 2.0, where they mean that there is none."""
    predicted, expected = normalize_squad(prediction), normalize_squad(reference)
    return _bag_f1(predicted, expected) if predicted and expected else float(predicted == expected)


def record_f1(prediction: str, reference: str) -> float:
    """F1 over bags of words as ReCoRD's script has it (Zhang et al. 2018): SQuAD's, but 0 without a shared word."""
    return _bag_f1(normalize_squad(prediction), normalize_squad(reference))


def trivia_qa_em(prediction: str, reference: str) -> float:
    """1 for texts that TriviaQA's normalisation makes equal."""
    return float(normalize_trivia_qa(prediction) == normalize_trivia_qa(reference))


def trivia_qa_f1(prediction: str, reference: str) -> float:
    """TriviaQA's F1 over bags of words; without a shared word it is 0."""
    return _bag_f1(normalize_trivia_qa(prediction), normalize_trivia_qa(reference))


def _bag_f1(predicted: str, expected: str) -> float:
    ours, theirs = collections.Counter(predicted.split()), collections.Counter(expected.split())
    shared = (ours & theirs).total()
    return 2 * shared / (ours.total() + theirs.total()) if shared else 0.0


def levenshtein(first: str, second: str) -> int:
    """The least number of characters to insert, delete or replace that turns one text into the other.

    >>> levenshtein("kitten", "sitting")
    3
    """
    if len(first) > len(second):  # as few rows as can be
        first, second = second, first
    letters = np.frombuffer(second.encode("utf-32-le", "surrogatepass"), np.uint32)
    steps = np.arange(len(letters) + 1)
    row = steps
    for done, letter in enumerate(map(ord, first), start=1):
        other = np.minimum(row[1:] + 1, row[:-1] + (letters != letter))
        # Insertions run along the row: each is one more than its left neighbour at most.
        row = np.minimum.accumulate(np.concatenate(([done], other)) - steps) + steps
    return int(row[-1])


def edit_similarity(prediction: str, reference: str) -> float:
    """1 − Levenshtein distance in characters / length of the longer text; two empty texts agree.

    >>> edit_similarity("abcd", "abed")
    0.75
    """
    longer = max(len(prediction), len(reference))
    return 1 - levenshtein(prediction, reference) / longer if longer else 1.0


def final_answer(prediction: str, reference: str) -> float:
    """1 where a chain of thought ends in the reference's answer.

    The answer is what follows the last "answer is" or "answer:", up to the end of its sentence,
    or the whole text where neither occurs; in the reference, likewise. Where the reference's is a
    number, the last number of the answer is compared with it as a number; otherwise the texts are
    compared as ``exact_match`` compares them.

    >>> final_answer("Two and two are four. The answer is $4.00 in all.", "4")
    1.0
    """
    (first, whole), (_, theirs) = _final(prediction), _final(reference)
    expected = _as_number(theirs)
    if expected is not None:
        found = [_as_number(number) for number in _NUMBER.findall(first)]
        return float(bool(found) and found[-1] == expected)
    # "U.S. history" has a stop inside, so all that follows the mark may match too.
    return float(normalize(theirs) in (normalize(first), normalize(whole)))


def _final(text: str) -> tuple[str, str]:
    """The sentence with the answer, and all from there to the end."""
    marks = list(_ANSWER_MARK.finditer(text))
    if not marks:
        return text, text
    rest = text[marks[-1].end() :].strip()
    return _SENTENCE_END.split(rest, maxsplit=1)[0], rest


def _as_number(text: str) -> float | None:
    """The number that a text is, currency, thousands separators and a final stop aside."""
    bare = text.strip().rstrip(".%").lstrip("$€£").replace(",", "")
    return float(bare) if re.fullmatch(r"-?\d*\.?\d+", bare) else None
