"""The claims of the papers that `evidence.py` judges: what is printed there, and which recorded runs or page speak of it."""

from typing import NamedTuple


class Main(NamedTuple):
    """A row of the main comparison on NAS-Bench-201: CIFAR-10 test accuracy as printed, and the name of the proxy's runs."""

    method: str
    paper: str
    runs: str


class Better(NamedTuple):
    """`runs` is better than `than`: of the recorded figure `figure`, as the paper prints it for both."""

    claim: str
    paper: str
    runs: str
    than: str
    figure: str = "test"


class Told(NamedTuple):
    """A claim whose figures stand in a page of benchmarks/; the verdict is the page's own."""

    claim: str
    paper: str
    ours: str
    scale: str
    seeds: str
    command: str
    verdict: str
    page: str


# Thesis, Tables 3.3, 4.1, 5.2 and 6.1; DARTS is printed alike for both orders.
MAIN = (
    Main("ENAS", "53.89 ± 0.58", "enas"),
    Main("DARTS, order 1", "54.30 ± 0", "darts"),
    Main("DARTS, order 2", "54.30 ± 0", "darts order 2"),
    Main("SETN", "87.64 ± 0.00", "setn"),
    Main("RandomNAS", "88.14 ± 0.21", "random_nas"),
    Main("GDAS", "93.40 ± 0.49", "gdas"),
    Main("RandomNAS-NSAS, M = 5, beta = 0.5", "92.61 ± 0.10", "nsas"),
    Main("GDAS-NSAS, M = 2, beta = 0.2", "93.55 ± 0.16", "nsas gdas"),
    Main("E2NAS", "93.89 ± 0.47", "e2nas"),
    Main("BaLeNAS, order 2, M = 1", "94.33 ± 0.04", "balenas order 2"),
    Main("iDARTS, T = 4, K = 2", "93.58 ± 0.32", "idarts"),
    Main("EN2AS", "93.36 ± 0.3", "en2as"),
    Main("Amended-DARTS, exact", "not printed", "amended_darts"),
    Main("Amended-DARTS, central differences", "not printed", "amended_darts difference"),
    Main("AllegroNAS", "not printed", "allegro"),
    Main("PC-DARTS", "not in the thesis", "pc_darts"),
    Main("DrNAS", "not in the thesis", "drnas"),
    Main("SNAS", "not in the thesis", "snas"),
    Main("ISTA-NAS, one stage", "not in the thesis", "ista 1 stage"),
    Main("ISTA-NAS, two stages", "not in the thesis", "ista 2 stages"),
    Main("E2NAS-R", "not on this benchmark", "e2nas_r"),
    Main("BaLeNAS, order 1", "not printed", "balenas"),
    Main("EN2AS with reward", "not on this benchmark", "en2as reward"),
    Main("random search, ten candidates", "not in the thesis", "random_search"),
)

