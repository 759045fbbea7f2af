"""Answers that a text states at its end, as benchmarks with a chain of thought are scored; standard library only.

What is compared is taken out of the text first: what stands behind its last "answer is". A text that states none is wrong,
whatever it says before.
"""

import re

_STATED = re.compile(r"\banswer is\b:?", re.IGNORECASE)
_LETTER = re.compile(r"\(([A-Za-z])\)|\b([A-Z])\b")
_NUMBER = re.compile(r"-?(?:\d[\d,]*)?\.?\d+")


def stated(text: str) -> str | None:
    """Returns what stands behind the last "answer is", to the end of its line; ``None`` where nothing is stated.

    >>> stated("It is 2 + 2 = 4. So the answer is 4.")
    '4.'
    """
    *_, last = [None, *_STATED.finditer(text)]
    if last is None:
        return None
    rest = text[last.end() :].strip()
    return rest.split("\n", 1)[0].strip()


def stripped_match(prediction: str, reference: str) -> float:
    """1 for texts that are equal but for white space around them."""
    return float(prediction.strip() == reference.strip())


def stated_answer(prediction: str, reference: str) -> float:
    """1 where the stated answer is the reference to the letter, one full stop behind it aside (BIG-Bench Hard).

    >>> stated_answer("First it opens. So the answer is ] ) ).", "] ) )")
    1.0
    """
    found = stated(prediction)
    return float(found is not None and found.removesuffix(".").strip() == reference.strip())


def choice_answer(prediction: str, reference: str) -> float:
    """1 where the stated answer names the reference's letter first: "(C)", or "C" by itself (MMLU with reasons).

    >>> choice_answer("All of them do. The answer is (C).", "(C)")
    1.0
    """
    found, wanted = (None if text is None else _LETTER.search(text) for text in (stated(prediction), reference))
    return float(found is not None and wanted is not None and _letter(found) == _letter(wanted))


def _letter(found: re.Match[str]) -> str:
    return (found[1] or found[2]).upper()


def stated_number(prediction: str, reference: str) -> float:
    """1 where the first number of the stated answer is the reference's (GSM8K, Wei et al. 2022).

    >>> stated_number("He has 10 - 4 = 6 left. The answer is $6.00.", "6")
    1.0
    """
    return _same_number(_NUMBER.findall(stated(prediction) or "")[:1], reference)


def last_number(prediction: str, reference: str) -> float:
    """1 where the last number of the text is the reference's, stated or not."""
    return _same_number(_NUMBER.findall(prediction)[-1:], reference)


def _same_number(found: list[str], reference: str) -> float:
    wanted = _NUMBER.findall(reference)[-1:]
    return float(bool(found and wanted) and float(found[0].replace(",", "")) == float(wanted[0].replace(",", "")))
