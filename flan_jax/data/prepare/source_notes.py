"""What sources say of their files, for manifests."""

from collections.abc import Mapping
from typing import Any


def notes_of(source: Any, split: str) -> dict[str, Any]:
    """What a source has to say of the file of a split, where it says anything: see ``InstructionSource.notes``."""
    notes = getattr(source, "notes", None)
    said = {} if notes is None else notes(split)
    return {"notes": said} if said else {}


def left_out_before(notes: Mapping[str, Any]) -> dict[str, int]:
    """Reason or cleaning step → the records that it left out before any task saw them."""
    steps = {step: count["left_out"] for step, count in notes.get("steps", {}).items()}
    return {reason: count for reason, count in {**notes.get("left_out", {}), **steps}.items() if count}
