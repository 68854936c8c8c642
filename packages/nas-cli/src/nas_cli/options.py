"""What the options of several commands share: headings in the help, and how much is printed."""

import difflib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from nas_search.engines import Engine

    _Choice = click.Choice[str]
else:
    _Choice = click.Choice  # no generic class before click 8.2

__all__ = [
    "Choice",
    "Sectioned",
    "completing",
    "engine_of",
    "engine_options",
    "json_option",
    "loudness",
    "quiet_option",
    "weights_option",
]

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Choice(_Choice):
    """One of several words; another one is answered with the nearest."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.ParamType`."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            near = difflib.get_close_matches(str(value), map(str, self.choices), n=1, cutoff=0.0)[0]
            raise click.BadParameter(f"{error.message} Did you mean {near!r}?", ctx, param) from error


class Sectioned(click.Command):
    """A command whose help puts its options under headings.

    Args:
        sections: the names of the parameters under each heading; the others stand under ``Options`` at the end.
    """

    def __init__(self, *args: Any, sections: dict[str, tuple[str, ...]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sections = sections

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See `click.Command`."""
        # Not the arguments, which the first line has: of these, new versions of click have records too.
        options = [parameter for parameter in self.get_params(ctx) if isinstance(parameter, click.Option)]
        records = {parameter.name: parameter.get_help_record(ctx) for parameter in options}
        named = {name for names in self.sections.values() for name in names}
        rest = tuple(name for name in records if name is not None and name not in named)
        for heading, names in {**self.sections, "Options": rest}.items():
            rows = [record for name in names if (record := records[name]) is not None]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)


def completing(kind: str, *, several: bool = False) -> Callable[..., list[str]]:
    """What a shell completes an option by: the names that ``nascli list KIND`` shows.

    Args:
        kind: ``spaces``, ``methods`` or ``data``, of which what is before the colon is completed.
        several: whether names are joined by commas, of which the last one is completed.
    """

    def names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        from nas_cli.names import told

        done, comma, begun = incomplete.rpartition(",") if several else ("", "", incomplete)
        words = [name.partition(":")[0] + ":" * (":" in name) for name in told(kind)]
        return [done + comma + word for word in words if word.startswith(begun)]

    return names


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else on stdout.")

weights_option = click.option(
    "--weights",
    type=Choice(["best", "last"]),
    help="Of the epoch that validated best, or of the last one; by default those that the training chose.",
)


def engine_options(what: str) -> Callable[[_Function], _Function]:
    """The options ``--workers``, ``--engine``, ``--address`` and ``--gpus``: see `engine_of`.

    Args:
        what: the workers do, as a help text begins.
    """

    def add(function: _Function) -> _Function:
        for option in (
            click.option("--gpus", type=float, default=0.0, metavar="G", help="GPUs of each worker on Ray (0)."),
            click.option("--address", default="", metavar="HOST:PORT", help="A running Ray cluster."),
            click.option(
                "--engine", type=Choice(["local", "ray"]), default="local", help="What runs the workers (local)."
            ),
            click.option("--workers", type=int, default=1, metavar="N", help=f"{what} (1)."),
        ):
            function = option(function)
        return function

    return add


def engine_of(engine: str, workers: int, address: str, gpus: float) -> "Engine":
    """What the options of `engine_options` stand for.

    Raises:
        ConfigError: less than one worker, or what is for Ray alone without it.
    """
    from nas_search import ConfigError
    from nas_search.engines import LocalEngine, RayEngine
    from nas_search.run_state import check_positive

    check_positive(workers=workers)
    if engine == "ray":
        return RayEngine(workers, address=address, gpus=gpus)
    if address:
        raise ConfigError(f"--address {address} needs --engine ray.")
    if gpus:
        raise ConfigError(f"--gpus {gpus:g} needs --engine ray; workers of this machine share its GPUs by themselves.")
    return LocalEngine(workers)


quiet_option = click.option("--quiet", is_flag=True, help="Show nothing on the way, only the result.")


def loudness(more: str) -> Callable[[_Function], _Function]:
    """The options ``--quiet`` and ``--verbose``, of which one may be given.

    Args:
        more: what is shown if verbose, as a help text ends.
    """
    quiet = click.option(
        "--quiet", is_flag=True, callback=_one_of_both, help="Show nothing on the way, only the result."
    )
    verbose = click.option("--verbose", is_flag=True, callback=_one_of_both, help=f"Show {more}.")
    return lambda function: quiet(verbose(function))


def _one_of_both(ctx: click.Context, parameter: click.Parameter, value: bool) -> bool:
    other = {"quiet": "verbose", "verbose": "quiet"}[str(parameter.name)]
    if value and ctx.params.get(other):
        raise click.UsageError("--quiet and --verbose exclude each other; leave one out.")
    return value
