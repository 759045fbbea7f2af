"""Prompts of benchmarks as tokens that a model reads: solved examples that do not fit are left out from the end, and counted."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from flan_jax.data.benchmarks.benchmark import BenchmarkTask, Question
from flan_jax.data.benchmarks.shots import ShotChooser
from flan_jax.data.chat.prompts import ChatPrompts
from flan_jax.data.tokenizers.protocol import Vocabulary
from flan_jax.eval.examples import EvalExample
from flan_jax.tasks.rendering.fewshot import count_that_fit


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
    prompts = [
        _prompt(task, [shot.text for shot in own.shots], question)
        for own, question in zip(chosen, task.questions, strict=True)
    ]
    fit = Fit(len(prompts), fewest=shots)
    examples = []
    for question, own, text, ids in zip(task.questions, chosen, prompts, reader.read(prompts), strict=True):
        fit.leaks += own.leaks > 0
        fit.lacking += len(own.shots) < shots
        if len(ids) > reader.room:
            text, ids = _fitted(task, [shot.text for shot in own.shots], question, reader, fit)
        examples.append(
            EvalExample(
                inputs=ids,
                options=question.options,
                references=question.references,
                example_id=question.example_id,
                template_id=question.order,
                inputs_text=text,
            )
        )
    return examples, fit


def _prompt(task: BenchmarkTask, shots: Sequence[str], question: Question) -> str:
    return "".join([task.preamble, *shots, question.text])


def _fitted(
    task: BenchmarkTask, shots: Sequence[str], question: Question, reader: PromptReader, fit: Fit
) -> tuple[str, np.ndarray]:
    """The prompt with as many solved examples as fit; with none and cut, where that is too long."""

    def prompt(solved: Sequence[tuple[str, str]]) -> str:
        return _prompt(task, [text for text, _ in solved], question)

    kept = count_that_fit(
        [(shot, "") for shot in shots], prompt, lambda text: len(reader.read([text])[0]) <= reader.room
    )
    text = _prompt(task, shots[:kept], question)
    (ids,) = reader.read([text])
    if len(ids) > reader.room:
        fit.cut += 1
        ids = reader.read_cut(text)
    if shots:
        fit.shortened += 1
        fit.dropped += len(shots) - kept
        fit.fewest = min(fit.fewest, kept)
    return text, ids
