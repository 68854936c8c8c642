"""The graph autoencoder of a space, trained once and kept in a file."""

import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nas_search import distributed
from nas_search.autoencoder import GraphVAE, cell_graph, kl_divergence
from nas_search.checkpoint import differences
from nas_search.errors import CheckpointError, ConfigError, RunFolderError
from nas_search.files import write_atomically
from nas_search.loop import drive, isolated_random_state
from nas_search.optimizers import Adam, apply_step
from nas_search.roles import Observer
from nas_search.run_folder import Store
from nas_search.run_state import RunState, check_positive
from nas_search.schedules import Cosine
from nas_search.streams import stream_seed
from nas_spaces import Architecture, SearchSpace
from nas_spaces.draws import draw_distinct

__all__ = [
    "AutoencoderSettings",
    "AutoencoderTraining",
    "cache_file",
    "load_autoencoder",
    "obtain_autoencoder",
    "reconstruction",
    "save_autoencoder",
    "train_autoencoder",
]

_FORMAT, _VERSION = "nas-search-autoencoder", 1
_LOOKED_AT = 1000  # held-out architectures that are reconstructed at the end of an epoch


@dataclass(frozen=True)
class AutoencoderSettings:
    """What decides, with the space, what a trained autoencoder is.

    Args:
        latent: coordinates of a cell; 0 for those that the space asks for, see `GraphVAE`.
        hidden: size of the vertices' states.
        samples: how many different architectures are trained on: all of a space that has no more, else uniformly drawn.
        held_out: the share of them that is left out, to be reconstructed.
        epochs: passes over the rest.
        batch_size: architectures of a batch.
        learning_rate: of Adam at the beginning; cosine to a hundredth of it.
        kl_weight: of the divergence from the prior; 0.005 in D-VAE's code.
        noise: scale of the reparametrisation noise; 1 is that of a variational autoencoder, D-VAE's code has 0.01.
        seed: of the initial weights, the architectures and all draws: apart from that of any search.

    Raises:
        ConfigError: a size below 1, or a share or a weight outside of its range.
    """

    latent: int = 0
    hidden: int = 64
    samples: int = 20_000
    held_out: float = 0.1
    epochs: int = 16
    batch_size: int = 64
    learning_rate: float = 0.01
    kl_weight: float = 0.005
    noise: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive(hidden=self.hidden, epochs=self.epochs, batch_size=self.batch_size)
        if self.latent < 0:
            raise ConfigError(f"latent is {self.latent}; expected 1 or more coordinates, or 0 for those of the space.")
        if self.samples < 2 or not 0 < self.held_out < 1:
            raise ConfigError(
                f"samples is {self.samples} and held_out {self.held_out}; expected 2 or more architectures to train the "
                "autoencoder with, and a share of them between 0 and 1 to test it with."
            )
        if not (self.learning_rate > 0 and self.kl_weight >= 0 and self.noise >= 0):
            raise ConfigError(
                f"learning_rate is {self.learning_rate}, kl_weight {self.kl_weight} and noise {self.noise}; expected a "
                "positive rate, and a weight and a scale of 0 or more."
            )


