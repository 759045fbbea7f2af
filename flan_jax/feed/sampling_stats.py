"""Counts of what was drawn from each task, beside the shares that were asked for."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class SamplingStats:
    """Examples and tokens consumed by task since the run began, over all hosts.

    Attributes:
        names: [tasks] the tasks, in the order of ``decoder_task_ids``.
        expected: [tasks] float64, the examples that the requested shares stand for; where weights
            changed during the run, added up over its parts.
        sizes: [tasks] int64, examples in each task.
        examples: [tasks] int64, examples drawn.
        input_tokens: [tasks] int64.
        target_tokens: [tasks] int64, the tokens that the loss counts.
    """

    names: tuple[str, ...]
    expected: np.ndarray
    sizes: np.ndarray
    examples: np.ndarray
    input_tokens: np.ndarray
    target_tokens: np.ndarray

    @property
    def requested(self) -> np.ndarray:
        """[tasks] float64, the share of examples asked for; it sums to 1."""
        return self.expected / self.expected.sum()

    @property
    def tokens(self) -> np.ndarray:
        """[tasks] int64, both sides together."""
        return self.input_tokens + self.target_tokens

    @property
    def epochs(self) -> np.ndarray:
        """[tasks] float64, how often each task was gone through."""
        return self.examples / np.maximum(self.sizes, 1)

    @property
    def shares(self) -> np.ndarray:
        """[tasks] float64, the share of all examples drawn; zeros before the first."""
        return self.examples / max(int(self.examples.sum()), 1)

    @property
    def token_shares(self) -> np.ndarray:
        """[tasks] float64, the share of all tokens drawn; zeros before the first."""
        return self.tokens / max(int(self.tokens.sum()), 1)

    def __add__(self, other: "SamplingStats") -> "SamplingStats":
        """Adds the counts of two parts of a run over the same tasks.

        Raises:
            ValueError: the tasks differ.
        """
        if self.names != other.names:
            raise ValueError("counts of different tasks cannot be added")
        return SamplingStats(
            self.names,
            self.expected + other.expected,
            self.sizes,
            self.examples + other.examples,
            self.input_tokens + other.input_tokens,
            self.target_tokens + other.target_tokens,
        )
