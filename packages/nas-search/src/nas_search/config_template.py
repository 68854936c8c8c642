"""A configuration to begin with: TOML in which every key and every setting of the method is explained."""

import textwrap
from dataclasses import fields
from typing import Any

import tomli_w

from nas_search import catalog
from nas_search.config import RunConfig
from nas_search.data_sources import check_source
from nas_search.docstrings import argument_texts, introduction
from nas_search.mixed_space import named

__all__ = ["check_names", "commented_toml"]

_WIDTH = 110


def commented_toml(config: RunConfig) -> str:
    """A configuration as TOML, with every key and its text; `RunConfig.from_toml` reads the same configuration from it.

    The settings of the method that `config` does not give stand there as comments, with the values that they have when they
    are left out.

    Args:
        config: whose values are written.

    Raises:
        ConfigError: an unknown method or setting, or as `check_names`.
    """
    check_names(config)
    lines = _comment("What `nascli search --config FILE` does. Options of the command line override what stands here.")
    texts = argument_texts(RunConfig.__doc__)
    for item in fields(RunConfig):
        if item.name == "settings":
            continue
        lines += ["", *_comment(f"{item.name}: {texts[item.name]}"), _line(item.name, getattr(config, item.name))]
    return "\n".join([*lines, "", *_settings(config)]) + "\n"


def check_names(config: RunConfig) -> None:
    """Refuse a space, a data source or a policy that is not installed, with the nearest one; nothing is read.

    Raises:
        ConfigError: no such source, policy, or setting of a mixed space.
        UnknownSpaceError: no such space.
    """
    named(config.space)
    check_source(config.data)
    if config.policy != "default":
        catalog.policy(config.policy)


def _settings(config: RunConfig) -> list[str]:
    effective = config.resolved().settings
    documented = catalog.documentation(config.method)
    lines = [*_comment(f"Settings of the method {config.method}. {introduction(documented.text).splitlines()[0]}")]
    lines += _comment("Remove the # before a line to change it.")
    lines.append("[settings]")
    for setting in documented.settings:
        lines += ["", *_comment(f"{setting.name}: {setting.text}")]
        if setting.name in config.settings:
            lines.append(_line(setting.name, config.settings[setting.name]))
        elif setting.name in effective:
            lines.append(f"# {_line(setting.name, effective[setting.name])}")
        else:
            lines.append(f"# ({setting.name} is a part, which only a call in Python can give)")
    return lines


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, _WIDTH)]


def _line(name: str, value: Any) -> str:
    return f"{name} = {_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):  # on one line, so that one # comments it out
        return f"[{', '.join(map(_value, value))}]"
    return tomli_w.dumps({"_": value}).strip().removeprefix("_ = ")
