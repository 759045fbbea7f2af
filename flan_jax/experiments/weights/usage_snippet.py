"""The part of a model card on asking it with transformers: the ids that ``flan-jax generate`` would read.

A tokenizer's own call is not that: what ends an instruction is the run's choice, and a decoder's row begins with a
token that not every tokenizer writes. So the code names the ids, and turns off what a ``generation_config.json`` may
bring along to write otherwise than greedily.
"""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flan_jax.models.build import ModelConfig
from flan_jax.models.huggingface.families import auto_class
from flan_jax.models.huggingface.reader import read_json

_EXAMPLE = "Is this review good or bad? The food was awful."
_NEUTRAL = {"num_beams": 1, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "min_length": 0, "min_new_tokens": 0}
"""What leaves generation as it is; set where a folder's own settings say otherwise."""


@dataclasses.dataclass(frozen=True)
class UsageSnippet:
    """The ids around an instruction, and the length of an answer.

    Attributes:
        end: ids behind an instruction.
        max_tokens: of an answer.
        chat: in training an instruction was a user's turn in the tokenizer's chat template.
        trained: the ids are those of training; else those that a published model is asked with.
    """

    end: tuple[int, ...]
    max_tokens: int
    trained: bool
    chat: bool = False


def code(folder: Path, config: ModelConfig, use: UsageSnippet) -> Iterator[str]:
    """Paragraphs of Markdown: the code, and what it puts around an instruction.

    Args:
        folder: what is exported, tokenizer and ``generation_config.json`` in it.
        config: of the model.
        use: of it.
    """
    bare = _is_bare(folder)
    ids = f"ids = {'tokenizer.encode(text)' if bare else 'tokenizer(text, add_special_tokens=False).input_ids'}"
    begin = _begin(config)
    around = [*([f"[{begin}] + "] if begin is not None else []), "ids", *([f" + {list(use.end)}"] if use.end else [])]
    in_turns = config.decoder_only and not bare and _has_chat_template(folder)
    if use.chat and in_turns:
        yield "In training every instruction was a user's turn in the chat template of the tokenizer:"
        yield _fenced([*_load(config, bare), *_turn(begin, ids), *_generate(folder, config, use)])
        return
    yield _around(config, use)
    lines = [*_load(config, bare), f"text = {json.dumps(_EXAMPLE)}", ids]
    lines += [f"ids = {''.join(around)}"] if len(around) > 1 else []
    yield _fenced([*lines, *_generate(folder, config, use)])
    if bare:
        yield "`spiece.model` is read by sentencepiece, as in training; not every tokenizer of transformers reads it alike."
    if in_turns:
        yield "A user's turn in the chat template of the tokenizer, which says itself where it ends:"
        yield _fenced([*_turn(begin, ids)[1:], *_generate(folder, config, use)[1:]])


def _turn(begin: int | None, ids: str) -> list[str]:
    """Lines from a text to the ids of a user's turn; the first gives the text."""
    lines = [f"text = {json.dumps(_EXAMPLE)}", 'turns = [{"role": "user", "content": text}]']
    lines += ["text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)", ids]
    return lines if begin is None else [*lines, f"ids = ids if ids[:1] == [{begin}] else [{begin}] + ids"]


def _begin(config: ModelConfig) -> int | None:
    """The id that begins a row of a decoder, if it reads one."""
    return config.row_start_id


def _around(config: ModelConfig, use: UsageSnippet) -> str:
    ends = "the end-of-sequence token" if use.end == (config.eos_id,) else "the ids of the run's separator"
    if not use.trained:
        reads = (
            "text to go on with" if config.decoder_only else f"an instruction with {ends} ({config.eos_id}) behind it"
        )
        text = f"The model reads {reads}"
    else:
        text = f"In training {ends} ({', '.join(map(str, use.end))}) stood behind an instruction"
    if _begin(config) is not None:
        text += f", and {_begin(config)} begins every row"
    return f"{text}. Run in this folder, or with its path in the place of `.`:"


def _is_bare(folder: Path) -> bool:
    """Tells whether the tokenizer is a file of SentencePiece and nothing that tells transformers how to read it."""
    return not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "vocab.json"))


def _load(config: ModelConfig, bare: bool) -> list[str]:
    kind = auto_class(config)
    model = f'model = {kind}.from_pretrained(".").float()  # computes in float32, as flan_jax does'
    if bare:
        lines = ["import sentencepiece", "import torch", f"from transformers import {kind}", "", model]
        return [*lines, 'tokenizer = sentencepiece.SentencePieceProcessor(model_file="spiece.model")', ""]
    lines = ["import torch", f"from transformers import {kind}, AutoTokenizer", "", model]
    return [*lines, 'tokenizer = AutoTokenizer.from_pretrained(".")', ""]


def _generate(folder: Path, config: ModelConfig, use: UsageSnippet) -> list[str]:
    """Lines from ids to text; the first is a blank one."""
    path = folder / "generation_config.json"
    settings: dict[str, Any] = read_json(path) if path.is_file() else {}
    changed = [f"{key}={value}" for key, value in _NEUTRAL.items() if settings.get(key) not in (None, value)]
    arguments = ", ".join(["do_sample=False", *changed, f"max_new_tokens={use.max_tokens}"])
    answer = "written[len(ids):]" if config.decoder_only else "written[1:]"
    decoded = f"{answer}.tolist()" if _is_bare(folder) else f"{answer}, skip_special_tokens=True"
    return [
        "",
        f"written = model.generate(torch.tensor([ids]), {arguments})[0]",
        f"print(tokenizer.decode({decoded}))",
    ]


def _has_chat_template(folder: Path) -> bool:
    path = folder / "tokenizer_config.json"
    return (folder / "chat_template.jinja").is_file() or (path.is_file() and bool(read_json(path).get("chat_template")))


def _fenced(lines: list[str]) -> str:
    return "\n".join(["```python", *lines, "```"])
