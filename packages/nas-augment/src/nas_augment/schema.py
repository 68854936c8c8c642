"""The JSON schema of a decided policy, for tools that read one without this package."""

import json
from importlib.resources import files
from typing import Any

__all__ = ["policy_schema"]


def policy_schema() -> dict[str, Any]:
    """What `Policy.to_json` writes, as a JSON schema (draft 2020-12); the file is ``nas_augment/policy.schema.json``.

    Example:
        >>> sorted(policy_schema()["required"])
        ['format', 'stages', 'version']
    """
    schema: dict[str, Any] = json.loads((files("nas_augment") / "policy.schema.json").read_text(encoding="utf-8"))
    return schema
