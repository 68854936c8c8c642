"""``nascli completion``."""

import click
from click.shell_completion import get_completion_class

from nas_cli.options import Choice

__all__ = ["command"]


@click.command("completion")
@click.argument("shell", type=Choice(["bash", "zsh", "fish"]), metavar="bash|zsh|fish")
def command(shell: str) -> None:
    """Print what makes a shell complete the commands, options, names and files of `nascli`.

    \b
    Examples:
      nascli completion bash >> ~/.bashrc
      nascli completion zsh >> ~/.zshrc
      nascli completion fish > ~/.config/fish/completions/nascli.fish
    """
    from nas_cli.main import nascli

    completion = get_completion_class(shell)
    if completion is None:
        raise click.UsageError(f"this version of click has no completion for {shell}; upgrade it.")
    # The name of the variable is the one by which click recognises that a shell asks.
    click.echo(completion(nascli, {}, "nascli", "_NASCLI_COMPLETE").source())
