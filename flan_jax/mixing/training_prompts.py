"""The prompts of a mixture's training tasks, chosen otherwise: their modes, inversion, solved examples, templates.

Only training changes. A task whose templates are chosen gets a variant of its name, as suites may measure it as it was.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from flan_jax.errors import UserError
from flan_jax.mixing.config import MixingConfig
from flan_jax.mixing.mixture import Dropped, Entry, Mixture
from flan_jax.tasks.hashing import counter_hash
from flan_jax.tasks.invert import SUFFIX
from flan_jax.tasks.spec import Prompted, PromptMode
from flan_jax.tasks.task import as_prompted

_ZERO, _FEW = "zs_", "fs_"


@dataclasses.dataclass(frozen=True)
class Share:
    """A prompt of a task, with its part of a rate.

    Attributes:
        task: the prompt.
        rate: as ``Entry.rate``: its own before it was divided, or ``None`` where the policy decides.
        scale: as ``Entry.scale``.
        origin: the name of the mixture's prompt that it came from.
    """

    task: Prompted
    rate: float | None
    scale: float
    origin: str

    @property
    def weight(self) -> float:
        """Its part among the prompts of one task: they have one size, so a policy gives them one rate."""
        return (1.0 if self.rate is None else self.rate) * self.scale


Change = Callable[[list[Share]], list[Share]]
"""The prompts of one task in one mixture → those that take their place; what they lack of the whole rate is given back."""


def with_training_prompts(mixture: Mixture, config: MixingConfig, seed: int) -> Mixture:
    """Returns the mixture trained with the prompts that a configuration asks for.

    Args:
        mixture: any; nested mixtures are changed alike.
        config: ``modes``, ``inversion``, ``few_shot_share`` and ``max_templates`` are read.
        seed: chooses templates.

    Raises:
        UserError: no task has the modes, solved examples beside such as the mixture has already, or a mixture whose
            policy cannot divide a rate.
    """
    changes = list(_changes(mixture, config, seed))
    if not changes:
        return mixture
    made: dict[str, list[Share]] = {}
    entries = _entries(mixture, changes, made)
    if not entries:
        raise UserError(
            f"No task of mixture {mixture.name!r} can be trained with "
            f"run.modes={', '.join(config.modes)!r} and run.inversion={config.inversion}. Choose other prompts."
        )
    rates = dict(mixture.curriculum)
    curriculum: dict[str, float] = {}
    for name, rate in rates.items():
        shares = made.get(name)
        if shares is None:
            curriculum[name] = rate  # a task without templates of ours, which stays as it was
        total = sum(share.weight for share in shares or ())
        for share in shares or ():
            curriculum[share.task.name] = curriculum.get(share.task.name, 0.0) + rate * share.weight / total
    left = {task.spec_name for entry in entries for task in entry.tasks}
    measured = {task.spec_name for suite in mixture.suites for task in suite.tasks}
    gone = [name for name in dict.fromkeys(task.spec_name for task in mixture.train_tasks) if name not in left]
    dropped = [Dropped(name, "no prompt as run.modes and run.inversion ask") for name in gone if name not in measured]
    return dataclasses.replace(
        mixture,
        entries=entries,
        curriculum=tuple(curriculum.items()),
        dropped=(*mixture.dropped, *dropped),
        notes=(*mixture.notes, *_notes(gone, measured, entries, config)),
    )


def _notes(gone: Sequence[str], measured: set[str], entries: Iterable[Entry], config: MixingConfig) -> list[str]:
    """Says which tasks are as they were, or not trained on, though something else was asked for."""
    notes = []
    untrained = [name for name in gone if name in measured]
    if untrained:
        asked = f"run.modes={', '.join(config.modes)}" if config.modes else "run.inversion=False"
        notes.append(f"measured and not trained on, without a prompt as {asked} asks: {_counted(untrained)}")
    if config.few_shot_share:
        trained = [own for entry in entries for task in entry.tasks if (own := as_prompted(task)) is not None]
        few = {task.spec_name for task in trained if task.mode.few_shot}
        zero = [name for name in dict.fromkeys(task.spec_name for task in trained) if name not in few]
        if zero:
            notes.append(f"zero-shot as they were, without a few-shot prompt: {_counted(zero)}")
    return notes


def _counted(names: Sequence[str]) -> str:
    some = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return f"{len(names):,} {'task' if len(names) == 1 else 'tasks'} ({some})"


def _changes(mixture: Mixture, config: MixingConfig, seed: int) -> Iterable[Change]:
    if config.modes:
        yield lambda shares: _in_modes(shares, config.prompt_modes)
    if not config.inversion:
        yield _without_inversion
    if config.few_shot_share is not None:
        share = config.few_shot_share
        shown = [own for task in mixture.train_tasks if (own := as_prompted(task)) is not None and own.mode.few_shot]
        modes = [mode for mode in config.prompt_modes if mode.few_shot]
        if modes or (shown and not config.modes):
            what = (
                f"run.modes has {str(modes[0])!r}" if modes else f"mixture {mixture.name!r} trains on {shown[0].name!r}"
            )
            raise UserError(
                f"run.few_shot_share={share:g} divides zero-shot prompts, but {what}, which has solved examples already. Give "
                "run.weights to its parts instead, or choose zero-shot modes with run.modes."
            )
        yield lambda shares: [made for one in shares for made in _few_shot(one, share)]
    if config.max_templates:
        yield lambda shares: [_fewer_templates(one, config.max_templates, seed) for one in shares]


def _entries(mixture: Mixture, changes: Sequence[Change], made: dict[str, list[Share]]) -> tuple[Entry, ...]:
    """The entries with changed prompts, each task's where its first one was; ``made`` gets what became of each prompt."""
    groups: dict[str, list[Entry]] = {}
    for entry in mixture.entries:
        groups.setdefault(_spec_name(entry), []).append(entry)
    found: list[Entry] = []
    for entry in mixture.entries:
        if isinstance(entry.task, Mixture):
            inner = _entries(entry.task, changes, made)
            if inner:
                found.append(
                    dataclasses.replace(entry, task=dataclasses.replace(entry.task, entries=inner, curriculum=()))
                )
        elif as_prompted(entry.task) is None:
            found.append(entry)
        elif entry is groups[_spec_name(entry)][0]:
            found += _changed(groups[_spec_name(entry)], changes, made)
    return tuple(found)


