"""``nascli``: commands by name, each imported only when it is called, and errors in one line."""

import difflib
import os
import signal
import sys
from importlib import import_module
from types import FrameType

import click

__all__ = ["main", "nascli"]

# The help of every command stands here as well, so that `nascli --help` imports neither torch nor the commands.
_COMMANDS = {
    "search": "Search a network on images, train it, and write a report.",
    "init": "Write a configuration to begin with, in which every key is explained; nas.toml by default.",
    "train": "Train the network that RUN found from scratch, on all its train images.",
    "evaluate": "Say how many test images the trained network of RUN classifies rightly.",
    "export": "Write the trained network of RUN as ONNX or torch.export, or what was found as JSON.",
    "report": "Write one self-contained page about RUNS, side by side if there are several.",
    "show": "Show an architecture as text and as a picture, of a run or written out.",
    "query": "Say what a tabular benchmark knows of an architecture.",
    "sweep": "Run several methods with several seeds, and put them side by side.",
    "list": "List what is installed, ours and others'; with the NAME of a method, its settings and parts.",
    "doctor": "Show versions and devices, and what is missing for what.",
    "completion": "Print what makes a shell complete the commands, options, names and files of `nascli`.",
}


# What processes that torchrun starts do together, or refuse by themselves; everything else the first of them does alone.
_TOGETHER = {"search", "train", "sweep"}

# What is begun says by itself how it goes on.
_INTERRUPTED = (
    "interrupted before anything was begun, or between two files, each of which is whole: repeat the same command."
)


class _Commands(click.Group):
    """A group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"nas_cli.commands.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], _COMMANDS, n=1, cutoff=0.0)[0]
            ctx.fail(f"No such command {args[0]!r}. Did you mean {near!r}?")
        alone = args and args[0] not in _TOGETHER and not {"-h", "--help"} & set(args)
        if alone and not _first() and _of_several() and not ctx.resilient_parsing:
            ctx.exit(0)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(None, "--version", package_name="nas-cli", prog_name="nascli")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def nascli(debug: bool) -> None:  # `main` reads --debug itself, so that it may stand anywhere
    """Search network architectures, augmentation and hyper-parameters by gradients.

    Without any option, `nascli search` searches and trains a network for handwritten digits in one to two minutes.

    \b
    Examples:
      nascli search
      nascli init mine.toml
      nascli search --config mine.toml --out runs/mine
      nascli list methods daas
    """


def main() -> None:
    """Run ``nascli`` and leave with 0 done, 1 failed, 2 wrong use, 130 interrupted."""
    asked: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        raise KeyboardInterrupt

    # What is outside of a run's own handling of signals ends like Ctrl-C too.
    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as a shell has it for what runs in the background
            signal.signal(number, interrupt)
    debug = "--debug" in sys.argv[1:]
    try:
        status = nascli.main(args=_hoist_debug(sys.argv[1:]), prog_name="nascli", standalone_mode=False)
    except click.ClickException as error:
        if _first():
            error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        if _first():
            _say(_INTERRUPTED)
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has enough of it; Python must not complain when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        if asked and not type(error).__module__.startswith("nas_"):
            # A library that is interrupted while it is imported may end in any error, and cannot be imported to explain it.
            if _first():
                _say(_INTERRUPTED)
            sys.exit(130)
        sys.exit(_explain(error))
    # What a command leaves with by itself comes back as a number.
    sys.exit(status if isinstance(status, int) else 0)


def _hoist_debug(arguments: list[str]) -> list[str]:
    """``--debug`` may stand anywhere."""
    rest = [argument for argument in arguments if argument != "--debug"]
    return ["--debug", *rest] if len(rest) < len(arguments) else rest


def _first() -> bool:
    """Whether this process speaks: of those that torchrun starts, the first."""
    return os.environ.get("RANK", "0") == "0"


def _of_several() -> bool:
    return os.environ.get("WORLD_SIZE", "1") not in ("", "1")


def _explain(error: Exception) -> int:
    """Print an error in one line; the exit status."""
    # Imported here: an error of the libraries can only have been raised where they are imported already.
    from nas_augment import AugmentError
    from nas_cli.output import OutOfMemoryError, is_out_of_memory
    from nas_hypergrad import HypergradError, SettingError
    from nas_search import ConfigError, Interrupted, SearchError
    from nas_spaces import ArchitectureError, InputError, SpacesError, UnknownSpaceError

    # What is wrong for all ranks is said once; what may befall one of them, such as a file that it cannot read, each says.
    if isinstance(error, Interrupted):
        if _first():
            _say(str(error))
        return 130
    if isinstance(error, ConfigError | UnknownSpaceError | ArchitectureError | InputError | SettingError):
        if _first():
            _say(str(error))
        return 2
    if isinstance(error, SearchError | SpacesError | AugmentError | HypergradError):
        _say(str(error))
        return 1
    if isinstance(error, OSError):
        _say(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        return 1
    if is_out_of_memory(error):
        told = isinstance(error, OutOfMemoryError)
        _say(str(error) if told else "out of memory: try a smaller --batch-size, --channels or --cells.")
        return 1
    if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        needs = "It needs a C++ compiler: install one, or leave" if "Compile" in type(error).__name__ else "Leave"
        _say(f"torch.compile failed: {_first_line(error)}. {needs} out --compile.")
        return 1
    _say(f"{type(error).__name__}: {_first_line(error)} (an error of ours, or of a plug-in; --debug shows where)")
    return 1


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else ""


def _say(message: str) -> None:
    who = "nascli" if _first() else f"nascli (rank {os.environ['RANK']})"
    click.echo(f"{who}: {' '.join(message.split())}", err=True)
