from __future__ import annotations

import json
from collections.abc import Callable

from click.testing import Result

from tickover.core.definition import Environment, FrontMatter

Cli = Callable[..., Result]


def test_the_schema_has_every_key(cli: Cli) -> None:
    schema = json.loads(cli("schema").stdout)
    assert set(schema["properties"]) == set(FrontMatter.model_fields)
    assert set(json.loads(cli("schema", "--environment").stdout)["properties"]) == set(Environment.model_fields)
