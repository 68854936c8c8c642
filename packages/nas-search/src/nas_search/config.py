"""The configuration of a run from the command line: one value, written to and read from TOML."""

import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import tomli_w

from nas_search import catalog
from nas_search.computation import Computation
from nas_search.errors import ConfigError, did_you_mean
from nas_search.image_folder import split_options
from nas_search.mixed_space import MixedSpace, named
from nas_search.run_state import check_positive
from nas_search.vision_sources import KINDS
from nas_spaces import space_of_table
from nas_spaces.chain import ChainSpace

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["RunConfig", "parse_setting"]


# The papers' learning rate of architecture parameters, 3e-4, is for 250 epochs of 391 steps. In 40 epochs of 11 steps it
# would leave the architecture where it began. How the value was chosen stands in benchmarks/RESULTS.md.
_FEW_STEPS = {"architecture_learning_rate": 0.01}
# For the same reason the policy has one probability and one choice of levels for each operation, not for each of 225 pairs,
# and draws for every image; and there are fewer paths, so that the default search with its trainings takes a minute. What the
# logits say after so few steps is worse than what the shared weights say of a hundred draws: see benchmarks/joint.md.
_PRESETS: dict[tuple[str, str], dict[str, Any]] = {
    (method, "digits"): _FEW_STEPS
    for method in (
        "allegro",
        "amended_darts",
        "balenas",
        "darts",
        "dha",
        "drnas",
        "e2nas",
        "e2nas_r",
        "enas",
        "gdas",
        "idarts",
        "ista",
        "nsas",
        "pc_darts",
        "setn",
        "sequential_dha",
        "snas",
    )
} | {
    ("daas", "digits"): _FEW_STEPS
    | {
        "architectures": 2,
        "weight_architectures": 4,
        "samples": 100,
        "operations": "grey",
        "share": "operation",
        "per": "image",
        "policy_learning_rate": 0.05,
    }
}
# Nor do 1e-8 of the gradient move a learning rate in so few steps.
for _name in ("dha", "sequential_dha"):
    # A new dictionary: the others share this one.
    _PRESETS[_name, "digits"] = _PRESETS[_name, "digits"] | {"logarithmic": True, "hyperparameter_learning_rate": 0.01}

