"""gin at the edge: the one place where configuration files become a RunConfig.

The conventions are T5X's: ``--gin_file`` (repeatable), ``--gin.NAME=VALUE``, ``--gin_search_paths``, macros in
capitals. Stricter is what ``gin_checks`` says: everything that is set is read, and is of its field's type.
"""

import dataclasses
import inspect
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gin
import jax

from flan_jax.cli.gin_checks import MACRO, RUN, STUDY, check_bindings, macros_read, name_varied_macros
from flan_jax.cli.gin_order import FileOrder
from flan_jax.cli.gin_reader import OURS, GinReader, Key, Origin, shipped_gin_dir
from flan_jax.cli.gin_values import as_gin, fields_of, in_order, macro_of
from flan_jax.errors import UserError
from flan_jax.eval.decoding.config import DecodingConfig
from flan_jax.experiments.config import RunConfig, run_options
from flan_jax.experiments.options import CheckpointConfig, DataConfig, EvalConfig, ValidationConfig
from flan_jax.experiments.run_folder.address_files import shown_address
from flan_jax.experiments.run_folder.chosen_mesh import begun_mesh
from flan_jax.experiments.run_folder.staging import check_address, is_address, staging_folder
from flan_jax.experiments.settings_summary import unread
from flan_jax.experiments.weights.pretrained import pretrained_model
from flan_jax.mixing.online.aioli import Aioli
from flan_jax.mixing.online.doge import DoGE
from flan_jax.mixing.online.doremi import DoReMi
from flan_jax.mixing.online.msft import MultiTaskSFT
from flan_jax.mixing.online.odm import OnlineDataMixing
from flan_jax.models.build import ModelConfig
from flan_jax.models.decoder.config import DecoderConfig
from flan_jax.models.decoder.linear_config import LinearAttention
from flan_jax.models.decoder.mixed_config import MixedAttention
from flan_jax.models.ops.rope import RopeScaling
from flan_jax.models.peft.config import TuningConfig
from flan_jax.models.published import preset_model
from flan_jax.models.t5.config import T5Config
from flan_jax.models.t5gemma.config import T5GemmaConfig
from flan_jax.option_groups import group_of
from flan_jax.studies.config import StudyConfig
from flan_jax.studies.factors.arms import Arms
from flan_jax.studies.factors.dirichlet import Dirichlet
from flan_jax.studies.factors.nested import Nested
from flan_jax.studies.factors.parts import AddOne, LeaveOneOut, NumberOfClusters, TasksPerCluster
from flan_jax.studies.factors.random import LogUniform, OneOf, Uniform
from flan_jax.studies.factors.settings import Settings
from flan_jax.studies.factors.values import Seeds, Values
from flan_jax.train.optimizer import OptimizerConfig
from flan_jax.train.sharding import MeshConfig, ShardingRules, fitted
from flan_jax.typed import AnyPath, Positive

# The vocabulary's size is rounded up to a multiple of this, so that matrix shapes stay even on
# every mesh and accelerator; the spare rows are never a target.
VOCABULARY_MULTIPLE = 128

for _configurable in (
    T5Config,
    T5GemmaConfig,
    DecoderConfig,
    RopeScaling,
    LinearAttention,
    MixedAttention,
    preset_model,
    pretrained_model,
    TuningConfig,
    OptimizerConfig,
    MeshConfig,
    ShardingRules,
    CheckpointConfig,
    EvalConfig,
    ValidationConfig,
    DecodingConfig,
    OnlineDataMixing,
    DoReMi,
    DoGE,
    MultiTaskSFT,
    Aioli,
    AddOne,
    Arms,
    OneOf,
    Dirichlet,
    LeaveOneOut,
    LogUniform,
    Nested,
    NumberOfClusters,
    Seeds,
    Settings,
    TasksPerCluster,
    Uniform,
    Values,
):
    gin.external_configurable(_configurable, module="flan_jax")
make_study: Any = gin.external_configurable(StudyConfig, name="study", module="flan_jax")


