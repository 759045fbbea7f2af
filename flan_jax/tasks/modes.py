"""Prompt modes: how the prompt of an example is built."""

import enum


class PromptMode(enum.StrEnum):
    """The mode of a prompt. The names are those of the FLAN 2022 collection."""

    ZS_OPT = "zs_opt"
    """Zero-shot, the options listed in the input."""
    ZS_NOOPT = "zs_noopt"
    """Zero-shot, the options left out."""
    FS_OPT = "fs_opt"
    """Few-shot: solved examples of the same task first. Options are listed."""
    FS_NOOPT = "fs_noopt"
    """Few-shot, the options left out."""
    COT_ZS_OPT = "cot_zs_opt"
    """Zero-shot, options listed, and the target reasons before it answers."""
    COT_ZS_NOOPT = "cot_zs_noopt"
    """As above, the options left out."""
    COT_FS_OPT = "cot_fs_opt"
    """Few-shot with reasoned examples, options listed."""
    COT_FS_NOOPT = "cot_fs_noopt"
    """As above, the options left out."""
    NO_TEMPLATE = "no_template"
    """The fields alone, without any instruction: a baseline of FLAN 2021's ablation."""
    DATASET_NAME = "dataset_name"
    """The fields behind the name of the data set, without any instruction: the other baseline."""

    @property
    def shows_options(self) -> bool:
        """True where the options are listed in the input."""
        return self.value.endswith("_opt")

    @property
    def few_shot(self) -> bool:
        """True where solved examples come first."""
        return "fs_" in self.value

    @property
    def reasons(self) -> bool:
        """True where the target reasons before it answers."""
        return self.value.startswith("cot_")

    @property
    def instructs(self) -> bool:
        """True where a template's words are used at all."""
        return self not in (PromptMode.NO_TEMPLATE, PromptMode.DATASET_NAME)
