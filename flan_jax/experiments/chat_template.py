"""The chat template that a run puts templated tasks into: which it is, where a run may have one, and where it lacks one."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from flan_jax.data.chat.prompts import ChatPrompts
from flan_jax.data.chat.templates import ChatTemplate, load_chat_template
from flan_jax.data.sources.base import resolve
from flan_jax.data.tokenizers.protocol import Vocabulary, encode_with_special_tokens
from flan_jax.errors import UserError
from flan_jax.eval.decoding.config import DecodingConfig
from flan_jax.experiments.model_snapshot import description_folder, vocabulary_place
from flan_jax.mixing.mixture import Mixture

if TYPE_CHECKING:
    from flan_jax.experiments.config import RunConfig


def tokenizer_template(vocabulary: str) -> ChatTemplate:
    """Loads the chat template that lies beside a tokenizer.

    Args:
        vocabulary: the tokenizer's folder or file.

    Raises:
        UserError: there is none.
    """
    path = resolve(Path(vocabulary).expanduser()) if vocabulary else Path()
    folder = path.parent if path.is_file() else path
    if not vocabulary or not folder.is_dir():
        raise UserError(
            f"The vocabulary {vocabulary or 'of the mixture'!r} is no tokenizer's folder, so it has no chat template of its "
            "own. Name one: 'plain', 'chatml', a tokenizer's folder or a *.jinja file."
        )
    return load_chat_template(folder)


def template_of(chosen: bool | str, vocabulary: str) -> ChatTemplate | None:
    """Loads the chat template that a run's ``chat_template`` names; ``None`` for none.

    Args:
        chosen: ``True`` for that beside the tokenizer, a name or a place for another.
        vocabulary: where the tokenizer lies.

    Raises:
        UserError: there is no such template.
    """
    if not chosen:
        return None
    return tokenizer_template(vocabulary) if chosen is True else load_chat_template(chosen)


def run_template(config: "RunConfig") -> ChatTemplate | None:
    """Loads the chat template that a run puts its templated tasks into; ``None`` for none.

    Raises:
        UserError: there is no such template.
    """
    place = vocabulary_place(config.data.vocabulary, config.model_dir)
    if config.tokenize.chat_template is True and not place and config.initial_checkpoint:
        place = str(description_folder(config.initial_checkpoint, config.model_dir))
    return template_of(config.tokenize.chat_template, place)


def run_prompts(config: "RunConfig", vocabulary: Vocabulary) -> ChatPrompts | None:
    """Makes prompts and replies of a run's templated tasks inside its chat template; ``None`` where it has none."""
    template = run_template(config)
    return None if template is None else ChatPrompts(template, vocabulary)


def check_tasks(template: ChatTemplate | None, mixture: Mixture) -> None:
    """Refuses a chat template for tasks that come as ids from elsewhere.

    Raises:
        UserError: with the first such task.
    """
    foreign = next((task for task in mixture.all_tasks if task.tokenized_elsewhere), None)
    if template is not None and foreign is not None:
        raise UserError(
            f"Task {foreign.name!r} of seqio's comes as ids, which no chat template can be put around. Leave "
            "run.chat_template out, or the task."
        )


def missing_template_note(config: "RunConfig", mixture: Mixture) -> str:
    """Returns a note on a published chat model that is tuned on templated tasks outside its chat template; ``""`` else."""
    if config.tokenize.chat_template or not config.model.decoder_only or not config.initial_checkpoint:
        return ""
    if not any(task.mode is not None for task in mixture.drawn_tasks):
        return ""
    try:
        template = load_chat_template(description_folder(config.initial_checkpoint, config.model_dir))
    except UserError:
        return ""
    return (
        f"The model of {config.initial_checkpoint!r} has a chat template ({template.name}), and its tasks are trained "
        "outside of it: run.chat_template=True puts each into a user's turn with the assistant's reply."
    )


def with_stop_ids(
    decoding: DecodingConfig, vocabulary: Vocabulary, prompts: ChatPrompts | None = None
) -> DecodingConfig:
    """Adds to a decoding configuration the ids of special tokens that its stop texts name, and of the end of a chat turn."""
    ids: list[tuple[int, ...]] = []
    for stop in decoding.stop:
        if isinstance(stop, str):
            written = tuple(encode_with_special_tokens(vocabulary, stop))
            if written and written != tuple(vocabulary.encode(stop)):
                ids.append(written)
    if prompts is not None:
        ids.append(tuple(prompts.end.tolist()))
    new = [own for own in dict.fromkeys(ids) if own not in decoding.stop and own != (vocabulary.eos_id,)]
    return dataclasses.replace(decoding, stop=(*decoding.stop, *new)) if new else decoding
