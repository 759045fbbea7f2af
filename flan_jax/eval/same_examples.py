"""Checks that two lists of predictions are answers to the same examples, and names what differs."""

from collections.abc import Callable, Sequence

from flan_jax.eval.examples import Prediction

_SHOWN = 60

_COMPARED: dict[str, Callable[[Prediction], object]] = {
    "templates": lambda prediction: prediction.template_id,
    "prompts": lambda prediction: prediction.inputs,
    "options": lambda prediction: prediction.options,
    "references": lambda prediction: prediction.references,
    "groups": lambda prediction: prediction.group,
}


def unlike_examples(first: Sequence[Prediction], second: Sequence[Prediction]) -> str:
    """Says in what two lists of predictions differ as to what was asked; ``""`` where they do not.

    The order counts: predictions are compared row by row.
    """
    ids = [[prediction.example_id for prediction in own] for own in (first, second)]
    if ids[0] != ids[1]:
        return _unlike_ids(*ids)
    for what, value in _COMPARED.items():
        unlike = [row for row, (one, other) in enumerate(zip(first, second, strict=True)) if value(one) != value(other)]
        if unlike:
            row = unlike[0]
            shown = " and ".join(_cut(repr(value(own[row]))) for own in (first, second))
            return (
                f"the {what} of {len(unlike):,} of {len(first):,} examples differ "
                f"(example {first[row].example_id}: {shown})"
            )
    return ""


def _unlike_ids(first: Sequence[int], second: Sequence[int]) -> str:
    alone = [len(set(one) - set(other)) for one, other in ((first, second), (second, first))]
    if not any(alone) and len(first) == len(second):
        return f"the {len(first):,} examples are the same, but in another order"
    return (
        f"{len(first):,} and {len(second):,} examples were measured, of which {alone[0]:,} only in the first "
        f"and {alone[1]:,} only in the second"
    )


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