class AutoencoderTraining(RunState):
    """The training of an autoencoder at one moment: a run like others, which the one loop drives.

    ``min E[- log p(types | z)] + kl_weight KL``, the first summed over the edges, with ``z = mean + noise exp(logvar / 2)
    e`` and `e` standard normal.

    Args:
        space: whose architectures are learned.
        settings: how.
    """

    def __init__(self, space: SearchSpace, settings: AutoencoderSettings) -> None:
        super().__init__(epochs=settings.epochs, seed=settings.seed, device=torch.device("cpu"))
        self.settings = settings
        self.adam = Adam(
            Cosine(settings.learning_rate, settings.learning_rate / 100), (0.9, 0.999), weight_decay=0.0, clip=10.0
        )
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(settings.seed)
            self.autoencoder = GraphVAE(space, settings.latent, settings.hidden)
        self.optimizer = self.adam.build(self.autoencoder.parameters())
        generator = torch.Generator().manual_seed(stream_seed(settings.seed, "architectures"))
        types = self.autoencoder.graph.types_of(_architectures(space, settings.samples, generator))
        types = types[torch.randperm(len(types), generator=generator)]
        kept = min(len(types) - 1, max(1, round(len(types) * (1 - settings.held_out))))
        self.types, self.held_out = types[:kept], types[kept:]

    @property
    def name(self) -> str:
        """``autoencoder``."""
        return "autoencoder"

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.types) // self.settings.batch_size)

    @property
    def learning_rate(self) -> float:
        """The learning rate at this moment."""
        return self.adam.learning_rate(self.progress)

    @property
    def remedy(self) -> str:
        """A smaller learning rate."""
        return "Train the autoencoder with a smaller learning rate (AutoencoderSettings.learning_rate)."

    def modules(self) -> dict[str, nn.Module]:
        """The autoencoder."""
        return {"autoencoder": self.autoencoder}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Its optimiser."""
        return {"weights": self.optimizer}

    def advance(self) -> Mapping[str, Tensor]:
        """One step on a batch drawn with replacement: reports ``train_loss``, ``train_accuracy`` of cells, ``kl``."""
        settings = self.settings
        chosen = torch.randint(len(self.types), (settings.batch_size,), generator=self.generator)
        types = self.types[chosen]
        mean, logvar = self.autoencoder.encode_types(types)
        noise = torch.randn(mean.shape, generator=self.generator)
        logits = self.autoencoder.teacher_logits(mean + settings.noise * noise * (0.5 * logvar).exp(), types)
        nll = F.cross_entropy(logits.flatten(0, 2), types.flatten(), reduction="sum") / len(types)
        divergence = kl_divergence(mean, logvar).mean()
        loss = nll + settings.kl_weight * divergence
        self.optimizer.zero_grad()
        loss.backward()
        norm = apply_step(self.optimizer, self.adam, self.progress)
        right = (logits.detach().argmax(dim=3) == types).all(dim=2).float().mean()
        return {"train_loss": nll.detach(), "train_accuracy": right, "kl": divergence.detach(), "gradient_norm": norm}

    def finish_epoch(self) -> dict[str, Any]:
        """``valid_accuracy``: the share of held-out architectures that come back, of at most a thousand."""
        return {"valid_accuracy": reconstruction(self.autoencoder, self.held_out[:_LOOKED_AT])}


def _architectures(space: SearchSpace, samples: int, generator: torch.Generator) -> Sequence[Architecture]:
    """All architectures of a space that has no more than `samples`, else as many different ones."""
    enumerate_all = getattr(space, "enumerate", None)
    if space.size <= samples and enumerate_all is not None:
        return list(enumerate_all())
    return draw_distinct(space, samples, generator)


@torch.no_grad()
def reconstruction(autoencoder: GraphVAE, types: Tensor) -> float:
    """The share of architectures, as types ``(batch, cells, edges)``, that the decoder returns of the encoder's mean.

    Without a draw, as at the end of a search; an architecture counts if every edge of every cell is right.
    """
    right = [
        (autoencoder.draw(autoencoder.encode_types(part)[0])[1] == part).flatten(1).all(dim=1)
        for part in types.split(1000)
    ]
    return float(torch.cat(right).float().mean())


def train_autoencoder(
    space: SearchSpace,
    settings: AutoencoderSettings = AutoencoderSettings(),
    observers: Sequence[Observer] = (),
    store: Store | None = None,
) -> tuple[GraphVAE, list[dict[str, Any]]]:
    """Train the autoencoder of a space; NAS-Bench-201 takes a minute or so.

    Equal arguments give equal weights, and the global random state is left as it was.

    Args:
        space: see `GraphVAE`.
        settings: what it is to be.
        observers: told of every step and epoch.
        store: where the training is saved after every epoch, and goes on from; nothing is saved without one.

    Returns:
        The autoencoder, whose parameters take no gradient any more, and the records of the epochs: the last
        ``valid_accuracy`` is `reconstruction` of what was held out.

    Raises:
        ConfigError: the space has no cells that it reads.
        nas_search.NonFiniteError: the loss became NaN or infinite.
        Interrupted: with a store, SIGINT or SIGTERM asked to stop; the training is saved.
        CheckpointError: what the store has is damaged, or of another training.
    """
    with isolated_random_state(settings.seed, torch.device("cpu")):
        state = AutoencoderTraining(space, settings)
        if store is not None:
            store.restore(state)
        drive(state, observers=observers, store=store)
    return state.autoencoder.requires_grad_(False).eval(), state.history


def cache_file(space: SearchSpace, settings: AutoencoderSettings) -> Path:
    """Where the autoencoder of a space is kept unless a file is named: in the user's cache folder, one for all settings."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    key = hashlib.sha256(repr(sorted(_fingerprint(space, settings).items())).encode()).hexdigest()[:12]
    return Path(home) / "nas-search" / f"autoencoder-{space.name}-{key}.pt"


