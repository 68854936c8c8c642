"""Methods with other settings than their own: the ablations of the papers, for `bench_proxy.py` and `bench_digits.py`.

A variant is a method of the catalogue, the settings that differ, and for what is no setting the parts that do. Its name says
both. What two papers compare stands here once: the complementation of E2NAS is NSAS-LG with M = 2.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from nas_search import Method, catalog
from nas_search.evaluation import SupernetAccuracy
from nas_search.exploration import Novelty
from nas_search.losses import Exploiting, Pieces, Replay, previous, random_path
from nas_search.samplers import Categorical
from nas_search.schedules import Constant
from nas_search.selection import BestSampled, Derive

STRATEGIES = ("nsas", "g", "lg", "random", "previous", "previous+random")
"""NSAS, NSAS-G, NSAS-LG, RG, LoW and LoW-R of the thesis."""
BETAS = (0.2, 0.5, 0.8)


def _same(method: Method) -> Method:
    return method


@dataclass(frozen=True)
class Variant:
    """A method with other settings.

    Args:
        method: its name in the catalogue.
        settings: those that differ.
        changed: what to do to the composed method.
        share: the part of the epochs of `bench_proxy.py` that it gets.
    """

    method: str
    settings: dict[str, Any] = field(default_factory=dict)
    changed: Callable[[Method], Method] = _same
    share: float = 1.0

    def composed(self, settings: dict[str, Any]) -> Method:
        """The variant, with `settings` of the method that are the bench's."""
        return self.changed(catalog.method(self.method, settings | self.settings))


def nsas(base: str, strategy: str, constraints: int, beta: float) -> Variant:
    """NSAS on a base; constraints is M."""
    return Variant("nsas", {"base": base, "strategy": strategy, "constraints": constraints, "beta": beta})


def constantly(gamma: float) -> Callable[[Method], Method]:
    """E2NAS with the same gamma all along."""
    schedule = Constant(gamma)
    return lambda method: replace(method, outer_loss=Exploiting(schedule), regularizers=(Novelty(schedule),))


def replaying(pieces: Pieces, epsilon: float) -> Callable[[Method], Method]:
    """A method that replays other paths than its own."""
    return lambda method: replace(method, loss=Replay(pieces, epsilon))


def drawn(method: Method) -> Method:
    """The best by the shared weights of a hundred architectures that the learned probabilities draw, as in SETN and ENAS."""
    return replace(method, selector=BestSampled(100, SupernetAccuracy(512), Categorical()))


def derived(method: Method) -> Method:
    """The most probable architecture, as in GDAS."""
    return replace(method, selector=Derive())


# REINFORCE with the setting of GDAS in all that both have: what differs is the estimator, and the controller that draws.
POLICY_GRADIENT = {"reward": "loss", "learning_rate": 0.025, "weight_decay": 5e-4}

VARIANTS: dict[str, Variant] = {
    # Thesis, Table 3.4.
    **{f"nsas M={m} beta={beta}": nsas("random", "nsas", m, beta) for m in (2, 3, 4, 5) for beta in BETAS},
    # Tables 3.5 to 3.7, M = 2, on random paths and on GDAS.
    **{
        f"nsas {strategy} M=2 beta={beta}": nsas("random", strategy, 2, beta)
        for strategy in STRATEGIES[1:]
        for beta in BETAS
    },
    **{
        f"gdas {strategy} M=2 beta={beta}": nsas("gdas", strategy, 2, beta) for strategy in STRATEGIES for beta in BETAS
    },
    # Table 4.3, RP: one random path. AC is `lg` with M = 2, OP is `previous`.
    **{f"{base} RP epsilon={beta}": nsas(base, "random", 1, beta) for base in ("random", "gdas") for beta in BETAS},
    **{f"e2nas RP epsilon={beta}": Variant("e2nas", {}, replaying(Pieces((random_path,)), beta)) for beta in BETAS},
    **{f"e2nas OP epsilon={beta}": Variant("e2nas", {}, replaying(Pieces((previous,)), beta)) for beta in BETAS},
    # Table 4.2: gamma at epsilon = 0.
    "e2nas gamma=0 epsilon=0": Variant("e2nas", {"exploration": 0.0, "epsilon": 0.0}),
    **{f"e2nas gamma={gamma} epsilon=0": Variant("e2nas", {"epsilon": 0.0}, constantly(gamma)) for gamma in BETAS},
    # Table 4.4: the steepness of the sigmoid and epsilon.
    **{
        f"e2nas Sig({b}) epsilon={epsilon}": Variant("e2nas", {"exploration": float(b), "epsilon": float(epsilon)})
        for epsilon in (0, *BETAS)
        for b in (1, 2, 5, 10)
    },
    # Table 6.3; as many architecture steps for all.
    **{
        f"idarts T={t} K={k}": Variant("idarts", {"inner_steps": t, "terms": k}, share=0.3)
        for t, k in ((1, 0), (1, 1), (4, 0), (4, 1), (4, 2), (4, 3))
    },
    # Table 5.2.
    **{f"balenas order 2 M={m}": Variant("balenas", {"order": 2, "samples": m}, share=0.5) for m in (1, 2, 3, 4)},
    **{
        f"amended_darts eta={eta}": Variant("amended_darts", {"eta": eta}, share=0.5)
        for eta in (0.01, 0.03, 0.1, 0.3, 1.0)
    },
    **{f"en2as tau={tau}": Variant("en2as", {"tau": tau}) for tau in (0.0, 0.2, 0.5, 1.0)},
    # A Gumbel relaxation (`gdas`) and the policy gradient, either with the end of the other one.
    "gdas drawn": Variant("gdas", {}, drawn),
    "gdas all options": Variant("gdas", {"all_options": True}),
    "gdas all options drawn": Variant("gdas", {"all_options": True}, drawn),
    "policy gradient drawn": Variant("enas", POLICY_GRADIENT),
    "policy gradient": Variant("enas", POLICY_GRADIENT, derived),
    # DAAS on digits ends with the best of a hundred draws, in the paper with the most probable architecture.
    "daas most probable": Variant("daas", {"samples": 0}),
    "daas all options": Variant("daas", {"all_options": True}),
    "daas all options, most probable": Variant("daas", {"all_options": True, "samples": 0}),
}

SAME = {
    "nsas M=5 beta=0.5": "nsas",
    "nsas previous M=2 beta=0.5": "nsas previous",
    "nsas previous+random M=2 beta=0.5": "nsas previous+random",
    "gdas nsas M=2 beta=0.2": "nsas gdas",
    "e2nas Sig(10) epsilon=0.5": "e2nas",
    "idarts T=4 K=2": "idarts",
    "balenas order 2 M=1": "balenas order 2",
    "amended_darts eta=0.1": "amended_darts",
    "en2as tau=0.0": "en2as",
    "en2as tau=0.5": "en2as reward",
}
"""The variants that `bench_proxy.METHODS` has by another name; where that is a method of the catalogue, `bench_digits` has too."""
