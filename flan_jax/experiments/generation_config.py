"""Settings by which a published model writes: its ``generation_config.json``, honored or reported key by key.

A folder that is asked as it is writes as transformers' ``generate`` would with the same file. What ends a text is read
with the model (``models.huggingface.folder``).
"""

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from flan_jax.errors import UserError
from flan_jax.eval.decoding.config import DecodingConfig
from flan_jax.models.huggingface.reader import GENERATION, read_json

_DRAWING = ("temperature", "top_k", "top_p")
_TOP_K = 50
"""What transformers takes where a file samples and says nothing of ``top_k``."""
# Keys that are read elsewhere, or change nothing of the tokens that are written.
_NO_EFFECT = frozenset((
    "_from_model_config", "transformers_version", "bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id",
    "use_cache", "cache_implementation", "cache_config", "return_legacy_cache", "return_dict_in_generate",
    "output_attentions", "output_hidden_states", "output_scores", "output_logits", "disable_compile", "compile_config",
    "prefill_chunk_size", "trust_remote_code", "low_memory", "num_assistant_tokens", "num_assistant_tokens_schedule",
    "assistant_confidence_threshold", "prompt_lookup_num_tokens", "max_matching_ngram_size", "assistant_early_exit",
    "assistant_lookbehind", "target_lookbehind", "is_assistant", "token_healing", "chat_format",
))  # fmt: skip
# Of keys that are not honoured, the values that ask for nothing.
_NOTHING: Mapping[str, tuple[Any, ...]] = {
    "num_return_sequences": (1,), "num_beam_groups": (1,), "diversity_penalty": (0,), "typical_p": (1,),
    "epsilon_cutoff": (0,), "eta_cutoff": (0,), "min_p": (0,), "encoder_repetition_penalty": (1,),
    "encoder_no_repeat_ngram_size": (0,), "no_repeat_ngram_size": (0,), "guidance_scale": (1,), "max_length": (20,),
    "min_length": (0,), "remove_invalid_values": (False,), "renormalize_logits": (False,), "top_h": (0,),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class FolderSettings:
    """The settings of generation that a folder has.

    Attributes:
        decoding: arguments of ``DecodingConfig``.
        max_tokens: of the longest answer; 0 where it does not say.
        honored: ``key=value`` of what is followed, as the file has it.
        ignored: ``key=value`` of what is not.
    """

    decoding: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    max_tokens: int = 0
    honored: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def lines(self, chosen: Collection[str] = ()) -> list[str]:
        """Says in sentences what is done with the file.

        Args:
            chosen: options of the command line that take the place of what the file says.
        """
        lines = []
        if self.honored:
            over = f"; {', '.join(chosen)} of the command line come first" if chosen else ""
            greedy = (
                " (--temperature 0 writes greedily)" if self.decoding.get("method") == "sample" and not chosen else ""
            )
            lines.append(f"writing as {GENERATION} says: {', '.join(self.honored)}{over}{greedy}")
        if self.ignored:
            lines.append(f"not honoured of {GENERATION}: {', '.join(self.ignored)}")
        return lines


def folder_settings(folder: str | Path) -> FolderSettings:
    """Reads a folder's ``generation_config.json``; nothing where there is none.

    Raises:
        UserError: it is no JSON object, or a value of it cannot be.
    """
    path = Path(folder) / GENERATION
    if not path.is_file():
        return FolderSettings()
    given = {name: value for name, value in read_json(path).items() if value is not None}
    decoding, honored = _followed(given)
    max_tokens = given.get("max_new_tokens", 0)
    if type(max_tokens) is not int or max_tokens < 0:
        raise UserError(f"{path}: max_new_tokens is {max_tokens!r}; it must be a whole number of at least 1.")
    if max_tokens:
        honored.append("max_new_tokens")
    try:
        DecodingConfig(**decoding)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    # Settings of a method that is not asked for are read by nothing, in transformers either.
    unread = {"do_sample", "num_beams", *_DRAWING, "length_penalty", "early_stopping", "repetition_penalty"}
    known = {*honored, *_NO_EFFECT}
    ignored = [
        f"{name}={value!r}"
        for name, value in given.items()
        if name not in known
        and value not in _NOTHING.get(name, ())
        and not (name in unread and not _asked(name, given))
    ]
    told = [f"{name}={given[name]!r}" for name in honored]
    if decoding.get("method") == "sample" and "top_k" not in given:
        told.append(f"top_k={_TOP_K} (as transformers where the file does not say)")
    return FolderSettings(decoding, max_tokens, tuple(told), tuple(ignored))


def _followed(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Arguments of ``DecodingConfig``, and the keys that gave them."""
    decoding: dict[str, Any] = {}
    honored: list[str] = []
    if given.get("do_sample"):
        decoding |= {"method": "sample", "top_k": _TOP_K, **{name: given[name] for name in _DRAWING if name in given}}
        honored += ["do_sample", *(name for name in _DRAWING if name in given)]
    elif given.get("num_beams", 1) != 1:
        decoding |= {"method": "beam", "beams": given["num_beams"]}
        further = [name for name in ("length_penalty", "early_stopping") if name in given]
        decoding |= {name: given[name] for name in further}
        honored += ["num_beams", *further]
    for theirs, ours, nothing in (("repetition_penalty", "repetition_penalty", 1), ("min_new_tokens", "min_length", 0)):
        if given.get(theirs, nothing) != nothing:
            decoding[ours] = given[theirs]
            honored.append(theirs)
    if given.get("stop_strings"):
        stops = given["stop_strings"]
        decoding["stop"] = (stops,) if isinstance(stops, str) else tuple(stops)
        honored.append("stop_strings")
    return decoding, honored


def _asked(name: str, given: Mapping[str, Any]) -> bool:
    """Tells whether a key that is not followed asks for something all the same: beams beside sampling."""
    return name == "num_beams" and given["num_beams"] != 1
