"""`tickover schema`: the grammar for editors and other programs."""

from __future__ import annotations

import click

from tickover.cli.output import print_json
from tickover.routines.schema import environment_schema, routine_schema


@click.command(epilog="\b\nExample:\n  tickover schema > routine.schema.json")
@click.option("--environment", is_flag=True, help="The schema of environments/NAME.yaml instead.")
def command(environment: bool) -> None:
    """Print the JSON Schema of ROUTINE.md's front matter. It has every key, also those not built yet."""
    print_json(environment_schema() if environment else routine_schema())
