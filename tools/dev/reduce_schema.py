"""Reduces the definition of a Kubernetes resource to what a manifest of `launch` is checked against: names and types.

    python tools/dev/reduce_schema.py CRD.yaml VERSION > tests/launch/schemas/NAME.json

Descriptions are left out, and so are the parts of a pod that no manifest of ours has: a manifest that begins to use one
is refused by the test until it is taken in here.
"""

import json
import sys
from typing import Any

import yaml

KEPT = ("type", "enum", "required", "pattern", "minimum", "maximum", "maxItems", "x-kubernetes-int-or-string")
NOT_OURS = {
    "affinity", "initContainers", "ephemeralContainers", "lifecycle", "livenessProbe", "readinessProbe", "startupProbe",
    "topologySpreadConstraints", "dnsConfig", "hostAliases", "resourceClaims", "successPolicy", "selector",
}  # fmt: skip
VOLUMES = {"name", "persistentVolumeClaim", "emptyDir", "hostPath", "secret"}


def reduced(schema: dict[str, Any], name: str = "") -> dict[str, Any]:
    """A schema with names and types alone."""
    found = {key: schema[key] for key in KEPT if key in schema}
    if "properties" in schema:
        own = {key: value for key, value in schema["properties"].items() if key not in NOT_OURS}
        if name == "volumes":
            own = {key: value for key, value in own.items() if key in VOLUMES}
        found["properties"] = {key: reduced(value, key) for key, value in own.items()}
    if "items" in schema:
        found["items"] = reduced(schema["items"], name)
    if isinstance(schema.get("additionalProperties"), dict):
        found["additionalProperties"] = reduced(schema["additionalProperties"])
    return found


def main(path: str, version: str) -> None:
    """Prints the reduced schema of the newest version that is served."""
    with open(path, encoding="utf-8") as file:
        definition = yaml.safe_load(file)["spec"]
    served = [each for each in definition["versions"] if each.get("served", True)][-1]
    whole = served["schema"]["openAPIV3Schema"]
    whole["properties"].pop("status", None)
    content = {
        "kind": definition["names"]["kind"],
        "apiVersion": f"{definition['group']}/{served['name']}",
        "release": version,
        "schema": reduced(whole),
    }
    print(json.dumps(content, indent=None, separators=(",", ":")))


if __name__ == "__main__":
    main(*sys.argv[1:])
