"""A checkout of google-research/FLAN, run: its own preprocessors and its own patterns over records.

Only what does not bear on a prompt is put in its place: registering seqio tasks, and those modules of
T5 that are not installed (metrics, postprocessors). T5's preprocessors are needed for one task, WSC in
FLAN 2022; without them it cannot be run.
"""

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import seqio
import tensorflow as tf

from flan_jax.errors import UserError

_UNNEEDED = ("t5", "frozendict", "tqdm")
"""Packages that FLAN imports and whose work is not a prompt's; real where they are installed."""


class _InPlace(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Makes a module of anything below ``_UNNEEDED`` that cannot be imported."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] not in _UNNEEDED:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> Any:
        module = mock.MagicMock(name=spec.name)
        module.__path__, module.__spec__, module.is_stand_in = [], spec, True
        return module

    def exec_module(self, module: Any) -> None:
        """Nothing is in it."""


class Checkout:
    """FLAN's code for one of its collections.

    Attributes:
        set_name: the set of templates, as ``tools/import_flan.py`` calls it.
    """

    def __init__(self, folder: Path, set_name: str) -> None:
        if not (folder / "flan" / "templates.py").is_file():
            raise UserError(f"{folder} is no checkout of google-research/FLAN: it has no flan/templates.py.")
        self.set_name = set_name
        sys.path.insert(0, str(folder))
        sys.meta_path.append(_InPlace())
        with (
            mock.patch.object(seqio.TaskRegistry, "add"),
            mock.patch("seqio.SentencePieceVocabulary"),
            mock.patch("seqio.TfdsDataSource"),
        ):
            if set_name == "flan2021":
                self._import_2021()
            else:
                self._import_2022()

    def _import_2021(self) -> None:
        with mock.patch("seqio.TaskRegistry.get"), mock.patch("seqio.experimental.FewshotDataSource"):
            few_shot = importlib.import_module("flan.few_shot")
            with mock.patch.object(few_shot, "register_few_shot_version_of_task"):
                tasks = importlib.import_module("flan.tasks")
        self._configs = tasks.TASK_CONFIGS
        self._prep = importlib.import_module("flan.preprocessors")
        patterns = importlib.import_module("flan.templates").PATTERNS
        key = importlib.import_module("flan.utils").t_name_to_flan_pattern_name
        self.patterns = {task: patterns[key(task)] for task in self._configs}

    def _import_2022(self) -> None:
        self._configs = dict(importlib.import_module("flan.v2.task_configs_v1").TASK_CONFIGS)
        self._prep = importlib.import_module("flan.v2.preprocessors")
        templates = importlib.import_module("flan.v2.templates")
        tables = {
            "flan2022_zs_opt": templates.PATTERNS,
            "flan2022_zs_noopt": templates.PATTERNS_NO_OPTIONS,
            "flan2022_fs_opt": templates.FEWSHOT_PATTERNS,
            "flan2022_fs_noopt": templates.FEWSHOT_PATTERNS_NO_OPTIONS,
        }
        table = tables[self.set_name]
        keys = {task: self._key(task) for task in self._configs}
        cot = [name for name in table if name.startswith(("cot_", "stream_")) and name != _GENERAL]
        self._cot = {_our_cot_name(name): name for name in cot}
        keys |= self._cot
        self.patterns = {task: [_pair(pattern) for pattern in table[key]] for task, key in keys.items()}

    @staticmethod
    def _key(task: str) -> str:
        shared = {"arc_": "arc", "anli_r": "anli", "mnli_": "mnli"}
        shared |= {"para_crawl": "para_crawl", "wmt16_translate": "wmt16_translate"}
        return next((key for begins, key in shared.items() if task.startswith(begins)), task)

    def processed(self, task: str, records: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any] | None]:
        """FLAN's features of each record, ``None`` where its filters leave it out.

        Args:
            task: FLAN's name, which is ours.
            records: in TFDS's schema; of the chain-of-thought files, as our source reads a line.

        Raises:
            Exception: whatever FLAN's code raises.
        """
        if self.set_name != "flan2021" and task in self._cot:
            steps = [self._prep.simple_cot_tsv]
        else:
            steps = list(self._configs[task].preprocessors)
        for record in records:
            dataset = tf.data.Dataset.from_tensors(_tensors(record))
            for step in steps:
                if getattr(getattr(step, "func", step), "__name__", "") != "add_source_info":
                    dataset = step(dataset)
            yield next(iter(dataset), None)

    def rendered(self, pattern: tuple[str, str], features: Mapping[str, Any]) -> tuple[str, str]:
        """Input and target of a pattern, as FLAN's formatter joins them."""
        given = {name: value for name, value in features.items() if isinstance(value, tf.Tensor)}
        made = (self._prep.format_from_feature_dictionary(text, given) for text in pattern)
        inputs, targets = (text if isinstance(text, str) else text.numpy().decode() for text in made)
        return inputs, targets


_GENERAL = "cot_stream_general_input_inversion"


def _our_cot_name(name: str) -> str:
    base = name.replace("stream_", "cot_")
    return base.replace("_input_inversion", "") + ("_inverted" if "_input_inversion" in base else "")


def _pair(pattern: Any) -> tuple[str, str]:
    return pattern if isinstance(pattern, tuple) else (pattern.inputs, pattern.targets)


def _tensors(value: Any) -> Any:
    """A record as TFDS yields it."""
    if isinstance(value, Mapping):
        return {name: _tensors(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return tf.constant(value) if value else tf.constant([], tf.string)
    return tf.constant(value)