def obtain_autoencoder(
    space: SearchSpace,
    settings: AutoencoderSettings = AutoencoderSettings(),
    file: str | Path = "",
    observers: Sequence[Observer] = (),
) -> GraphVAE:
    """The autoencoder in a file, which is trained and written there if the file does not exist.

    Args:
        space: see `GraphVAE`.
        settings: what it is to be.
        file: where it is kept; `cache_file` when empty.
        observers: told of the training. If it is interrupted the next call goes on with it; until then it is beside the
            file, under the same name with ``.training`` at the end.

    Raises:
        ConfigError: the space has no cells that it reads.
        CheckpointError: the file, or the training beside it, is damaged or of another autoencoder: nothing is replaced.
        RunFolderError: it cannot be written.
        Interrupted: SIGINT or SIGTERM asked to stop; the training is saved.
    """
    cell_graph(space)  # refuses a space before anything is read or written
    path = Path(file) if file else cache_file(space, settings)
    if not distributed.agreed(path.exists()):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(
                f"cannot make {path.parent} ({error.strerror}) for the autoencoder; name another file."
            ) from error
        unfinished = path.with_name(f"{path.name}.training")
        store = Store(unfinished, _fingerprint(space, settings))
        autoencoder, history = train_autoencoder(space, settings, observers, store)
        save_autoencoder(path, autoencoder, space, settings, history)
        distributed.wait_for_all()
        unfinished.unlink(missing_ok=True)
    # Read back also what was just written, so that the first search and those after it have the very same.
    return load_autoencoder(path, space, settings)


def save_autoencoder(
    path: Path,
    autoencoder: GraphVAE,
    space: SearchSpace,
    settings: AutoencoderSettings,
    history: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write a trained autoencoder, with what it was trained for.

    Raises:
        RunFolderError: it could not be written; what stood there before is intact.
    """
    record = {
        "format": _FORMAT,
        "version": _VERSION,
        "fingerprint": _fingerprint(space, settings),
        "history": [dict(each) for each in history],
        "weights": autoencoder.state_dict(),
    }
    buffer = io.BytesIO()
    torch.save(record, buffer)
    write_atomically(path, buffer.getvalue())


def load_autoencoder(path: str | Path, space: SearchSpace, settings: AutoencoderSettings) -> GraphVAE:
    """Read the autoencoder of a space, without gradients.

    Raises:
        CheckpointError: the file is missing, damaged, or of another space or other settings; the message names them.
    """
    wanted = _fingerprint(space, settings)
    with torch.random.fork_rng(devices=[]):
        autoencoder = GraphVAE(space, settings.latent, settings.hidden)
    try:
        record = torch.load(path, map_location="cpu", weights_only=True)
        if record["format"] != _FORMAT or record["version"] != _VERSION:
            raise ValueError(f"format {record['format']!r}, version {record['version']!r}")
        saved = dict(record["fingerprint"])
        if saved == wanted:
            autoencoder.load_state_dict(record["weights"])
    except Exception as error:
        # A damaged archive surfaces as RuntimeError, UnpicklingError, EOFError, KeyError, TypeError and others.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path} is missing, damaged or no autoencoder of this release ({reason[:120]}); delete it, and the next "
            "search trains a new one."
        ) from error
    changed = differences(saved, wanted)
    if changed:
        raise CheckpointError(
            f"{path} holds the autoencoder of something else: {changed}. Name another file, or delete this one "
            "to train it anew."
        )
    return autoencoder.requires_grad_(False).eval()


def _fingerprint(space: SearchSpace, settings: AutoencoderSettings) -> dict[str, str]:
    """What must be equal for a file to be used: the cells of the space and the settings."""
    values = {"space": space.name, "graph": repr(cell_graph(space)), **asdict(settings)}
    return {key: str(value) for key, value in values.items()}
