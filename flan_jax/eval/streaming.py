"""Texts that are shown while they are written (``StreamingPredictor``)."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from flan_jax.eval.batching import pad_rows_at, plan
from flan_jax.eval.decoding import generation
from flan_jax.eval.decoding.stopping import certain_part, cut_at_stop, stop_table, token_stops
from flan_jax.eval.examples import EvalExample
from flan_jax.eval.predictor import Predictor


@dataclasses.dataclass(frozen=True, eq=False)
class StreamingPredictor(Predictor):
    """A predictor that also yields a text token by token."""

    def stream(self, example: EvalExample) -> Iterator[str]:
        """Yields the text behind a prompt while it is written, token by token: each time all of it that is certain.

        The last is the whole, what ``generate`` returns. Letters of which tokens are missing, and a beginning of what
        ends the text, are held back. A search knows its text at the end only.

        Raises:
            UserError: the prompt leaves no room for a text.
        """
        self.check_room(example)
        if self.decoding.method == "beam" and self.decoding.beams > 1:
            yield from self.generate([example])
            return
        (prompt,), decoding = self._prompts([example]), self.decoding
        rows = self._placement.rounded(1)
        (batch,) = plan([len(prompt)], [[self._max_length]], rows, positions=self._positions)
        table = stop_table(token_stops(decoding.stop, self.encode, self.decode))
        chosen: dict[str, Any] = {
            "keys_B2": self._draw_keys([example], [0], rows),
            "stops_NM": None if table is None else self._placement.put_whole(table)[0],
            "graphdef": self.graphdef,
            "vocabulary_size": self.vocabulary_size,
            "decoding": decoding.compiled_part(),
        }
        read = pad_rows_at([0], [prompt], (rows, batch.length))
        state = generation.start_texts(
            self.params, *self._placement.put_rows(*read), max_length=self._max_length, **chosen
        )
        stops = (*decoding.stop, *((index,) for index in self._config.stop_ids))
        while True:
            output, step, finished = self._placement.fetch([state.output, state.step, state.finished])
            over = bool(finished[0]) or int(step) >= self._max_length
            text = cut_at_stop(output[0, : int(step)].tolist(), stops, self.decode)
            yield text if over else certain_part(text, decoding.stop)
            if over:
                return
            (limit,) = self._placement.put_whole(np.asarray(step + 1, np.int32))
            state = generation.continue_texts(self.params, state, limit, **chosen)
