"""``nascli list``."""

import math
import textwrap
from typing import Any

import click

from nas_cli.names import KINDS, first_line, told
from nas_cli.options import Choice, json_option
from nas_cli.output import print_json

__all__ = ["command"]


@click.command("list")
@click.argument("kind", type=Choice(KINDS), metavar="|".join(KINDS))
@click.argument("name", required=False)
@click.option("--parts", is_flag=True, help="Of every method, the parts that it is composed of, by their role.")
@json_option
def command(kind: str, name: str | None, parts: bool, as_json: bool) -> None:
    """List what is installed, ours and others'; with the NAME of a method, its settings and parts.

    \b
    Examples:
      nascli list methods
      nascli list methods --parts
      nascli list methods gdas
    """
    if parts and (kind != "methods" or name is not None):
        raise click.UsageError("--parts is for `nascli list methods`; leave it out.")
    if name is not None:
        _settings(kind, name, as_json)
        return
    if parts:
        _parts(as_json)
        return
    entries = told(kind)
    if as_json:
        print_json(entries)
        return
    width = max(map(len, entries))
    for entry, text in entries.items():
        click.echo(f"{entry:<{width}}  {text}")


def _parts(as_json: bool) -> None:
    """The parts of every method at its defaults; a plug-in that does not import says so."""
    from nas_search import ConfigError, catalog

    found: dict[str, dict[str, str]] = {}
    for name in catalog.methods():
        try:
            found[name] = catalog.parts(name)
        except ConfigError as error:
            found[name] = {"broken": first_line(str(error))}
    if as_json:
        print_json(found)
        return
    for name, parts in found.items():
        click.echo(name)
        for role, part in parts.items():
            click.echo(f"  {role:<17} {part}")


def _settings(kind: str, name: str, as_json: bool) -> None:
    from nas_search import ConfigError, catalog
    from nas_search.docstrings import differences, introduction

    if kind != "methods":
        raise ConfigError(f"only methods have settings to list; leave out {name!r}.")
    documented, parts = catalog.documentation(name), catalog.parts(name)
    if as_json:
        defaults = {each.name: _plain(each.default) for each in documented.settings}
        explained = {
            each.name: {"type": each.type, "default": defaults[each.name], "text": each.text}
            for each in documented.settings
        }
        print_json({**defaults, "roles": parts, "text": documented.text, "settings": explained})
        return
    click.echo(f"{introduction(documented.text)}\n\nSettings, by --set or under [settings] of a configuration:\n")
    for each in documented.settings:
        click.echo(f"  {each.name} = {each.default!r}  ({each.type})")
        for line in textwrap.wrap(each.text, 90):
            click.echo(f"      {line}")
    if differs := differences(documented.text):
        click.echo(f"\n{differs}")
    click.echo("\nIts parts, by their role (nas_search/roles.py):\n")
    for role, part in parts.items():
        click.echo(f"  {role:<17} {part}")


def _plain(value: Any) -> Any:
    """A default as JSON has it: infinity, for which JSON has no number, as TOML and --set write it."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
