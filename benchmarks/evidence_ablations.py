"""The ablations of the papers that `evidence.py` judges: their settings, what is printed for each, and what it is said to show."""

from typing import NamedTuple

from variants import BETAS


class Row(NamedTuple):
    """A setting: its CIFAR-10 test accuracy on NAS-Bench-201 as printed, and the name of its runs, see `variants.py`."""

    setting: str
    paper: str
    runs: str


class Shown(NamedTuple):
    """What an ablation is said to show: `runs` is better than `than`."""

    claim: str
    runs: str
    than: str


class Ablation(NamedTuple):
    """A table of a paper."""

    title: str
    source: str
    rows: tuple[Row, ...]
    shows: tuple[Shown, ...]


def _grid(names: str, paper: str, **grid: tuple[object, ...]) -> tuple[Row, ...]:
    """Rows over two quantities, the second of which changes faster; the figures of the paper in that order."""
    (first, ones), (second, others) = grid.items()
    pairs = [{first: one, second: other} for one in ones for other in others]
    figures = paper.split()
    assert len(pairs) == len(figures), f"{names}: {len(pairs)} settings, {len(figures)} figures"
    return tuple(
        Row(
            ", ".join(f"{key} {value}".removeprefix("base ") for key, value in pair.items()),
            figure.replace("+-", " ± "),
            names.format(**pair),
        )
        for pair, figure in zip(pairs, figures, strict=True)
    )


_STRATEGIES = {
    "nsas": "NSAS",
    "g": "NSAS-G",
    "lg": "NSAS-LG",
    "random": "RG",
    "previous": "LoW",
    "previous+random": "LoW-R",
}


def _strategies(base: str, paper: str) -> tuple[Row, ...]:
    """A row for each strategy and beta, beta by beta as the thesis prints them."""
    pairs = [(beta, strategy) for beta in BETAS for strategy in _STRATEGIES]
    figures = paper.split()
    assert len(pairs) == len(figures)
    return tuple(
        # On random paths NSAS itself has the name that it has in the table of M.
        Row(
            f"{_STRATEGIES[strategy]}, beta {beta}",
            figure.replace("+-", " ± "),
            f"{base} {strategy} M=2 beta={beta}".replace("nsas nsas", "nsas"),
        )
        for (beta, strategy), figure in zip(pairs, figures, strict=True)
    )


