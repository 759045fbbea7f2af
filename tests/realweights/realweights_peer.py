"""A published model in transformers: its texts and log-likelihoods, to compare ours with."""

import dataclasses
from typing import Any

import numpy as np
import pytest


@dataclasses.dataclass(frozen=True)
class Peer:
    """transformers' model and tokenizer of a folder."""

    model: Any
    tokenizer: Any

    def log_likelihood(self, inputs, target) -> float:
        """Of a target's tokens behind the inputs, in nats, summed."""
        import torch

        ids = torch.tensor([[*map(int, inputs), *map(int, target)]])
        with torch.no_grad():
            logits = self.model(ids).logits[0, len(inputs) - 1 : -1].double()
        chosen = torch.log_softmax(logits, -1).gather(-1, ids[0, len(inputs) :, None])
        return float(chosen.sum())

    def write(self, prompts: list[list[int]], *, beams: int, count: int) -> list[list[int]]:
        """The tokens that the model goes on with behind each prompt, greedily or by a search, its end of text left out.

        All prompts in one batch, with the padding in front of them that transformers wants.
        """
        import torch

        longest = max(map(len, prompts))
        padded = [[self.tokenizer.eos_token_id] * (longest - len(ids)) + ids for ids in prompts]
        mask = [[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts]
        with torch.no_grad():
            written = self.model.generate(
                input_ids=torch.tensor(padded), attention_mask=torch.tensor(mask), num_beams=beams,
                max_new_tokens=count, do_sample=False,
            )[:, longest:].tolist()  # fmt: skip
        end = self.tokenizer.eos_token_id
        return [row[: row.index(end)] if end in row else row for row in written]


def load_peer(folder) -> Peer:
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    return Peer(model, transformers.AutoTokenizer.from_pretrained(folder))


def small_enough(difference, limit=1e-3):
    """Whether all differences are numbers and below the limit."""
    return bool(np.all(np.isfinite(difference)) and np.max(np.abs(difference)) < limit)