# Recurrent cells need other optimisers than convolutions do: those of DARTS' search on Penn Treebank (whose learning rate
# does not fall, as ours does). That rate is of use only with its clipping, so that methods without that setting keep theirs.
_TEXT = {
    "learning_rate": 20.0,
    "weight_decay": 5e-7,
    "momentum": 0.0,
    "clip": 0.25,
    "architecture_learning_rate": 3e-3,
}
_TEXT_SOURCES = ("wikitext", "ptb", "fake-text")


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides what ``nascli search`` does.

    Args:
        space: name of the search space; black-box methods also search it together with settings of the training that are joined
            to its name, such as ``nas_bench_201+learning_rate+weight_decay+augmentation_magnitude`` (see `MixedSpace`).
        method: name of the method.
        data: data source, such as ``digits``, ``npz:FILE`` or ``wikitext:DIR``.
        policy: name of a fixed augmentation policy; ``default`` is the one that is customary for the data.
        table: file of a tabular benchmark that the result is looked up in, or ``digits``, which is shipped; empty for none.
        spectrum: whether the curvature of the validation loss is recorded after every epoch, see `HessianSpectrum`.
        epochs: of the search.
        train_epochs: of the training of the result; 0 for none, the same as `epochs` when left out (-1).
        train_learning_rate: of the training at the beginning; to 0 along the method's annealing, mostly a cosine. When left
            out (-1) the one that was learned or searched, if it was; else 0.05 for images and 20 for text, whose
            optimiser is another (see `nas_search.train_found`).
        batch_size: images, or segments of text, of a batch.
        channels: width of the first cell; of a recurrent cell the units.
        cells: depth, in the unit of the space; -1 for 1, or for all the layers of a chain such as ``mobile``.
        seed: of all randomness.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``bfloat16`` for autocast in the search and in the trainings, ``float32``, or ``auto``: bfloat16 on CUDA unless
            the method takes second derivatives, float32 elsewhere.
        deterministic: whether only deterministic algorithms are used, in the search and in the trainings; it may be slower.
        settings: those of the method.

    Raises:
        ConfigError: a number that is too small, or a value of the wrong type.
    """

    space: str = "nas_bench_201"
    method: str = "daas"
    data: str = "digits"
    policy: str = "default"
    table: str = ""
    spectrum: bool = False
    epochs: int = 24
    train_epochs: int = -1
    train_learning_rate: float = -1.0
    batch_size: int = 64
    channels: int = 16
    cells: int = -1
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    deterministic: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            wanted = Mapping if item.name == "settings" else type(item.default)
            if wanted is float and isinstance(value, int) and not isinstance(value, bool):
                object.__setattr__(self, item.name, value := float(value))
            if item.name == "settings" and not isinstance(value, Mapping):
                raise ConfigError(
                    f"settings is {value!r}; expected a table of the method's settings, [settings] in TOML."
                )
            if not isinstance(value, wanted) or isinstance(value, bool) != (wanted is bool):
                raise ConfigError(f"{item.name} is {value!r}; expected {wanted.__name__}, such as {item.default!r}.")
        check_positive(epochs=self.epochs, batch_size=self.batch_size, channels=self.channels)
        if self.cells != -1:
            check_positive(cells=self.cells)
        if self.train_epochs < -1:
            raise ConfigError(f"train_epochs is {self.train_epochs}; expected 0 or more.")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed is {self.seed}; expected 0 or more, and less than 2**63.")
        if self.train_learning_rate != -1 and not 0 <= self.train_learning_rate < math.inf:
            raise ConfigError(f"train_learning_rate is {self.train_learning_rate}; expected a number of 0 or more.")
        Computation(self.precision)  # refuses an unknown one

    @property
    def computation(self) -> Computation:
        """How the search and its trainings compute."""
        return Computation(self.precision, deterministic=self.deterministic)

    @property
    def training_epochs(self) -> int:
        """Epochs of the training of the result."""
        return self.epochs if self.train_epochs == -1 else self.train_epochs

    @property
    def training_learning_rate(self) -> float:
        """Learning rate of the training of the result, at the beginning, where none was learned."""
        if self.train_learning_rate != -1:
            return self.train_learning_rate
        return 20.0 if self.reads_text else 0.05

    @property
    def reads_text(self) -> bool:
        """Whether the data is text."""
        return self.data.partition(":")[0] in _TEXT_SOURCES

    def resolved(self) -> "RunConfig":
        """The same with names in their canonical form, files by their full paths, and every setting written out.

        A setting that is not given is the method's default; for the few steps of an epoch of `digits` see `_PRESETS`, for
        text `_TEXT`.

        Raises:
            ConfigError: an unknown method or setting.
        """
        method = self.method.replace("-", "_")
        settings = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in catalog.settings(method).items()
            if value is not None
        }
        learns = catalog.method(method, self.settings).hyperparameters is not None or "+" in self.space
        presets = _PRESETS.get((method, self.data), {})
        if self.settings.get("independent"):  # which learns the policy for the most probable architecture
            presets = {key: value for key, value in presets.items() if key != "samples"}
        if self.reads_text and "clip" in settings:  # the learning rate is nothing without the limit of the gradient
            presets = {key: value for key, value in _TEXT.items() if key in settings}
        return replace(
            self,
            method=method,
            space=(space := self.space.replace("-", "_")),
            cells=_depth(space) if self.cells == -1 else self.cells,
            data=_full_path(self.data),
            table=self.table if space_of_table(self.table) else str(Path(self.table).resolve()) if self.table else "",
            train_epochs=self.training_epochs,
            train_learning_rate=self.train_learning_rate if learns else self.training_learning_rate,
            settings={**settings, **presets, **self.settings},
        )

    def updated(self, values: Mapping[str, Any]) -> "RunConfig":
        """The same with some keys changed; a key that is not ours is taken as a setting of the method.

        With a table that is shipped and no word of a space, the space is the table's.

        Raises:
            ConfigError: a key that neither the configuration nor the method has, with the nearest one.
        """
        names = [item.name for item in fields(self) if item.name != "settings"]
        ours = _with_space_of_table({key: value for key, value in values.items() if key in names}, self.space)
        if "cells" not in ours and ours.get("space", self.space) != self.space and self.cells == _depth(self.space):
            ours["cells"] = -1  # nobody asked for the depth that the space before has by itself
        changed = replace(self, **ours)
        usual = replace(self, train_learning_rate=-1.0).training_learning_rate
        likewise = "train_learning_rate" not in ours and self.train_learning_rate == usual
        if likewise and changed.reads_text != self.reads_text:
            changed = replace(changed, train_learning_rate=-1.0)
        known = catalog.settings(changed.method)
        same = (changed.method, changed.data) == (self.method, self.data)
        kept = dict(changed.settings) if same else self._carried(known)
        settings = {key: value for key, value in values.items() if key not in names}
        lost = [key for key in changed.settings if key not in kept and key not in catalog.settings(self.method)]
        for key in (*settings, *lost):
            if key not in known:
                near = catalog.nearest(key, [*names, *known])
                raise ConfigError(
                    f"unknown key {key!r}; did you mean {near!r}? There are {', '.join([*names, *known])}."
                )
        return replace(changed, settings={**kept, **settings})

    def _carried(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """The settings that go along to another method or other data: what was changed, and what it has as the same kind."""
        kind = {key: value for key, value in self.settings.items() if key == "independent"}  # of which presets depend
        left = RunConfig(method=self.method, space=self.space, data=self.data, settings=kind).resolved().settings
        return {
            key: value
            for key, value in self.settings.items()
            if key in known and left.get(key) != value and _alike(known[key], left.get(key))
        }

    def to_toml(self) -> str:
        """The configuration as TOML text."""
        return tomli_w.dumps(asdict(self))

    @staticmethod
    def from_toml(path: str | Path) -> "RunConfig":
        """Read a configuration.

        Raises:
            ConfigError: the file is missing, is not TOML, or has an unknown key or a value of the wrong type.
        """
        try:
            # Editors of Windows begin a file with a mark of its encoding, which TOML does not know.
            record = tomllib.loads(Path(path).read_text("utf-8-sig"))
        except OSError as error:
            raise ConfigError(f"cannot read {path} ({error.strerror}).") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ConfigError(f"{path} is not TOML: {error}.") from error
        known = [item.name for item in fields(RunConfig)]
        for key in record:
            if key not in known:
                raise ConfigError(f"unknown key {key!r} in {path}; {_near_key(key, known, record.get('method'))}")
        settings, method = record.get("settings"), record.get("method", RunConfig.method)
        for key in settings if isinstance(settings, dict) and isinstance(method, str) else ():
            if key in known and key not in catalog.settings(method):
                raise ConfigError(f"{key!r} of {path} is no setting of {method}: it stands above [settings].")
        return RunConfig(**_with_space_of_table(record))


def _depth(name: str) -> int:
    """The depth of a space where none is given."""
    space = named(name)
    base = space.base if isinstance(space, MixedSpace) else space
    return len(base.layers) if isinstance(base, ChainSpace) else 1


def _with_space_of_table(values: Mapping[str, Any], present: str = RunConfig.space) -> dict[str, Any]:
    own = space_of_table(str(values.get("table", "")))
    # A space that is not the default one was asked for: it is left, and refused where the table is read.
    return dict(values) if own is None or present != RunConfig.space else {"space": own, **values}


def _alike(one: Any, other: Any) -> bool:
    """Whether two defaults are of one type, of which TOML has a list for every tuple."""
    return type(list(one) if isinstance(one, tuple) else one) is type(
        list(other) if isinstance(other, tuple) else other
    )


def _near_key(key: str, known: list[str], method: Any) -> str:
    """What was meant by a key that the configuration does not have, which may be a setting of its method in the wrong place."""
    method = method if isinstance(method, str) else RunConfig.method
    try:
        is_setting = key in catalog.settings(method)
    except ConfigError:
        is_setting = False
    return f"it is a setting of {method}, and stands under [settings]." if is_setting else did_you_mean(key, known)


def _full_path(source: str) -> str:
    kind, _, rest = source.partition(":")
    if kind == "imagefolder" and rest:
        path, options = split_options(rest)
        return ",".join([f"{kind}:{Path(path).resolve()}", *options])
    return f"{kind}:{Path(rest).resolve()}" if kind in ("npz", "wikitext", "ptb", *KINDS) and rest else source


def parse_setting(text: str) -> tuple[str, Any]:
    """Read ``KEY=VALUE``; the value is a TOML value, or a text if it is none.

    Raises:
        ConfigError: there is no ``=``.

    Example:
        >>> parse_setting("learning_rate=0.1"), parse_setting("method=darts")
        (('learning_rate', 0.1), ('method', 'darts'))
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"{text!r} is not of the form KEY=VALUE, such as learning_rate=0.1.")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()