COMPARISONS = (
    Better("GDAS finds better cells than RandomNAS (12.1)", "93.40 to 88.14", "gdas", "random_nas"),
    Better("E2NAS finds better cells than GDAS (12.1)", "93.89 to 93.37", "e2nas", "gdas"),
    Better("E2NAS finds better cells than RandomNAS (12.1)", "93.89 to 88.58", "e2nas", "random_nas"),
    Better(
        "BaLeNAS, order 2, finds better cells than DARTS, order 2 (12.1)",
        "94.33 to 54.30",
        "balenas order 2",
        "darts order 2",
    ),
    Better(
        "BaLeNAS finds better cells than iDARTS (12.1; ours after 5 epochs and 3)",
        "94.33 to 93.58",
        "balenas order 2",
        "idarts",
    ),
    Better(
        "iDARTS finds better cells than DARTS, order 1 (12.1, 12.5; ours after 3 epochs and 10)",
        "93.58 to 54.30",
        "idarts",
        "darts",
    ),
    Better("EN2AS finds better cells than RandomNAS (12.1)", "93.36 to 91.93", "en2as", "random_nas"),
    Better("NSAS, M = 5, beta = 0.5, improves RandomNAS (12.2)", "92.61 to 88.14", "nsas", "random_nas"),
    Better("GDAS-NSAS improves GDAS (12.1, 12.3)", "93.55 to 93.40", "nsas gdas", "gdas"),
    Better("NSAS-G is better than NSAS (12.3, M = 2, beta = 0.5; ours M = 5)", "90.37 to 88.09", "nsas g", "nsas"),
    Better("NSAS-LG is better than NSAS (12.3, the same)", "91.19 to 88.09", "nsas lg", "nsas"),
    Better("NSAS is better than random paths (12.3, RG)", "88.09 to 77.30", "nsas", "nsas random"),
    Better(
        "NSAS is better than the previous path (12.3, LoW; not so in the paper at this beta)",
        "88.09 to 89.86",
        "nsas",
        "nsas previous",
    ),
    Better("NSAS is better than both (12.3, LoW-R)", "88.09 to 86.85", "nsas", "nsas previous+random"),
    Better("EN2AS ranks better than RandomNAS (12.1, tau)", "0.228 to -0.016", "en2as", "random_nas", "tau"),
    Better("EN2AS ranks better than GDAS (12.1, tau)", "0.228 to -0.067", "en2as", "gdas", "tau"),
    Better("NSAS ranks better than RandomNAS (12.3, tau, DARTS space)", "0.424 to 0.091", "nsas", "random_nas", "tau"),
    Better(
        "NSAS on GDAS ranks better than GDAS (12.3, tau, DARTS space)", "0.303 to -0.182", "nsas gdas", "gdas", "tau"
    ),
    Better(
        "second order is better than first order for DARTS (12.6; ours after 5 epochs and 10)",
        "97.24 to 97.06 (CIFAR-10)",
        "darts order 2",
        "darts",
    ),
)

_COLLAPSE = (
    "python examples/collapse_of_darts.py --data npz:c10.npz --table nas_bench_201.npz --epochs 160 [--seeds 1,2]"
)
_COLLAPSED = "1,000 CIFAR-10 images of 8 x 8, 160 epochs of 7 steps"
_DHA = "python benchmarks/bench_hyperparameters.py components --out components.json"
_DHA_CIFAR = "python benchmarks/bench_hyperparameters.py components --data npz:c10.npz --images 2000 --side 16"
_SMALL = "2,000 CIFAR-10 images of 16 x 16, 8 channels, one cell a stage, 30 epochs"
_DIGITS = "scikit-learn's digits, 8 channels, one cell a stage, 30 epochs"
_JOINT = "python benchmarks/bench_joint.py --data npz:c10.npz --images 2000 --side 16 --epochs 12 --train-epochs 20 ..."
_STARTS = "python benchmarks/bench_hyperparameters.py starts --rate 0.03 --out starts.json"

