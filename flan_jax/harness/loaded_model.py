"""A model ready for the harness's requests: weights, tokenizer, chat template and limits of a run or a Hugging Face folder."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from flan_jax.data.chat.templates import ChatTemplate, load_chat_template
from flan_jax.data.prepare.config import input_end_ids
from flan_jax.errors import UserError
from flan_jax.eval.predictor import Predictor
from flan_jax.experiments.config import RunConfig
from flan_jax.experiments.generate import answering_vocabulary
from flan_jax.experiments.generation_config import folder_settings
from flan_jax.experiments.model_snapshot import description_folder, vocabulary_place
from flan_jax.experiments.weights.initial import load_weights
from flan_jax.harness.token_scoring import TokenScorer
from flan_jax.harness.tokens import RequestTokenizer
from flan_jax.train.sharding import make_partitioner

DEFAULT_LENGTH = 2048
"""Tokens that are read of a model that does not say how many it reads, as in the harness's own backend."""
_NO_LIMIT = 10**9  # a tokenizer that knows no limit writes a much larger number


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A model and what belongs to it.

    Attributes:
        predictor: computes.
        tokenizer: text to ids and back.
        scorer: scores continuations.
        decoder_only: prompts and continuations are one sequence.
        max_length: the most tokens of a sequence; of an encoder–decoder, of input and output each.
        begin: ids that the model reads in front of every prompt by itself.
        chat: the chat template that belongs to it, if there is one.
        writing: what the folder's ``generation_config.json`` says of how it writes.
        name: names model and step, for caches of requests.
        parameters: how many there are.
        dtype: of activations and products.
    """

    predictor: Predictor
    tokenizer: RequestTokenizer
    scorer: TokenScorer
    decoder_only: bool
    max_length: int
    begin: tuple[int, ...]
    chat: ChatTemplate | None
    writing: Mapping[str, Any]
    name: str
    parameters: int
    dtype: str


def load_model(
    config: RunConfig,
    *,
    step: int | None = None,
    batch_size: int,
    max_length: int | None = None,
    chat_template: str = "",
    end_of_input: bool = False,
) -> LoadedModel:
    """Loads what a configuration names.

    Args:
        config: of a run, or of a folder as ``run_of_folder`` makes it.
        step: a checkpoint's; ``None`` for the newest.
        batch_size: prompts and continuations computed at a time.
        max_length: tokens that are read, in place of what model and tokenizer say.
        chat_template: in place of the one that lies beside the tokenizer.
        end_of_input: behind a decoder's context stands what ended inputs in training, and a continuation begins there
            without the space before it.

    Raises:
        UserError: weights, tokenizer or template cannot be read; or a length beyond the model's positions.
    """
    vocabulary = answering_vocabulary(config)
    weights = load_weights(config, step=step)
    model = config.model
    begin = () if model.row_start_id is None else (model.row_start_id,)
    ended = end_of_input or not model.decoder_only
    tokenizer = RequestTokenizer(
        vocabulary,
        begin=begin,
        end=tuple(input_end_ids(vocabulary, config.tokenize.separator).tolist()) if ended else (),
        separate=ended,
        strips=ended and model.decoder_only,
    )
    folder = _description(config)
    limit = max_length or _longest(config, folder)
    if model.learned_positions is not None:
        room = model.learned_positions - (not begin)  # the empty place in front has one
        if max_length is not None and max_length > room:
            raise UserError(
                f"max_length is {max_length}, and the model has learned {room} positions. Give that at most."
            )
        limit = min(limit, room)
    predictor = Predictor(
        weights.graphdef,
        weights.params,
        encode=vocabulary.encode,
        decode=tokenizer.decode,
        batch_size=batch_size,
        vocabulary_size=vocabulary.size,
        rows_sharding=make_partitioner(config.mesh).batch(),
    )
    scorer = TokenScorer(predictor, limit, begin, model.decoder_only, model.vocab_size, model.learned_positions)
    return LoadedModel(
        predictor,
        tokenizer,
        scorer,
        model.decoder_only,
        limit,
        begin,
        _chat_template(config, chat_template),
        folder_settings(folder).decoding if folder is not None else {},
        f"{Path(config.model_dir).name}_{weights.step}",
        sum(leaf.size for leaf in jax.tree.leaves(weights.params)),
        model.dtype,
    )


def _description(config: RunConfig) -> Path | None:
    """The folder that describes the model: its own, or of the model that the run began with; ``None`` for none."""
    if not config.initial_checkpoint:
        return None
    folder = description_folder(config.initial_checkpoint, config.model_dir)
    return folder if (folder / "config.json").is_file() else None


def _longest(config: RunConfig, folder: Path | None) -> int:
    """Tokens of the longest text: what the model says, else its ``config.json``, else its tokenizer."""
    if config.model.context_length is not None:
        return config.model.context_length
    for name, key in (("config.json", "n_positions"), ("tokenizer_config.json", "model_max_length")):
        path = folder / name if folder is not None else None
        found = json.loads(path.read_text(encoding="utf-8")).get(key) if path is not None and path.is_file() else None
        if isinstance(found, int) and 0 < found < _NO_LIMIT:
            return found
    return DEFAULT_LENGTH


def _chat_template(config: RunConfig, named: str) -> ChatTemplate | None:
    if named:
        return load_chat_template(named)
    place = vocabulary_place(config.data.vocabulary, config.model_dir)
    try:
        return load_chat_template(place) if place and Path(place).is_dir() else None
    except UserError:  # none lies there; it is missed when somebody asks for one
        return None
