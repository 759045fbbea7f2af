"""Digests what the tokens of a seqio task depend on, the same in every process.

A data source and a preprocessor are somebody else's objects, so they are described by their
class, their attributes and the text of their functions; the files that a source reads, by content.
"""

import re
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from flan_jax.data.prepare import gin_bindings
from flan_jax.data.prepare.fingerprints import callable_digest, qualified_name, value_text
from flan_jax.data.seqio_bridge.vocabulary import from_seqio
from flan_jax.data.sources.base import digest, file_digest

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def source_parts(source: Any, split: str) -> str:
    """Digests a data source: its class, its parameters, its functions and the content of its files.

    What a function reads on its own account cannot be seen: the data behind a
    ``FunctionDataSource`` may change without this digest changing.
    """
    return digest(*_source(source, split))


def _source(source: Any, split: str) -> Iterator[str]:
    yield qualified_name(type(source))
    if callable(getattr(source, "fingerprint", None)):  # ours
        yield source.fingerprint(split)
        return
    if isinstance(source, seqio.TfdsDataSource):
        loader = source.tfds_dataset
        # A version of a TFDS data set does not change; its name alone may stand for another one tomorrow.
        yield str((loader.info.full_name, split, value_text(source._splits), loader.size(split)))
        return
    for name, value in sorted(vars(source).items()):
        if name == "_split_to_filepattern":
            yield from map(_file, source.list_shards(split))
        elif name not in ("_num_input_examples", "_caching_permitted"):
            yield f"{name}={_text(value)}"


def _file(path: str) -> str:
    """Digests a local file by content; a remote one by size and time, as reading it twice may cost more than training."""
    if "://" not in path and Path(path).is_file():
        return file_digest(Path(path))
    if not tf.io.gfile.exists(path):
        return f"missing {path}"
    status = tf.io.gfile.stat(path)
    return f"{path} {status.length} {status.mtime_nsec}"


def _text(value: Any) -> str:
    if isinstance(value, seqio.DataSource):
        # Few-shot prompts are made of other splits too, so all of them count.
        return " ".join(digest(*_source(value, split)) for split in value.splits)
    if isinstance(value, types.FunctionType | types.MethodType) or (callable(value) and hasattr(value, "func")):
        return callable_text(value)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_text(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return f"({', '.join(map(_text, value))})"
    if isinstance(value, tf.DType | tf.TensorShape | tf.TensorSpec) or hasattr(value, "_fields"):
        return repr(value)
    return value_text(value)


def callable_text(function: Callable[..., Any]) -> str:
    """Digests a function with its bound arguments, TensorFlow's types and shapes included.

    ``callable_digest`` follows the functions; of a value that is TensorFlow's it knows the type only.
    """
    bound = [getattr(function, "args", ()), getattr(function, "keywords", {})]
    inner = getattr(function, "func", function)
    inner = getattr(gin_bindings.configurable(inner), "function", inner)
    cells = [cell.cell_contents for cell in getattr(inner, "__closure__", None) or () if _filled(cell)]
    return digest(callable_digest(function), *(_plain(value) for value in [*bound, *cells]))


def _filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _plain(value: Any) -> str:
    """Writes a bound value as text; functions inside it are left to ``callable_digest``."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_plain(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return f"({', '.join(map(_plain, value))})"
    if callable(value) or isinstance(value, types.ModuleType):
        return ""
    if isinstance(value, np.ndarray):
        return digest(value.dtype, value.shape, value.tobytes().hex() if value.dtype != object else value.tolist())
    if type(value).__module__.partition(".")[0] in ("tensorflow", "numpy"):
        return _ADDRESS.sub("", repr(value))
    return value_text(value)


def preprocessor_parts(task: seqio.Task) -> str:
    """Digests the preprocessors in order, with the arguments bound to them."""
    return digest(*(callable_text(preprocessor) for preprocessor in task.preprocessors))


def feature_parts(task: seqio.Task) -> str:
    """Digests the output features: vocabulary by content, type, rank, and whether they end with EOS."""
    lines = []
    for name, feature in sorted(task.output_features.items()):
        vocabulary = from_seqio(feature.vocabulary).fingerprint() if feature.vocabulary is not None else ""
        kind = type(feature)
        lines.append(
            (name, kind.__qualname__, feature.add_eos, feature.required, feature.dtype.name, feature.rank, vocabulary)
        )
    return digest(*lines)


def cache_parts(task: seqio.Task, split: str) -> str:
    """Digests the descriptions of seqio's offline cache of a split; a constant without a cache."""
    if task.cache_dir is None:
        return digest("not cached")
    found = []
    for path in (
        seqio.utils.get_cached_info_path(task.cache_dir, split),
        seqio.utils.get_cached_stats_path(task.cache_dir, split),
    ):
        with tf.io.gfile.GFile(path) as file:
            found.append(file.read())
    return digest("cached", *found)
