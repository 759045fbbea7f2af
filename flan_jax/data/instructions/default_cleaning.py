"""Default cleaning of data: lossless steps by the format of its records, its paper's steps by its published name.

A shape says little: anybody's web pages, excuses and repetitions may be what they want to train on.
So the steps that lose something are on where the data set is one whose authors took them, known by
its name on the hub or by the name of its published file, or where somebody asks.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from flan_jax.data.formats.cleaning import Cleaning
from flan_jax.data.formats.record_format import Format
from flan_jax.data.instructions.origin import HubPart, Origin
from flan_jax.errors import UserError

# Vicuna (Chiang et al. 2023): HTML back to Markdown, empty and repeated samples out, long conversations divided.
_SHAREGPT = ("markdown", "opening", "placeholders", "empty", "duplicates", "split")
# Its authors leave out instructions that were answered with an excuse (Xu et al. 2023, section 3.2).
_EVOL = ("placeholders", "empty", "refused")
# Wang et al. 2023, section 2.2, and Honovich et al. 2023, section 2: nothing repeated, nothing without an answer.
_SELF = ("placeholders", "empty", "duplicates")
_ALPACA = ("placeholders", "empty")

_NAMES: Mapping[tuple[str, ...], tuple[str, ...]] = {
    (
        "anon8231489123/sharegpt_vicuna_unfiltered",
        "aeala/sharegpt_vicuna_unfiltered",
        "ryokoai/sharegpt52k",
        "sharegpt_v3_unfiltered_cleaned_split.json",
        "sharegpt_v3_unfiltered_cleaned_split_no_imsorry.json",
        "sharegpt_v4.3_unfiltered_cleaned_split.json",
        "sharegpt_2023.05.04v0_wasteland_edition.json",
        "sharegpt_20230401_clean_lang_split.json",
        "sg_90k_part1.json",
        "sg_90k_part2.json",
        "sg_90k_part1_html_cleaned.json",
        "sg_90k_part2_html_cleaned.json",
    ): _SHAREGPT,
    (
        "wizardlm/wizardlm_evol_instruct_70k",
        "wizardlmteam/wizardlm_evol_instruct_70k",
        "ehartford/wizardlm_alpaca_evol_instruct_70k_unfiltered",
        "quixiai/wizardlm_alpaca_evol_instruct_70k_unfiltered",
        "alpaca_evol_instruct_70k.json",
        "wizardlm_alpaca_evol_instruct_70k_unfiltered.json",
    ): _EVOL,
    (
        "yizhongw/self_instruct",
        "mrm8488/unnatural-instructions",
        "mrm8488/unnatural-instructions-core",
        "mrm8488/unnatural-instructions-full",
        "seed_tasks.jsonl",
        "core_data.jsonl",
        "full_data.jsonl",
    ): _SELF,
    (
        "tatsu-lab/alpaca",
        "yahma/alpaca-cleaned",
        "vicgalle/alpaca-gpt4",
        "alpaca_data.json",
        "alpaca_data_cleaned.json",
        "alpaca_data_gpt4.json",
        "alpaca_gpt4_data.json",
    ): _ALPACA,
}
_STEPS = {name: steps for names, steps in _NAMES.items() for name in names}
_FORMATS = {
    _SHAREGPT: ("sharegpt",),
    _EVOL: ("evol_instruct", "alpaca", "sharegpt"),
    _SELF: ("self_instruct", "unnatural_instructions"),
    _ALPACA: ("alpaca",),
}
"""Another file may have the same name, but not the same records as well."""


def default_cleaning(origin: Origin, known: Format) -> Cleaning:
    """Returns the cleaning of records of a format at an origin, where the user names none."""
    steps = _STEPS.get(_published_name(origin).lower())
    if steps is None or known.name not in _FORMATS[steps]:
        return Cleaning(known.cleaning, certain_only=True)
    return Cleaning(steps)


def select_cleaning(
    origin: Origin, known: Format, cleaning: Cleaning | None, clean: Sequence[str] = (), no_clean: Sequence[str] = ()
) -> Cleaning:
    """Applies a user's choice of steps to the cleaning.

    Args:
        origin: where the records are.
        known: their format.
        cleaning: the steps; ``default_cleaning`` by default.
        clean: steps to take beside these.
        no_clean: steps not to take; ``all`` for none of them.

    Raises:
        UserError: an unknown step, or one that is to be taken and not to be taken.
    """
    chosen = default_cleaning(origin, known) if cleaning is None else cleaning
    if both := [step for step in clean if step in no_clean]:
        raise UserError(f"The cleaning step {both[0]!r} is asked for and left out. Choose one of the two.")
    if "all" in no_clean:
        chosen = dataclasses.replace(chosen, steps=())
    return chosen.without(*(step for step in no_clean if step != "all")).with_steps(*clean)


def _published_name(origin: Origin) -> str:
    if isinstance(origin, HubPart):
        return origin.source.name
    name = origin.path.name
    return name.removesuffix(".gz").removesuffix(".zst")