def _run(**given: Any) -> RunConfig:
    """Gathers the bound values into a RunConfig; its parameters are the options of that (``_parameters``).

    ``model`` is a reference (``@T5Config``, ``@DecoderConfig``), called here with what it takes of these: the
    ids that begin and end a sequence in the vocabulary, and its size, unless ``vocab_size`` says otherwise.
    ``@pretrained_model`` takes ``initial_checkpoint``, whose tokenizer is the vocabulary if none is named.
    """
    missing = [each.name for each in _PARAMETERS if each.default is each.empty and each.name not in given]
    if missing:
        raise TypeError(f"run() missing {len(missing)} required arguments: {', '.join(map(repr, missing))}")
    if is_address(str(given["model_dir"])):
        given["model_dir"] = str(staging_folder(given["model_dir"]))
    # None stands for a part of which nothing is said, and for the size that the vocabulary has.
    options = {name: value for name, value in given.items() if value is not None}
    model, size = options.pop("model"), options.pop("vocab_size", None)
    options["vocabulary"] = _vocabulary_for(model, options)
    return RunConfig.from_options(model=_call_model(model, size, options), **options)


def _parameters() -> list[inspect.Parameter]:
    """The options of a run as gin binds them: a model is a reference, names may be one text, parts may be left out."""
    bound: dict[str, tuple[Any, Any]] = {}
    for option, annotation in run_options():
        default: Any = inspect.Parameter.empty if option.default is dataclasses.MISSING else option.default
        if option.default_factory is not dataclasses.MISSING:
            annotation, default = annotation | None, None
        bound[option.name] = (str | Sequence[str] if annotation == tuple[str, ...] else annotation, default)
    bound["model"] = (Callable[..., ModelConfig], inspect.Parameter.empty)
    bound["vocab_size"] = (Positive | None, None)
    bound["model_dir"] = (AnyPath, inspect.Parameter.empty)  # an address becomes its staging folder
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
        for name, (annotation, default) in bound.items()
    ]


_PARAMETERS = _parameters()
_run.__signature__ = inspect.Signature(_PARAMETERS)  # type: ignore[attr-defined]
_run.__annotations__ = {each.name: each.annotation for each in _PARAMETERS}
run: Any = gin.configurable("run", module="flan_jax")(_run)


def _vocabulary_for(model: Callable[..., ModelConfig], options: Mapping[str, Any]) -> str:
    """The vocabulary that a run names, or that of the folder which its model is read from."""
    from flan_jax.experiments.model_snapshot import description_vocabulary

    named, folder = options.get("vocabulary", ""), options.get("initial_checkpoint", "")
    if "initial_checkpoint" in _arguments(model) and folder and not named:
        return description_vocabulary(folder, options["model_dir"])
    return named


