"""E2NAS."""

from nas_search.errors import ConfigError
from nas_search.exploration import Novelty
from nas_search.latent_space import LatentSpace
from nas_search.losses import Exploiting, Pieces, Plain, Replay, complement, previous
from nas_search.method import Method
from nas_search.optimizers import SGD, Adam
from nas_search.pretraining import AutoencoderSettings
from nas_search.run_state import check_positive
from nas_search.samplers import Archived, Relaxed
from nas_search.schedules import Constant, Cosine, Sigmoid
from nas_search.selection import Derive
from nas_search.updates import OuterStep, WeightStep

__all__ = ["e2nas"]


def e2nas(
    *,
    exploration: float = 10.0,
    epsilon: float = 0.5,
    archive: int = 50,
    manifold: bool = True,
    temperature: float = 1.0,
    shortcut: bool = False,
    autoencoder: str = "",
    autoencoder_epochs: int = 16,
    autoencoder_samples: int = 20_000,
    latent: int = 0,
    hidden: int = 64,
    learning_rate: float = 0.025,
    weight_decay: float = 5e-4,
    architecture_learning_rate: float = 3e-4,
    architecture_weight_decay: float = 1e-3,
    momentum: float = 0.9,
    clip: float = 5.0,
) -> Method:
    """Search in the latent space of a graph autoencoder, with exploration and complementation (thesis, Algorithm 4).

    The architecture is the path that a trained decoder draws of a point. A step trains the weights on that path, on what
    complements it and on the path before (Eq. 4.12), and then moves the point along the gradient of ``(1 - gamma)
    L_valid + gamma L_N`` (Eq. 4.7): away from bad architectures, and from those that were visited.

    In short searches the point stays near the origin, where all seeds start (a standard deviation of 1e-3): seeds may end
    with the same cell. Novelty pushes them the same way. Its gradient can be thousands of times that of the validation
    loss, and Adam, which divides by what it remembers of both, then hardly moves the point once gamma is small.
    ``manifold=False`` lets it go further; ``replace(method, relaxation=replace(method.relaxation, scale=1.0))`` gives every
    seed a start of its own (measured: benchmarks/bench_latent.py of the repository).

    The autoencoder is trained on first use, in a minute or so for NAS-Bench-201, and kept.

    Args:
        exploration: b of ``gamma = 1 - sigmoid((2 progress - 1) b)`` (Eq. 4.16); 0 for no exploration at all.
        epsilon: the share of the replayed paths in the loss of the weights, half of it each; 0 for none.
        archive: how many of the architectures that were trained last are remembered.
        manifold: False leaves all but the density of the points out of the novelty; see `Novelty`.
        temperature: of the decoder's softmax, whose gradient a path has.
        shortcut: the gradient of the released code, around the decoder; see `Latent`. It needs as many latent coordinates
            as there are choice weights (30 in NAS-Bench-201), and no manifold.
        autoencoder: the file where the autoencoder is kept; in the user's cache folder when empty.
        autoencoder_epochs: of its training.
        autoencoder_samples: architectures that it is trained on; all of a space that has no more.
        latent: coordinates of a cell; 0 for as many as the space asks for, see `GraphVAE`.
        hidden: size of its states.
        learning_rate: of the weights at the beginning; cosine to a twenty-fifth of it.
        weight_decay: of the weights; 3e-4 in the DARTS space.
        architecture_learning_rate: of Adam on the point.
        architecture_weight_decay: of the point.
        momentum: of the weights.
        clip: largest norm of the gradient of the weights.

    Differs from the paper:
        1. The gradient passes through the decoder, as Eq. 4.7 says; in the released code it does not, and the novelty has
           none (see `Latent` and `Novelty`).
        2. Both replayed losses have half of epsilon, and gradients; see `Replay`.
        3. A point has 16 coordinates in NAS-Bench-201. The released code has 30, more than the 24 dimensions in which the
           architectures vary: there would be no manifold for Lemma 2 to speak of.
        4. The autoencoder is smaller than D-VAE's, 64 units instead of 501, and trained by a larger learning rate; see
           `GraphVAE` for what differs.
        5. exploration = 0 is no exploration (gamma = 0), not the gamma = 1/2 that the equation gives for b = 0.
    """
    check_positive(archive=archive, autoencoder_epochs=autoencoder_epochs)
    if not (exploration >= 0 and 0 <= epsilon <= 1):
        raise ConfigError(
            f"exploration is {exploration} and epsilon {epsilon}; expected a steepness of 0 or more, and a share from 0 to 1."
        )
    if shortcut and exploration and manifold:
        raise ConfigError(
            "shortcut=True needs more latent coordinates than Lemma 2 allows; leave out the manifold (manifold=False) or the "
            "exploration (exploration=0)."
        )
    gamma = Sigmoid(exploration) if exploration else Constant(0.0)
    settings = AutoencoderSettings(latent=latent, hidden=hidden, epochs=autoencoder_epochs, samples=autoencoder_samples)
    return Method(
        name="e2nas",
        updates=(WeightStep(), OuterStep()),
        relaxation=LatentSpace(settings, autoencoder, Constant(temperature), shortcut=shortcut),
        sampler=Archived(Relaxed(), archive),
        selector=Derive(),
        loss=Replay(Pieces((previous, complement)), epsilon) if epsilon else Plain(),
        outer_loss=Exploiting(gamma),
        regularizers=(Novelty(gamma, manifold=manifold),) if exploration else (),
        weights=SGD(Cosine(learning_rate, learning_rate / 25), momentum, weight_decay, clip=clip),
        outer=Adam(Constant(architecture_learning_rate), weight_decay=architecture_weight_decay),
    )