def _spec_name(entry: Entry) -> str:
    return entry.task.name if isinstance(entry.task, Mixture) else entry.task.spec_name


def _changed(group: Sequence[Entry], changes: Sequence[Change], made: dict[str, list[Share]]) -> list[Entry]:
    """The prompts of one task in one mixture, changed; those without a rate to share stay out of it."""
    shares = [
        Share(own, entry.rate, entry.scale, own.name)
        for entry in group
        if not isinstance(entry.task, Mixture) and (own := as_prompted(entry.task)) is not None and entry.rate != 0
    ]
    left_out = [entry for entry in group if entry.rate == 0]
    for change in changes:
        whole = sum(share.weight for share in shares)
        changed = _merged(change(shares))
        rest = sum(share.weight for share in changed)
        shares = [dataclasses.replace(one, scale=one.scale * whole / rest) for one in changed]
    for entry in group:
        made.setdefault(entry.task.name, [])
    for share in shares:
        made.setdefault(share.origin, []).append(share)
    names = {share.task.name for share in shares}
    return [
        *(Entry(share.task, share.rate, share.scale) for share in shares),
        *(entry for entry in left_out if entry.task.name not in names),
    ]


def _merged(shares: Iterable[Share]) -> list[Share]:
    """The same prompts once each, with the sum of their parts."""
    found: dict[str, Share] = {}
    for share in shares:
        other = found.get(share.task.name)
        if other is None:
            found[share.task.name] = share
        elif other.rate is None or other.rate == 0:
            found[share.task.name] = dataclasses.replace(other, scale=other.scale + share.weight)
        else:
            scale = other.scale + share.weight / other.rate
            found[share.task.name] = dataclasses.replace(other, scale=scale)
    return list(found.values())


def _is_inverted(task: Prompted) -> bool:
    """Tells whether no template that is drawn asks for the answer."""
    return not set(task.drawn_templates) & set(task.scored_templates)


def _in_modes(shares: list[Share], modes: Sequence[PromptMode]) -> list[Share]:
    """Every prompt in each of the modes that its task has; inverted ones stay where instructions are given at all."""
    found = []
    instructed = any(mode.instructs for mode in modes)
    for share in shares:
        if _is_inverted(share.task):
            found += [share] if instructed else []
            continue
        own = [mode for mode in modes if mode in share.task.spec.modes]
        found += [
            dataclasses.replace(share, task=_in_mode(share.task, mode), scale=share.scale / len(own)) for mode in own
        ]
    return found if any(not _is_inverted(share.task) for share in found) else []


def _in_mode(task: Prompted, mode: PromptMode) -> Prompted:
    """The prompt in another mode, drawn from the same templates where the mode has these."""
    if mode == task.mode:
        return task
    ids = task.template_ids if mode.reasons == task.mode.reasons else None
    if ids is not None and not mode.instructs:
        ids = tuple(index for index in ids if index in task.scored_templates)
    return dataclasses.replace(task, mode=mode, template_ids=ids)


def _without_inversion(shares: list[Share]) -> list[Share]:
    """The prompts without inverted templates; none of an inverted task, which is known by its name's ending."""
    found = []
    for share in shares:
        task = share.task
        if task.spec_name.endswith(SUFFIX) or _is_inverted(task):
            continue
        kept = tuple(index for index in task.drawn_templates if index in task.scored_templates)
        if kept != task.drawn_templates:
            task = _variant(dataclasses.replace(task, template_ids=kept), "not_inverted")
        found.append(dataclasses.replace(share, task=task))
    return found


def _few_shot(share: Share, part: float) -> list[Share]:
    """A zero-shot prompt divided in two, so much of it with solved examples."""
    task = share.task
    mode = task.mode.value.replace(_ZERO, _FEW)
    if not part or mode not in task.spec.modes or mode == task.mode:
        return [share]
    few = dataclasses.replace(share, task=dataclasses.replace(task, mode=PromptMode(mode)), scale=share.scale * part)
    return [few] if part == 1 else [dataclasses.replace(share, scale=share.scale * (1 - part)), few]


def _fewer_templates(share: Share, count: int, seed: int) -> Share:
    """The prompt drawn from so many templates at most, one of them at least asking for the answer if any does."""
    task = share.task
    drawn = sorted(task.drawn_templates, key=lambda index: counter_hash(seed, "templates", task.spec_name, index))
    if len(drawn) <= count:
        return share
    scored = [index for index in drawn if index in task.scored_templates]
    first = [*scored[:1], *(index for index in drawn if index not in scored[:1])]
    chosen = tuple(sorted(first[:count]))
    return dataclasses.replace(
        share, task=_variant(dataclasses.replace(task, template_ids=chosen), f"{count}of{len(drawn)}templates")
    )


def _variant(task: Prompted, word: str) -> Prompted:
    return dataclasses.replace(task, variant=f"{task.variant}_{word}" if task.variant else word)
