"""Prompts of benchmarks as tokens that a model reads: solved examples that do not fit are left out from the end, and counted."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from flan_jax.data.benchmarks.benchmark import BenchmarkTask, Question
from flan_jax.data.benchmarks.shots import ShotChooser
from flan_jax.data.chat.prompts import ChatPrompts
from flan_jax.data.tokenizers.protocol import Vocabulary
from flan_jax.eval.examples import EvalExample
from flan_jax.tasks.rendering.option_orders import OptionOrder


@dataclasses.dataclass(frozen=True)
class PromptReader:
    """Turns a prompt's text into the ids that a model reads.

    Attributes:
        vocabulary: text to ids.
        room: tokens of the longest prompt, its end counted.
        end: [length] ids behind a prompt, as in training; none where a decoder goes on with the answer at once.
        chat: puts a prompt into a user's turn; ``None`` for no turns.
    """

    vocabulary: Vocabulary
    room: int
    end: tuple[int, ...] = ()
    chat: ChatPrompts | None = None

    @property
    def continues(self) -> bool:
        """True where an answer follows the prompt's last word in the same text, so that a space belongs to it."""
        return not self.end and self.chat is None

    def read(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Encodes prompts with what ends them, [length] int32 each, of any length."""
        if self.chat is not None:
            return [self.chat.prompt(text) for text in texts]
        end = np.array(self.end, np.int32)
        return [np.concatenate([ids, end]).astype(np.int32) for ids in self.vocabulary.encode_arrays(texts)]

    def read_cut(self, text: str) -> np.ndarray:
        """Encodes a prompt that is too long, cut to the room: its last words, as they ask, or the first of a user's turn."""
        if self.chat is not None:
            return self.chat.prompt_within(text, self.room)
        return np.concatenate([self.vocabulary.encode(text)[-(self.room - len(self.end)) :], self.end]).astype(np.int32)

    def answer_ids(self, answer: str) -> tuple[int, ...]:
        """Encodes an answer as it stands behind a prompt, without what ends it."""
        if self.chat is not None:
            return tuple(map(int, self.chat.reply(answer)))
        if not self.continues:
            return tuple(self.vocabulary.encode(answer))
        # Some tokenizers put a space before every text, so an answer is read behind a word and that taken off.
        before, whole = (self.vocabulary.encode(text) for text in ("Answer:", f"Answer: {answer}"))
        if whole[: len(before)] == before and len(whole) > len(before):
            return tuple(whole[len(before) :])
        return tuple(self.vocabulary.encode(f" {answer}"))


@dataclasses.dataclass
class Fit:
    """Counts of what did not fit or was passed over, in questions.

    Attributes:
        questions: in all, an order of the options counted as one.
        shortened: asked with fewer solved examples than wanted, since more do not fit.
        dropped: solved examples left out for that, in all.
        fewest: the fewest that a question kept.
        cut: too long by themselves.
        leaks: with a solved example that asks the same, which was passed over.
        lacking: asked with fewer than wanted, since the others ask the same.
    """

    questions: int = 0
    shortened: int = 0
    dropped: int = 0
    fewest: int = 0
    cut: int = 0
    leaks: int = 0
    lacking: int = 0

    def notes(self, shots: int, room: int, *, chat: bool) -> tuple[str, ...]:
        """Says in sentences what happened; nothing where nothing did."""
        of = f"of {self.questions} questions"
        lines = []
        if self.shortened:
            lines.append(
                f"{self.shortened} {of} are asked with fewer than {shots} solved examples, {self.fewest} at the fewest, as "
                f"more do not fit {room} tokens; {self.dropped} were left out, the last first."
            )
        if self.cut:
            part = (
                "a part of their words, since they have more"
                if chat
                else "their last words alone, since they have more"
            )
            lines.append(f"{self.cut} {of} are asked with {part} than {room} tokens by themselves.")
        if self.leaks:
            lines.append(f"{self.leaks} {of} are asked among the solved examples too, where they were passed over.")
        if self.lacking:
            lines.append(f"{self.lacking} {of} have fewer than {shots} solved examples that ask something else.")
        return tuple(lines)


def read_questions(
    task: BenchmarkTask, chooser: ShotChooser, shots: int, reader: PromptReader
) -> tuple[list[EvalExample], Fit]:
    """Turns the questions of a task into examples.

    Args:
        task: of a benchmark.
        chooser: of its solved examples.
        shots: how many are wanted.
        reader: of prompts.
    """
    chosen = [chooser(question) for question in task.questions]
    solved = [[shot.text for shot in own.shots] for own in chosen]
    fit = Fit(
        len(chosen),
        fewest=shots,
        leaks=sum(own.leaks > 0 for own in chosen),
        lacking=sum(len(own.shots) < shots for own in chosen),
    )
    prompts = [_prompt(task, own, question) for own, question in zip(solved, task.questions, strict=True)]
    ids = reader.read(prompts)
    for place, kept in _counts_that_fit(task, solved, [len(own) <= reader.room for own in ids], reader).items():
        prompts[place] = _prompt(task, solved[place][:kept], task.questions[place])
        (ids[place],) = reader.read([prompts[place]])
        if len(ids[place]) > reader.room:
            fit.cut += 1
            ids[place] = reader.read_cut(prompts[place])
        if solved[place]:
            fit.shortened += 1
            fit.dropped += len(solved[place]) - kept
            fit.fewest = min(fit.fewest, kept)
    reordered = any(question.order for question in task.questions)
    examples = [
        EvalExample(
            inputs=own,
            options=question.options,
            references=question.references,
            example_id=question.example_id,
            template_id=question.order,
            option_order=OptionOrder(question.order, question.places) if reordered else None,
            inputs_text=text,
        )
        for question, text, own in zip(task.questions, prompts, ids, strict=True)
    ]
    return examples, fit


def _prompt(task: BenchmarkTask, shots: Sequence[str], question: Question) -> str:
    return "".join([task.preamble, *shots, question.text])


def _counts_that_fit(
    task: BenchmarkTask, solved: Sequence[Sequence[str]], fits: Sequence[bool], reader: PromptReader
) -> dict[int, int]:
    """Counts, for each question that does not fit whole, the solved examples that do, from the first on.

    By bisection of all questions at once: one call of the tokenizer takes many texts much faster than many calls.

    Args:
        task: of the questions.
        solved: the solved examples of each.
        fits: whether a question fits with all of them.
        reader: of prompts.
    """
    # The greatest number that fits is in [low, high); 0 is taken where none does.
    low = {place: 0 for place, whole in enumerate(fits) if not whole}
    high = {place: len(solved[place]) for place in low}
    while pending := [place for place in low if low[place] < high[place]]:
        middle = {place: (low[place] + high[place]) // 2 for place in pending}
        texts = [_prompt(task, solved[place][: middle[place]], task.questions[place]) for place in pending]
        for place, ids in zip(pending, reader.read(texts), strict=True):
            if len(ids) <= reader.room:
                low[place] = middle[place] + 1
            else:
                high[place] = middle[place]
    return {place: max(number - 1, 0) for place, number in low.items()}