ABLATIONS = (
    Ablation(
        "M and beta of NSAS on random paths",
        "thesis, Table 3.4",
        (
            Row("none (RandomNAS)", "88.14 ± .21", "random_nas"),
            *_grid(
                "nsas M={M} beta={beta}",
                "89.58+-2.82 88.09+-1.23 90.14+-2.35 90.74+-1.31 91.23+-1.03 88.78+-2.23 "
                "90.64+-.99 91.04+-.43 92.04+-.50 91.36+-.74 92.61+-.10 91.56+-.36",
                M=(2, 3, 4, 5),
                beta=BETAS,
            ),
        ),
        (
            Shown("M = 5 is better than M = 2 (beta = 0.5)", "nsas M=5 beta=0.5", "nsas M=2 beta=0.5"),
            Shown("M = 5 is better than M = 3 (beta = 0.5)", "nsas M=5 beta=0.5", "nsas M=3 beta=0.5"),
            Shown("M = 4 is better than M = 2 (beta = 0.8)", "nsas M=4 beta=0.8", "nsas M=2 beta=0.8"),
            Shown("beta = 0.5 is better than 0.2 (M = 5)", "nsas M=5 beta=0.5", "nsas M=5 beta=0.2"),
            Shown("beta = 0.5 is better than 0.8 (M = 5)", "nsas M=5 beta=0.5", "nsas M=5 beta=0.8"),
        ),
    ),
    Ablation(
        "What NSAS replays, on random paths, M = 2",
        "thesis, Tables 3.5 to 3.7; NSAS-LG is what E2NAS calls complementation (Table 4.3, AC)",
        _strategies(
            "nsas",
            "89.58+-2.82 91.74+-1.16 91.11+-2.16 89.24+-2.24 90.13+-4.25 89.72+-3.64 "
            "88.09+-1.23 90.37+-2.14 91.19+-.79 77.30+-19.76 89.86+-2.91 86.85+-10.29 "
            "90.14+-2.35 92.52+-.48 91.18+-1.73 89.53+-.24 89.39+-3.88 85.54+-7.18",
        ),
        (
            Shown("NSAS-G is better than NSAS (beta = 0.5)", "nsas g M=2 beta=0.5", "nsas M=2 beta=0.5"),
            Shown("NSAS-LG is better than NSAS (beta = 0.5)", "nsas lg M=2 beta=0.5", "nsas M=2 beta=0.5"),
            Shown("NSAS is better than RG (beta = 0.5)", "nsas M=2 beta=0.5", "nsas random M=2 beta=0.5"),
            Shown("NSAS-LG is better than LoW-R (beta = 0.5)", "nsas lg M=2 beta=0.5", "nsas previous+random M=2 beta=0.5"),
        ),
    ),
    Ablation(
        "What NSAS replays, on GDAS, M = 2",
        "thesis, Tables 3.5 to 3.7; NSAS-LG is complementation (Table 4.3, AC), where GDAS has 93.37, 93.67, 93.41 and 93.52",
        (
            Row("none (GDAS)", "93.40 ± .49", "gdas"),
            *_strategies(
                "gdas",
                "93.55+-.16 93.37+-.27 93.52+-.30 93.29+-.19 93.51+-.14 93.40+-.26 "
                "93.49+-.24 93.51+-.14 93.46+-.27 93.31+-.30 93.47+-.29 93.36+-.21 "
                "93.32+-.18 93.29+-.29 93.55+-.20 93.40+-.28 93.55+-.20 93.55+-.16",
            ),
        ),
        (
            Shown("NSAS improves GDAS (beta = 0.2)", "gdas nsas M=2 beta=0.2", "gdas"),
            Shown("complementation improves GDAS (epsilon = 0.5)", "gdas lg M=2 beta=0.5", "gdas"),
            Shown("NSAS is better than RG (beta = 0.2)", "gdas nsas M=2 beta=0.2", "gdas random M=2 beta=0.2"),
            Shown("a beta of 0.2 is better than 0.8 for NSAS", "gdas nsas M=2 beta=0.2", "gdas nsas M=2 beta=0.8"),
        ),
    ),
    Ablation(
        "One replayed path: random (RP) or the previous one (OP)",
        "thesis, Table 4.3; the other halves are above and below",
        (
            *_grid("random RP epsilon={epsilon}", "89.72+-3.79 83.98+-11.6 90.19+-1.58", base=("RandomNAS, RP",), epsilon=BETAS),
            *_grid(
                "nsas previous M=2 beta={epsilon}", "90.81+-3.37 91.90+-.35 88.44+-4.24", base=("RandomNAS, OP",), epsilon=BETAS
            ),
            *_grid("gdas RP epsilon={epsilon}", "93.42+-.09 93.42+-.09 93.42+-.09", base=("GDAS, RP",), epsilon=BETAS),
            *_grid("gdas previous M=2 beta={epsilon}", "93.42+-.09 93.58+-.13 93.52+-.22", base=("GDAS, OP",), epsilon=BETAS),
            *_grid("e2nas RP epsilon={epsilon}", "51.49+-58.68 51.49+-58.68 51.49+-58.68", base=("E2NAS, RP",), epsilon=BETAS),
            *_grid("e2nas OP epsilon={epsilon}", "92.50+-2.04 92.50+-2.04 92.03+-1.37", base=("E2NAS, OP",), epsilon=BETAS),
        ),
        (
            Shown("complementation is better than RP on RandomNAS (0.5)", "nsas lg M=2 beta=0.5", "random RP epsilon=0.5"),
            Shown("complementation is better than RP on GDAS (0.2)", "gdas lg M=2 beta=0.2", "gdas RP epsilon=0.2"),
            Shown("complementation is better than OP on GDAS (0.2)", "gdas lg M=2 beta=0.2", "gdas previous M=2 beta=0.2"),
            Shown("complementation is better than RP in E2NAS (0.5)", "e2nas Sig(10) epsilon=0.5", "e2nas RP epsilon=0.5"),
            Shown("complementation is better than OP in E2NAS (0.5)", "e2nas Sig(10) epsilon=0.5", "e2nas OP epsilon=0.5"),
        ),
    ),
    Ablation(
        "Exploration in E2NAS: gamma without complementation",
        "thesis, Table 4.2; Sig(5) has 92.76 ± 2.06 in Table 4.4",
        (
            *_grid("e2nas gamma={gamma} epsilon=0", "92.75+-.56 82.53+-12.07 93.34+-.30 93.75+-0", epsilon=(0,), gamma=(0, *BETAS)),
            *_grid(
                "e2nas Sig({sigmoid}) epsilon=0", "93.82+-.15 93.72+-.30 93.78+-.16 93.43+-.29", epsilon=(0,), sigmoid=(1, 2, 5, 10)
            ),
        ),
        (
            Shown("exploration helps: Sig(10) is better than gamma = 0", "e2nas Sig(10) epsilon=0", "e2nas gamma=0 epsilon=0"),
            Shown("so does Sig(1)", "e2nas Sig(1) epsilon=0", "e2nas gamma=0 epsilon=0"),
            Shown("a gamma of 0.8 is better than 0.2", "e2nas gamma=0.8 epsilon=0", "e2nas gamma=0.2 epsilon=0"),
            Shown("Sig(1) is better than Sig(10)", "e2nas Sig(1) epsilon=0", "e2nas Sig(10) epsilon=0"),
        ),
    ),
    Ablation(
        "Exploration and complementation in E2NAS",
        "thesis, Table 4.4; its Sig(10) with 0.5 is E2NAS",
        _grid(
            "e2nas Sig({sigmoid}) epsilon={epsilon}",
            "92.93 93.99 93.00 93.77 92.93 93.77 93.87 93.89 92.93 93.99 93.11 93.32",
            epsilon=BETAS,
            sigmoid=(1, 2, 5, 10),
        ),
        (
            Shown("an epsilon of 0.5 is better than 0 with Sig(10)", "e2nas Sig(10) epsilon=0.5", "e2nas Sig(10) epsilon=0"),
            Shown("and than 0.2", "e2nas Sig(10) epsilon=0.5", "e2nas Sig(10) epsilon=0.2"),
            Shown("and than 0.8", "e2nas Sig(10) epsilon=0.5", "e2nas Sig(10) epsilon=0.8"),
        ),
    ),
    Ablation(
        "T and K of iDARTS",
        "thesis, Table 6.3; ours with as many architecture steps for all, and so a quarter of the weight steps with T = 1",
        tuple(
            Row(f"T {t}, K {k}", paper, f"idarts T={t} K={k}")
            for t, k, paper in (
                (1, 0, "54.30 (as DARTS)"),
                (1, 1, "89.67 ± 1.31"),
                (4, 0, "90.36 ± 1.79"),
                (4, 1, "92.44 ± 1.14"),
                (4, 2, "93.58 ± .32"),
                (4, 3, "92.29 ± .26"),
            )
        ),
        (
            Shown("T = 4 is better than T = 1 (K = 0)", "idarts T=4 K=0", "idarts T=1 K=0"),
            Shown("K = 1 is better than K = 0 (T = 1)", "idarts T=1 K=1", "idarts T=1 K=0"),
            Shown("K = 1 is better than K = 0 (T = 4)", "idarts T=4 K=1", "idarts T=4 K=0"),
            Shown("K = 2 is better than K = 0 (T = 4)", "idarts T=4 K=2", "idarts T=4 K=0"),
            Shown("K = 2 is better than K = 1 (T = 4)", "idarts T=4 K=2", "idarts T=4 K=1"),
            Shown("K = 2 is better than K = 3 (T = 4)", "idarts T=4 K=2", "idarts T=4 K=3"),
        ),
    ),
    Ablation(
        "M of BaLeNAS, second order",
        "thesis, Table 5.2",
        tuple(
            Row(f"M {m}", paper, f"balenas order 2 M={m}")
            for m, paper in ((1, "94.33 ± .04"), (2, "92.75 ± 1.87"), (3, "94.03 ± .35"), (4, "93.04 ± 1.09"))
        ),
        (
            Shown("one draw is better than two", "balenas order 2 M=1", "balenas order 2 M=2"),
            Shown("one draw is better than four", "balenas order 2 M=1", "balenas order 2 M=4"),
        ),
    ),
    Ablation(
        "The amending coefficient of Amended-DARTS",
        "its paper finds first-order DARTS at 0.01 and below, pooling at 1, and takes 0.1; no figures on NAS-Bench-201",
        tuple(Row(f"eta {eta}", "-", f"amended_darts eta={eta}") for eta in (0.01, 0.03, 0.1, 0.3, 1.0)),
        (
            Shown("0.1 is better than 0.01", "amended_darts eta=0.1", "amended_darts eta=0.01"),
            Shown("0.1 is better than 1", "amended_darts eta=0.1", "amended_darts eta=1.0"),
        ),
    ),
    Ablation(
        "Reward beside novelty in EN2AS",
        "its paper has tau = 0.5 for the variant with reward; no figures on NAS-Bench-201 but for tau = 0",
        tuple(
            Row(f"tau {tau}", "93.36 ± .3" if tau == 0 else "-", f"en2as tau={tau}") for tau in (0.0, 0.2, 0.5, 1.0)
        ),
        (
            Shown("a reward of 0.5 helps", "en2as tau=0.5", "en2as tau=0.0"),
            Shown("a reward of 1 helps", "en2as tau=1.0", "en2as tau=0.0"),
        ),
    ),
    Ablation(
        "A Gumbel relaxation against the policy gradient",
        "thesis, Tables 3.3 and 4.1, for GDAS and ENAS as they are; here with the same weight steps, and either end for both",
        (
            Row("Gumbel, most probable (GDAS)", "93.40 ± .49", "gdas"),
            Row("policy gradient, most probable", "-", "policy gradient"),
            Row("Gumbel, all options differentiated", "-", "gdas all options"),
            Row("Gumbel, best of 100 draws by the shared weights", "-", "gdas drawn"),
            Row("Gumbel, all options differentiated, best of 100 draws", "-", "gdas all options drawn"),
            Row("policy gradient, best of 100 draws", "-", "policy gradient drawn"),
            Row("ENAS as it is", "53.89 ± .58", "enas"),
        ),
        (
            Shown("Gumbel is better (most probable)", "gdas", "policy gradient"),
            Shown("Gumbel is better (best of 100 draws)", "gdas drawn", "policy gradient drawn"),
            Shown("Gumbel is better with all options (most probable)", "gdas all options", "gdas"),
            Shown("Gumbel is better with the best of 100 draws", "gdas drawn", "gdas"),
        ),
    ),
    Ablation(
        "What DAAS differentiates and what it ends with",
        "its seed has one figure, for the search space of DARTS; on digits `daas` as it is ends with the best of 100 draws",
        (
            Row("drawn options, most probable (the seed)", "-", "daas most probable"),
            Row("all options, most probable", "-", "daas all options, most probable"),
            Row("drawn options, best of 100 draws by the shared weights", "-", "daas"),
            Row("all options, best of 100 draws", "-", "daas all options"),
        ),
        (
            Shown("all options are better (most probable)", "daas all options, most probable", "daas most probable"),
            Shown("the best of 100 draws is better", "daas", "daas most probable"),
        ),
    ),
)  # fmt: skip
