"""``nascli init``."""

from pathlib import Path
from shlex import quote

import click

from nas_cli.options import completing, json_option
from nas_cli.output import print_json

__all__ = ["command"]


@click.command("init")
@click.argument("file", type=click.Path(path_type=Path), default="nas.toml")
@click.option("--space", metavar="S", shell_complete=completing("spaces"), help="Search space, as in `nascli search`.")
@click.option(
    "--method",
    metavar="M",
    shell_complete=completing("methods"),
    help="Method whose settings are listed, as in `nascli search`.",
)
@click.option("--data", metavar="D", shell_complete=completing("data"), help="Data source, as in `nascli search`.")
@click.option("--force", is_flag=True, help="Replace FILE if there is one.")
@json_option
def command(file: Path, space: str | None, method: str | None, data: str | None, force: bool, as_json: bool) -> None:
    """Write a configuration to begin with, in which every key is explained; nas.toml by default.

    \b
    Examples:
      nascli init
      nascli init mine.toml --method darts --data npz:mine.npz
      nascli search --config mine.toml
    """
    from nas_search import RunFolderError
    from nas_search.config import RunConfig
    from nas_search.config_template import commented_toml
    from nas_search.files import write_atomically

    given = {"space": space, "method": method, "data": data}
    text = commented_toml(RunConfig().updated({key: value for key, value in given.items() if value is not None}))
    if file.exists() and not force:
        raise RunFolderError(f"{file} exists; choose another name, or replace it with --force.")
    write_atomically(file, text)
    if as_json:
        print_json({"file": str(file)})
    else:
        click.echo(f"{file}\n\nNext:  nascli search --config {quote(str(file))}")
