"""Compares one document with one JSON Schema, in a process that may be killed. stdin and stdout are JSON."""

from __future__ import annotations

import itertools
import json
import resource
import sys
from collections.abc import Mapping
from typing import Any

import jsonschema
import referencing
import referencing.exceptions

from tickover.core.text import one_line

MEMORY = 1 << 30
CPU_S = 30
_MOST = 10


def problems(schema: Any, document: Any) -> Mapping[str, object]:
    """Return {"problems": [...]} or {"unusable": why}. A `$ref` never leads out of the schema."""
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
        found = kind(schema, registry=referencing.Registry()).iter_errors(document)
        return {"problems": [_sentence(error) for error in itertools.islice(found, _MOST)]}
    except jsonschema.SchemaError as error:
        return {"unusable": _sentence(error)}
    except (referencing.exceptions.Unresolvable, jsonschema.exceptions.UnknownType) as error:
        return {"unusable": one_line(str(error))}
    except RecursionError:
        return {"unusable": "it refers to itself without end"}


def _sentence(error: Any) -> str:
    return one_line(f"{error.json_path} {error.message}")


def main() -> None:
    """Read, compare, write."""
    for limit, wanted in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, CPU_S)):
        hard = resource.getrlimit(limit)[1]
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(limit, (most, most))
    task = json.load(sys.stdin)
    json.dump(problems(task["schema"], task["document"]), sys.stdout)


if __name__ == "__main__":
    main()
