"""`eventdrill schema`: the JSON Schema of scenario files, for editors that complete and check while people type."""

NAME = "schema"
EXAMPLE = "eventdrill schema > scenario.schema.json"


def verb() -> None:
    """Print the JSON Schema of a scenario file.

    An editor that knows YAML schemas completes and checks scenarios with it, for example through a first line
    `# yaml-language-server: $schema=scenario.schema.json`.
    """
    from eventdrill.terminal import show_json
    from scenarios.schema import json_schema

    show_json(json_schema())
