"""Results that a process measured of a run that another one may be writing, beside that one's list of files.

ADDRESS/added/NAME/DIGEST     the content of a file
ADDRESS/added/NAME/run.json   the files, as in the run's own list, and the run that they are of

Each writer has a folder of its own, so that evaluations of several machines and the training of the run are in nobody's way.
The run takes the results into its folder when it goes on, and removes what its list has by then.
"""

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flan_jax.experiments.run_folder.address_files import AddressFiles

ADDED, INDEX = "added", "run.json"


class AddedResults:
    """The results at an address that are not in the run's own list.

    Args:
        files: of the address.
    """

    def __init__(self, files: AddressFiles) -> None:
        self._files = files
        self._known: dict[str, Mapping[str, Any]] = {}

    def over(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a run's list with the results that were added to it; their entries say where they lie (``added``).

        Raises:
            UserError: the address cannot be read.
        """
        entries = dict(found["files"])
        self._known = {name: own for name in self._files.names(ADDED) if (own := self._read(name)) is not None}
        for name, known in sorted(self._known.items(), key=lambda pair: str(pair[1].get("time", ""))):
            if known["identity"] == found["identity"]:
                entries |= {path: {**entry, "added": (ADDED, name)} for path, entry in known["files"].items()}
        return {**found, "files": entries}

    def add(self, identity: str, time: str, files: Mapping[str, tuple[Path, str]]) -> None:
        """Writes results.

        Args:
            identity: of the run.
            time: when they were measured, in an order of texts.
            files: name in the run's folder → the file and its digest.

        Raises:
            UserError: the address takes nothing.
        """
        name, entries = secrets.token_hex(8), {}
        for path, (file, digest) in files.items():
            self._files.put(file, ADDED, name, digest)
            entries[path] = {"digest": digest, "bytes": file.stat().st_size}
        self._files.write(
            json.dumps({"identity": identity, "time": time, "files": entries}, indent=1), ADDED, name, INDEX
        )

    def forget(self, entries: Mapping[str, Mapping[str, Any]]) -> None:
        """Removes what a run's new list has too, of what was there when it was read."""
        for name, own in list(self._known.items()):
            if set(own["files"]) <= set(entries):
                self._files.remove(ADDED, name, INDEX)
                for digest in {entry["digest"] for entry in own["files"].values()}:
                    self._files.remove(ADDED, name, digest)
                del self._known[name]

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            found = json.loads(self._files.read(ADDED, name, INDEX))
        except (FileNotFoundError, ValueError):  # it is being written, or was removed this moment
            return None
        return found if isinstance(found, dict) and {"identity", "files"} <= set(found) else None
