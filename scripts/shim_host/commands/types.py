"""`types`: the schema as a module of an application's own language."""

from pathlib import Path

import click

from shim_host import inputs, output
from shim_host.commands import options
from shim_host.errors import Refused, UsageError
from shim_host.files import write_whole


@click.command("types")
@click.option("--python", "language", flag_value="python", help="Write a Python module with a dataclass.")
@click.option("--typescript", "language", flag_value="typescript", help="Write a TypeScript module with an interface.")
@click.option("--service", default="", metavar="NAME", help="Only the keys that the schema gives this service.")
@options.output_file("Write the module to FILE.")
@options.schema
def types(language: str | None, service: str, target: Path | None, schema_path: Path | None) -> None:
    """Write typed code that loads an application's secrets, from the schema.

    A key's @type becomes a type of the language, and the comments above it become its documentation. A key that is not
    @required and has no default can be None (in TypeScript, undefined). This command reads no value: the module does,
    when your program starts, by the same rules as the shim.

    \b
    Examples:
      manage-secrets types --python --output app/secrets_of_app.py
      manage-secrets types --typescript --service web > src/secrets.ts
    """
    if language is None:
        raise UsageError("give --python or --typescript")
    schema = inputs.read_schema(schema_path)
    if schema is None:
        raise Refused("there is no schema to generate types from", f"write {inputs.SCHEMA}, or name one with --schema")
    part = schema.for_service(service) if service else schema
    from shim_host.apps import fields, python_types, typescript_types

    for field in fields.without_file(part):
        output.warn(
            f"{field.key} is binary, and the schema does not deliver it as a file",
            f"write @deliver=file above {field.key}= in it; without the shim, set {field.variable} to the file's path",
        )
    module = python_types.module if language == "python" else typescript_types.module
    text = module(part, Path(schema.source).name)
    if target is None:
        output.give_text(text)
        return
    write_whole(target, text.encode("utf-8"), 0o666)