TOLD = (
    Told("DARTS collapses into skip connections (12.1, 54.30)", "every seed: six of six, 54.30",
         "six of six and 54.30; 51.44 with two of six; 92.08 with three of six", _COLLAPSED, "0, 1, 2", _COLLAPSE,
         "with one seed of three", "proxy.md"),
    Told("Amended-DARTS prevents the collapse", "no skip-dominated cells",
         "no skip connections with any seed, but 87.44, 10.00, 10.00: two cells are cut off from their input", _COLLAPSED,
         "0, 1, 2", _COLLAPSE, "the skips are prevented, good cells are not found", "proxy.md"),
    Told("BaLeNAS prevents the collapse", "94.33 ± 0.04", "87.99, 54.30, 54.30; skip share 0.50, 1.00, 1.00", _COLLAPSED,
         "0, 1, 2", _COLLAPSE, "does not hold here", "proxy.md"),
    Told("Stopping by the largest eigenvalue (RobustDARTS) prevents it", "-", "84.18, 79.36, 92.44, all at epoch 10",
         _COLLAPSED, "0, 1, 2", _COLLAPSE, "best of the five with two seeds of three", "proxy.md"),
    Told("A central difference approximates the second derivative (DARTS Eq. 8)", "used as such",
         "relative distance 0.62 (DARTS), 0.82 (iDARTS), 12 (amended) at the length of 0.01; below 1e-10 where no ReLU changes",
         "NAS-Bench-201 supernet, 8 channels, digits, float64", "one", "python benchmarks/bench_central_difference.py",
         "does not hold on networks with ReLUs", "methods.md"),
    Told("PC-DARTS keeps K times less", "K-fold", "K = 4: 1.42 times (NAS-Bench-201), 1.27 (DARTS space)",
         "64 images of 3 x 16 x 16, 16 channels", "one", "python benchmarks/bench_methods.py --memory",
         "does not hold against our supernets", "methods.md"),
    Told("NSAS costs M + 1 passes a weight step", "M + 1", "5.45 steps of one path for M = 5, 2.96 for M = 2",
         "NAS-Bench-201 supernet, 40 rounds", "one", "python benchmarks/bench_one_shot.py --rounds 40", "holds", "methods.md"),
    Told("EN2AS trains more diverse architectures than uniform sampling", "by construction",
         "0.727 to 0.696 ± 0.004 (NAS-Bench-201), 0.889 to 0.880 ± 0.001 (DARTS space); as released 0.691, 0.882",
         "archive of 100, five rounds", "one", "python benchmarks/bench_one_shot.py --diversity",
         "holds, the gain is small; as released it does not hold", "methods.md"),
    Told("E2NAS' decoder gives back architectures it never saw", "-", "100 % of 1,563 held out (NAS-Bench-201)",
         "12 epochs on 90 % of all 15,625", "one", "nas_search.pretraining.train_autoencoder", "holds", "methods.md"),
    Told("Different seeds of E2NAS find different good cells (12.4)", "93.89 ± 0.47",
         "the seeds start 1e-3 from the origin, are pushed the same way by novelty and stay near", "the proxy, 10 epochs",
         "0, 1", "python benchmarks/bench_proxy.py --methods e2nas ...", "does not hold in short searches", "proxy.md"),
    Told("Joint NAS + DA beats sequential NAS + DA (DHA, Table 3)", "97.78 to 97.74 (CIFAR-10)", "92.66 to 86.72, every seed",
         _DIGITS, "0, 1, 2", _DHA, "holds here, with longer training of the joint one", "joint_hyperparameters.md"),
    Told("Joint NAS + HPO beats sequential NAS + HPO (DHA, Table 3)", "97.75 to 97.54 (CIFAR-10)",
         "97.86 to 96.29, every seed", _DIGITS, "0, 1, 2", _DHA, "holds here, with longer training of the joint one",
         "joint_hyperparameters.md"),
    Told("DHA beats sequential DHA (DHA, Table 1)", "98.11 to 97.77 (CIFAR-10)", "88.39 to 87.37, one seed of three worse",
         _DIGITS, "0, 1, 2", _DHA, "not decided", "joint_hyperparameters.md"),
    Told("All three parts together are best, and augmentation helps most (DHA, Table 3)", "98.11 to 97.78 and 97.75",
         "88.39; with augmentation 92.66, with hyper-parameters 97.86, neither 96.47", _DIGITS, "0, 1, 2", _DHA,
         "does not hold here", "joint_hyperparameters.md"),
    Told("Joint search beats sequential search, three times (DHA, Tables 1 and 3)",
         "97.78 to 97.74, 97.75 to 97.54, 98.11 to 97.77",
         "NAS + DA 29.0 to 28.1, NAS + HPO 34.9 to 34.0, DHA 30.2 to 29.3; one seed of three worse each time", _SMALL, "0, 1, 2",
         _DHA_CIFAR, "better in the mean each time, not decided", "joint_hyperparameters.md"),
    Told("All three parts together are best, and augmentation helps most (DHA, Table 3)", "98.11 to 97.78 and 97.75",
         "30.2; with augmentation 29.0, with hyper-parameters 34.9, neither 35.6", _SMALL, "0, 1, 2", _DHA_CIFAR,
         "does not hold at this scale", "joint_hyperparameters.md"),
    Told("Learned hyper-parameters recover from bad starts (DHA, Eq. 4)", "-",
         "rate / 10: 96.29 to 92.57 fixed; rate x 10: 92.94 to 94.43 fixed", "digits, 12 epochs", "0, 1, 2", _STARTS,
         "learning rate from below; weight decay from one side only", "joint_hyperparameters.md"),
    Told("Eq. 4 of DHA as printed (the batch of the step itself)", "used", "the learning rate only grows: 0.003 to 0.527",
         "digits, 12 epochs", "0, 1, 2", _STARTS, "does not hold", "joint_hyperparameters.md"),
    Told("DAAS finds an augmentation that the data need", "-",
         "planted rotation 90.2 to 65.0 (RandAugment), planted inversion 98.2 to 18.6 (customary)", "digits, 20 + 40 epochs",
         "0, 1, 2", "python benchmarks/bench_planted.py --seeds 0,1,2", "holds", "joint.md"),
    Told("The same on CIFAR-10", "-",
         "inversion 24.7 to 9.4 (RandAugment); rotation 42.5 to 39.3 (customary) and 39.1 (RandAugment), better with every seed",
         "2,000 images of 16 x 16, 12 + 20 epochs (inversion); 8,000, 40 + 30 epochs (rotation)", "0, 1, 2",
         "python benchmarks/bench_planted.py --data npz:c10.npz --images 8000 --side 16 ...",
         "holds, the rotation once the clean images are fitted", "joint.md"),
    Told("A searched augmentation is better than the customary one (DAAS, Table 4)", "97.42 to 97.91 (CIFAR-10)",
         "98.61, 98.05 to 99.44, 98.89 on digits as they are, with the most probable cell",
         "digits, 24 epochs", "0, 1", "nascli search",
         "does not hold where nothing is planted", "joint.md"),
    Told("The same (DAAS, Table 4)", "97.42 to 97.91 (CIFAR-10)",
         "37.6 ± 1.0 customary, 36.4 ± 1.4 searched, every seed worse",
         "2,000 CIFAR-10 images of 16 x 16, 12 + 20 epochs", "0, 1, 2", _JOINT, "does not hold at this scale", "joint.md"),
    Told("Joint search is better than one after the other (DAAS, Table 6)", "97.75 to 97.62 (CIFAR-10)",
         "36.4 ± 1.4 to 37.2 ± 2.3, one seed of three better",
         "2,000 CIFAR-10 images of 16 x 16, 12 + 20 epochs", "0, 1, 2", _JOINT, "does not hold at this scale", "joint.md"),
    Told("An architecture does best with the policy that was found with it (DAAS, Table 7)",
         "the own policy is best for three of three",
         "the own policy is best for none of three, worst for two", "2,000 CIFAR-10 images of 16 x 16, 12 + 20 epochs", "0, 1, 2",
         _JOINT, "does not hold at this scale", "joint.md"),
    Told("Tables 4, 6 and 7 of DAAS on digits", "97.42 to 97.91; 97.75 to 97.62 (CIFAR-10); three of three",
         "97.9 ± 1.3 joint, 98.2 ± 0.9 customary, 96.8 ± 1.0 independent; the own policy is best for one of three, worst for one",
         "digits, 24 + 24 epochs, all options differentiated", "0, 1, 2",
         "python benchmarks/bench_joint.py --images 0 --side 0 --epochs 24 --train-epochs 24 --channels 8 --all-options ...",
         "Table 6 is not decided (two seeds of three better), the others do not hold", "joint.md"),
    Told("NSAS and complementation forget less than uniform paths (12.2, 12.4)", "a figure",
         "accuracy at the end 26.3 and 26.2 to 24.6; fall from score to score 0.48 and 0.45 to 0.43 points", "the proxy, 10 epochs",
         "0, 1, 2", "python benchmarks/bench_forgetting.py --data npz:c10.npz --seeds 0,1,2 --plot forgetting",
         "the architectures end higher; less forgetting is not seen", "proxy.md"),
    Told("Black-box methods beat random search", "-",
         "Bayesian optimisation and local search 0.000, evolution 0.033 to 0.076, random search 0.446 of test regret",
         "the table of NAS-Bench-201, 300 queries", "20",
         "python benchmarks/bench_black_box.py --table nas_bench_201.npz --seeds 20",
         "holds", "RESULTS.md"),
    Told("The same on the table of digits", "-", "95.08 random search; 94.97 to 95.12 the five others",
         "24 queries of 125 networks",
         "20", "python benchmarks/bench_digits.py --json digits_methods.json", "does not hold: nothing to gain there",
         "digits_table.md"),
)  # fmt: skip

NOT_RUN = (
    "joint against independent search and architecture i with policy j (DAAS, Tables 6 and 7) at a larger scale",
    "CIFAR-100 and ImageNet16-120, the DARTS space at its full size, Penn Treebank and WikiText-2 at the papers' scale, ImageNet",
)
