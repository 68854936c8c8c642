"""Methods by name: ours, and those registered under the entry point ``nas.methods``; and the policies of nas-augment."""

import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from operator import attrgetter
from typing import Any, Literal, get_args, get_origin

from nas_augment import Policy, UnknownPolicyError
from nas_augment import catalog as augment_catalog
from nas_search import methods as our_methods
from nas_search.describe import describe
from nas_search.docstrings import argument_texts
from nas_search.errors import ConfigError, nearest
from nas_search.method import Method

__all__ = [
    "Documentation",
    "Setting",
    "documentation",
    "load",
    "method",
    "methods",
    "nearest",
    "parts",
    "policies",
    "policy",
    "settings",
]

_METHODS = {name: f"nas_search.methods:{name}" for name in our_methods.__all__}
# A setting that another method explains, and perhaps what is added to that: "as in `darts`; of one rung."
_AS_IN = re.compile(r"as in `(\w+)`(.*)")


@dataclass(frozen=True)
class Setting:
    """A setting of a method, as its function documents it.

    Args:
        name: of the parameter.
        default: its value when left out.
        type: its annotation as text.
        text: what the docstring says of it, with the unit if it has one; empty if nothing.
    """

    name: str
    default: Any
    type: str
    text: str


@dataclass(frozen=True)
class Documentation:
    """What a method says of itself.

    Args:
        text: its docstring, with equations, the paper and what differs from it.
        settings: in the order of its parameters.
    """

    text: str
    settings: tuple[Setting, ...]


def methods() -> dict[str, str]:
    """The name of every installed method and where it is defined, as ``module:function``."""
    others = {point.name.replace("-", "_"): point.value for point in entry_points(group="nas.methods")}
    return others | _METHODS


def policies() -> dict[str, str]:
    """The name of every installed augmentation policy and where it is defined, as ``module:function``."""
    return augment_catalog.names()


def method(name: str, values: Mapping[str, Any] | None = None) -> Method:
    """Compose a method by its name; hyphens and underscores are the same.

    Args:
        name: of the method.
        values: settings other than the defaults, by the names of the function's parameters.

    Raises:
        ConfigError: no such method or setting (with the nearest name), or a value of the wrong type.
    """
    make = _find(name)
    checked = {key: _check(name, key, value, settings(name)) for key, value in (values or {}).items()}
    return make(**checked)


