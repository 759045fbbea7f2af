"""The state of every run of a study, from its records and the claims on its groups: no database is asked."""

import dataclasses

from flan_jax.studies.claims import Claims, Owner
from flan_jax.studies.run_records import RunRecord, State
from flan_jax.studies.study_dir import StudyDir


@dataclasses.dataclass(frozen=True)
class RunState:
    """One run as it stands.

    Attributes:
        record: what was noted of it.
        state: as it is at this moment.
        owner: the process that is training it; ``None`` where none is.
    """

    record: RunRecord
    state: State
    owner: Owner | None = None


def run_states(study: StudyDir, claims: Claims) -> dict[str, RunState]:
    """Returns the state of every run, by name, in the study's order.

    Raises:
        UserError: a record is damaged.
    """
    owners: dict[str, Owner | None] = {}
    found = {}
    for plan in study.plans:
        record = study.record(plan.name)
        owner = None
        if record.last is not None and not record.last.ended:
            group = record.last.group
            if group not in owners:
                owners[group] = claims.owner(group)
            owner = owners[group]
        found[plan.name] = RunState(record, record.state(claimed=owner is not None), owner)
    return found