def _call_model(model: Callable[..., ModelConfig], size: int | None, options: Mapping[str, Any]) -> ModelConfig:
    """The configuration that a reference gives, called with what it takes of a run's options and vocabulary.

    Raises:
        UserError: a size is given to a model that brings its own.
    """
    import mixtures  # noqa: F401  (registers the vocabularies that ship)
    from flan_jax.data.tokenizers.registry import load_vocabulary
    from flan_jax.experiments.data import resolve_vocabulary
    from flan_jax.experiments.mixture import resolve_mixture, set_folders
    from flan_jax.experiments.model_snapshot import vocabulary_place

    takes = _arguments(model)
    if size is not None and "vocab_size" not in takes:
        raise UserError(f"run.vocab_size is {size}, but the model is read with its size. Leave it out.")
    data = group_of(DataConfig, options)
    set_folders(data.data_dir, data.source_dir)
    # A vocabulary that is named needs no mixture, whose data may be elsewhere; whether it fits is seen when both are there.
    place = vocabulary_place(data.vocabulary, options["model_dir"])
    named = (
        load_vocabulary(place) if place else resolve_vocabulary("", resolve_mixture(options["mixture"], data.reading))
    )
    offered = {
        "vocab_size": -(-named.size // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE if size is None else size,
        "eos_id": named.eos_id,
        "bos_id": named.bos_id,
        "reads_start": named.adds_bos,
        "initial_checkpoint": options.get("initial_checkpoint", ""),
        "model_dir": options["model_dir"],
    }
    return model(**{name: value for name, value in offered.items() if name in takes and value is not None})


def _arguments(model: Callable[..., ModelConfig]) -> set[str]:
    """The names of what a reference takes."""
    model = inspect.unwrap(model)
    if dataclasses.is_dataclass(model):  # gin gives its classes a call that hides their signature
        return {field.name for field in dataclasses.fields(model)}
    return set(inspect.signature(model).parameters)


@dataclasses.dataclass(frozen=True)
class GinRun:
    """A resolved run with the text that reproduces it.

    Attributes:
        config: the run.
        operative: gin's operative configuration, saved as ``config.gin``.
        not_imported: modules that a run's folder names, and which are not imported for that.
        address: MODEL_DIR where that is an address; the run's own is its staging folder then.
    """

    config: RunConfig
    operative: str
    not_imported: tuple[str, ...] = ()
    address: str = ""


def load(
    files: Sequence[str],
    bindings: Sequence[str] = (),
    search_paths: Sequence[str] = (),
    *,
    folder: str = "",
    addresses: bool = False,
) -> GinRun:
    """Reads gin files and bindings, in this order, and resolves the run.

    Args:
        files: names or paths, looked for in the working folder, ``search_paths``, and the
            shipped folder.
        bindings: ``NAME=VALUE`` strings. What a word means is decided by the field that it goes to.
        folder: a run's, to be measured or asked: its ``config.gin`` is read first, as data, and its mesh is fitted to
            the devices that are there unless a file or a binding says one.
        addresses: MODEL_DIR may be an address.

    Raises:
        UserError: an unknown file, macro, configurable or parameter; a required macro not set; a file that undoes
            what one before it is there for (``gin_order``).
    """
    reader = _read(files, bindings, search_paths, folder=folder)
    if _study_keys(reader):
        raise UserError(
            f"{reader.origins[_study_keys(reader)[0]].where} describes a study, which is many runs. `flan-jax sweep` runs it; name "
            "another file here."
        )
    address = _address(allowed=addresses)
    config = _called(run, reader)
    _check_unread(config, reader.origins)
    told = any(
        origin.own and (key[1].endswith(".MeshConfig") or key[1:] == (RUN, "mesh"))
        for key, origin in reader.origins.items()
    )
    if folder and not told:
        config = dataclasses.replace(config, mesh=fitted(begun_mesh(config), jax.device_count()))
    return GinRun(config, gin.operative_config_str(), tuple(reader.imports), address)


def _address(*, allowed: bool) -> str:
    """The address that MODEL_DIR is bound to; ``""`` where it is a folder.

    Raises:
        UserError: no run can be kept there, or the command takes none.
    """
    value = gin.config._CONFIG.get(("", RUN), {}).get("model_dir")
    while (macro := macro_of(value)) is not None:
        value = gin.config._CONFIG.get((macro, MACRO), {}).get("value")
    if not isinstance(value, str) or not is_address(value):
        return ""
    check_address(value)
    if not allowed:
        raise UserError(
            f"MODEL_DIR is {shown_address(value)!r}, and this command works in a folder of this machine. Name a folder; train, "
            "eval, plan and launch take an address."
        )
    return value


@dataclasses.dataclass(frozen=True)
class GinStudy:
    """A resolved study.

    Attributes:
        study: the declaration.
        base: the run that all of its runs are made from.
        operative: gin's operative configuration of the base run.
        text: the same of the study, its base run included.
    """

    study: StudyConfig
    base: RunConfig
    operative: str
    text: str


def load_study(
    files: Sequence[str], bindings: Sequence[str] = (), search_paths: Sequence[str] = (), *, study_dir: str
) -> GinStudy:
    """Reads gin files and bindings, in this order, and resolves a study and its base run.

    Args:
        files: as for ``load``.
        bindings: as for ``load``.
        search_paths: as for ``load``.
        study_dir: the study's folder, in which every run gets its own.

    Raises:
        UserError: as ``load``; no file describes a study; a factor varies a macro that is not one run option's; or the
            base run is given a folder.
    """
    given = next((name for name in map(_name_of, bindings) if name in ("MODEL_DIR", "run.model_dir")), None)
    if given:
        raise UserError(f"--gin.{given} names the folder of one run, and a study gives each run its own. Leave it out.")
    base_dir = f"run.model_dir={Path(study_dir) / 'runs' / 'base'}"
    reader = _read(files, [*bindings, base_dir], search_paths, roots=(RUN, STUDY))
    if not _study_keys(reader):
        raise UserError(
            f"None of {', '.join(files) or 'no files'} describes a study: nothing sets study.factors. Name a file from sweeps/, or "
            "one of your own."
        )
    name_varied_macros()
    base = _called(run, reader)
    operative = gin.operative_config_str()
    study = _called(make_study, reader)
    _check_unread(base, reader.origins)
    return GinStudy(study, base, operative, gin.operative_config_str())


def _name_of(binding: str) -> str:
    return binding.partition("=")[0].strip()


def _study_keys(reader: GinReader) -> list[Key]:
    return [key for key in reader.origins if key[1] == STUDY]


def _read(
    files: Sequence[str],
    bindings: Sequence[str],
    search_paths: Sequence[str],
    *,
    folder: str = "",
    roots: Sequence[str] = (RUN,),
) -> GinReader:
    """Reads files and bindings into gin's configuration and checks them, for calls of the roots."""
    gin.clear_config()
    reader = GinReader(search_paths)
    order = FileOrder(shipped_gin_dir(), search_paths)
    if folder:
        reader.folder(Path(folder) / "config.gin")
    for file in files:
        with order.reading(file):
            reader.file(file)
    order.check(bindings)
    # What a file's macro feeds may be set on the command line instead: a run's folder that was moved is such a file.
    fed = macros_read()
    for name, value in in_order(bindings):
        reader.binding(name, as_gin(value, fields_of(name)), f"--gin.{name}={value}")
    check_bindings(
        {
            key: origin
            for key, origin in reader.origins.items()
            if key[1] != MACRO or key[0] not in fed or origin.where.startswith("--gin.")
        },
        roots,
    )
    return reader


def _called(configurable: Any, reader: GinReader) -> Any:
    """Calls what gin has the values of; what it raises is put into a sentence."""
    try:
        return configurable()
    except UserError as error:
        raise UserError(_without_gin_trace(str(error))) from None
    except (RuntimeError, TypeError, ValueError) as error:
        raise _resolution_error(error, reader.written) from error


def _check_unread(config: RunConfig, origins: Mapping[Key, Origin]) -> None:
    """Refuses what the user set and what the values of other settings leave without a reader."""
    for name, field, sentence in unread(config):
        if any(origin.own and key[1:] == (f"{OURS}{name}", field) for key, origin in origins.items()):
            raise UserError(sentence)


def _resolution_error(error: Exception, written: Sequence[str]) -> Exception:
    """Puts what gin raised while it made a run into a sentence; ``written`` are files that a run wrote of itself."""
    text = str(error)
    missing = re.search(r"(\w+)\(\) missing \d+ required (?:positional |keyword-only )?arguments?: (.*)", text)
    if missing:
        names = ", ".join(f"{missing.group(1)}.{name}" for name in re.findall(r"'(\w+)'", missing.group(2)))
        if written:
            return UserError(
                f"{written[-1]} gives no value to {names}: it is not the whole configuration that the run wrote. Put that back, "
                "or name the run's gin files with --gin_file."
            )
        return UserError(
            f"The configuration gives no value to {names}. Include a file from runs/ and one from models/, "
            "with --gin_file or an include line."
        )
    if isinstance(error, ValueError):
        return UserError(_without_gin_trace(text))
    return error


def _without_gin_trace(text: str) -> str:
    """gin appends 'In call to configurable …' lines; the sentence before them is the message."""
    return re.split(r"\n\s*(?:In call to configurable|No values supplied)", text)[0].strip()


def environment_search_paths() -> list[str]:
    """Returns extra search paths from ``FLAN_JAX_GIN_PATH`` (separated like ``PATH``)."""
    return [path for path in os.environ.get("FLAN_JAX_GIN_PATH", "").split(os.pathsep) if path]