def settings(name: str) -> dict[str, Any]:
    """The settings of a method with their defaults.

    Raises:
        ConfigError: no such method, or one whose settings have no defaults.
    """
    parameters = inspect.signature(_find(name)).parameters
    named = {key: p.default for key, p in parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    for key, default in named.items():
        if default is inspect.Parameter.empty:
            raise ConfigError(
                f"setting {key!r} of method {name!r} has no default; a method that is called by its name needs one."
            )
    return named


def documentation(name: str) -> Documentation:
    """What a method and its settings are, from the signature and the docstring of its function.

    A setting that is, in the docstring, "as in" another method has the text that it has there.

    Raises:
        ConfigError: as `settings`.
    """
    defaults = settings(name)
    make = _find(name)
    text = inspect.getdoc(make) or ""
    texts, parameters = argument_texts(text), inspect.signature(make).parameters
    described = (
        Setting(key, value, _type(parameters[key]), _written_out(key, texts.get(key, "")))
        for key, value in defaults.items()
    )
    return Documentation(text, tuple(described))


def _written_out(key: str, text: str) -> str:
    """What is said of a setting; where it is `as in` another method, what is said there, and what is added to it."""
    found = _AS_IN.fullmatch(text)
    if found is None or found[1] not in methods():
        return text
    theirs = {each.name: each.text for each in documentation(found[1]).settings}.get(key)
    return text if theirs is None else f"{theirs.removesuffix('.')}{found[2]}"


def parts(name: str) -> dict[str, str]:
    """The parts of a method by their role, as they would be made; those that are left out are not there.

    Raises:
        ConfigError: as `method`.
    """
    made = method(name)
    roles = (
        "supernet",
        "relaxation",
        "sampler",
        "updates",
        "loss",
        "outer_loss",
        "hypergradient",
        "regularizers",
        "policy",
    )
    learned = ("policy_optimizer", "hyperparameters", "weights", "outer", "selector", "network", "stop")
    return {role: describe(getattr(made, role)) for role in (*roles, *learned) if getattr(made, role) not in (None, ())}


def policy(name: str) -> Policy:
    """An augmentation policy that nothing is learned of, by its name.

    Raises:
        ConfigError: no such policy (with the nearest name), or one that is learned.
    """
    try:
        found = augment_catalog.policy(name)
    except UnknownPolicyError as error:
        raise ConfigError(str(error)) from error
    if list(found.parameters()):
        fixed = [each for each in policies() if each not in ("daas", "dada", "dha")]
        raise ConfigError(
            f"policy {name!r} is learned, and needs a method that learns it; fixed ones are {', '.join(fixed)}."
        )
    return found.decide()


def load(place: str) -> Callable[..., Any]:
    """What stands at ``module:function``.

    Raises:
        ConfigError: it cannot be imported; the message has the reason, which may be any: the module is somebody else's.
    """
    module, _, path = place.partition(":")
    try:
        found: Callable[..., Any] = attrgetter(path)(import_module(module))
    except Exception as error:
        raise ConfigError(
            f"{place} cannot be imported ({type(error).__name__}: {error}); reinstall its package."
        ) from error
    return found


def _find(name: str) -> Callable[..., Any]:
    """The function of a method."""
    key = name.replace("-", "_")
    # Nobody replaces ours, and to look for others' reads the metadata of every installed distribution.
    known = _METHODS if key in _METHODS else methods()
    if key not in known:
        raise ConfigError(
            f"unknown method {name!r}; did you mean {nearest(key, known)!r}? Installed: {', '.join(known)}."
        )
    return load(known[key])


def _type(parameter: inspect.Parameter) -> str:
    annotation = parameter.annotation
    if annotation is parameter.empty:
        return type(parameter.default).__name__
    if get_origin(annotation) is Literal:
        return " or ".join(map(str, get_args(annotation)))
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", text)  # the module of a class says nothing here


def _check(name: str, key: str, value: Any, defaults: Mapping[str, Any]) -> Any:
    if key not in defaults:
        has = f"did you mean {nearest(key, defaults)!r}? It has {', '.join(defaults)}." if defaults else "It has none."
        raise ConfigError(f"method {name!r} has no setting {key!r}; {has}")
    default = defaults[key]
    if default is None:
        return _check_part(name, key, value)
    wanted = type(default)
    shown, kind_of = (list(default), "list") if wanted is tuple else (default, wanted.__name__)  # as TOML has them
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if wanted is tuple and isinstance(value, list):  # TOML has no tuples
        value = tuple(value)
    if wanted is tuple and isinstance(value, tuple) and default:
        kind = type(default[0])
        wrong = [each for each in value if not isinstance(each, kind)]
        if wrong:
            raise ConfigError(
                f"setting {key!r} of method {name!r} has {wrong[0]!r} in it; expected {kind.__name__}, such as {shown!r}."
            )
    if isinstance(value, float) and math.isnan(value):
        raise ConfigError(f"setting {key!r} of method {name!r} is {value!r}; expected a number, such as {shown!r}.")
    if not isinstance(value, wanted) or isinstance(value, bool) != isinstance(default, bool):
        raise ConfigError(f"setting {key!r} of method {name!r} is {value!r}; expected {kind_of}, such as {shown!r}.")
    return value


def _check_part(name: str, key: str, value: Any) -> Any:
    """A setting that is None when left out: a plain value must be of a plain type that its annotation names."""
    if value is None or not isinstance(value, (bool, int, float, str, list, tuple, dict)):
        return value
    if isinstance(value, (list, tuple)) and not any(
        isinstance(each, (bool, int, float, str, list, dict)) for each in value
    ):
        return value
    annotation = inspect.signature(_find(name)).parameters[key].annotation
    plain = [each for each in (annotation, *get_args(annotation)) if each in (bool, int, float, str)]
    if float in plain and type(value) is int:
        return float(value)
    if type(value) in plain:
        return value
    if plain:
        expected = " or ".join(each.__name__ for each in plain)
        raise ConfigError(f"setting {key!r} of method {name!r} is {value!r}; expected {expected}, or leave it out.")
    raise ConfigError(
        f"setting {key!r} of method {name!r} is {value!r}; it is a part of the search and no value: make the method in Python, "
        f"methods.{name.replace('-', '_')}({key}=...), or leave it out."
    )
