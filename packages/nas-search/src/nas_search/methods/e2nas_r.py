"""E2NAS-R."""

from dataclasses import replace

from nas_search.exploration import DecodedDepth
from nas_search.method import Method
from nas_search.methods.e2nas import e2nas
from nas_search.run_state import check_positive
from nas_search.schedules import Constant

__all__ = ["e2nas_r"]


def e2nas_r(
    *,
    depth: float = 0.05,
    depth_samples: int = 10,
    depth_deviation: float = 0.1,
    exploration: float = 10.0,
    epsilon: float = 0.5,
    archive: int = 50,
    manifold: bool = True,
    temperature: float = 1.0,
    autoencoder: str = "",
    autoencoder_epochs: int = 16,
    autoencoder_samples: int = 20_000,
    latent: int = 0,
    hidden: int = 64,
    learning_rate: float = 0.025,
    weight_decay: float = 3e-4,
    architecture_learning_rate: float = 3e-4,
    architecture_weight_decay: float = 1e-3,
    momentum: float = 0.9,
    clip: float = 5.0,
) -> Method:
    """`e2nas` regularised: it searches deeper cells, for the DARTS space (thesis, 4.3.3).

    The point moves along the gradient of ``(1 - gamma) L_valid + gamma L_N + zeta L_depth`` (Eq. 4.15), the last being
    minus the expected number of connections between successive nodes; see `DecodedDepth`.

    Args:
        depth: zeta.
        depth_samples: M, the draws of the expectation.
        depth_deviation: of the noise on the point in them, which the paper does not give.
        exploration: as in `e2nas`.
        epsilon: as in `e2nas`.
        archive: as in `e2nas`.
        manifold: as in `e2nas`.
        temperature: as in `e2nas`.
        autoencoder: as in `e2nas`.
        autoencoder_epochs: as in `e2nas`.
        autoencoder_samples: as in `e2nas`.
        latent: as in `e2nas`.
        hidden: as in `e2nas`.
        learning_rate: as in `e2nas`.
        weight_decay: as in `e2nas`.
        architecture_learning_rate: as in `e2nas`.
        architecture_weight_decay: as in `e2nas`.
        momentum: as in `e2nas`.
        clip: as in `e2nas`.

    Differs from the paper:
        1. As `e2nas`.
        2. The noise on the point, `depth_deviation`, is not given there; see `DecodedDepth`.
        3. The momentum is Nesterov's, as in `e2nas`; searches in the DARTS space have a plain one.
    """
    check_positive(depth_samples=depth_samples)
    method = e2nas(
        exploration=exploration,
        epsilon=epsilon,
        archive=archive,
        manifold=manifold,
        temperature=temperature,
        autoencoder=autoencoder,
        autoencoder_epochs=autoencoder_epochs,
        autoencoder_samples=autoencoder_samples,
        latent=latent,
        hidden=hidden,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        architecture_learning_rate=architecture_learning_rate,
        architecture_weight_decay=architecture_weight_decay,
        momentum=momentum,
        clip=clip,
    )
    term = DecodedDepth(Constant(depth), depth_samples, depth_deviation)
    return replace(method, name="e2nas_r", regularizers=(*method.regularizers, term))
