"""The papers that a method comes from, as BibTeX."""

from nas_search import catalog
from nas_search.errors import ConfigError

__all__ = ["citations"]

# key: (kind, authors, title, where, year). Of a paper read in an anonymous version the authors are those it names.
_PAPERS: dict[str, tuple[str, str, str, str, int]] = {
    "daas": ("misc", "{Anonymous authors}", "{DAAS}: Differentiable Architecture and Augmentation Policy Search", "Under review", 2021),
    "dha": ("misc", "Zhou, Kaichen and others", "{DHA}: End-to-End Joint Optimization of Data Augmentation Policy, Hyper-parameter and Architecture", "arXiv preprint", 2021),
    "amended": ("misc", "Bi, Kaifeng and others", "Stabilizing {DARTS} with Amended Gradient Estimation on Architectural Parameters", "arXiv preprint", 2019),
    "allegro": ("article", "Jin, Cong and Huang, Jinjie and Chen, Yuanjian and Gong, Yuqing", "Enhanced Differentiable Architecture Search Based on Asymptotic Regularization", "Computers, Materials and Continua", 2024),
    "zhang_thesis": ("phdthesis", "Zhang, Miao", "Automated Deep Learning: A Study on Neural Architecture Search", "University of Technology Sydney", 2021),
    "en2as": ("inproceedings", "Zhang, Miao and Li, Huiqi and Pan, Shirui and Liu, Taoping and Su, Steven", "One-Shot Neural Architecture Search via Novelty Driven Sampling", "International Joint Conferences on Artificial Intelligence (IJCAI)", 2020),
    "nsas": ("inproceedings", "Zhang, Miao and Li, Huiqi and Pan, Shirui and Chang, Xiaojun and Su, Steven", "Overcoming Multi-Model Forgetting in One-Shot {NAS} with Diversity Maximization", "IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)", 2020),
    "e2nas": ("inproceedings", "Zhang, Miao and Li, Huiqi and Pan, Shirui and Chang, Xiaojun and Ge, Zongyuan and Su, Steven", "Differentiable Neural Architecture Search in Equivalent Space with Exploration Enhancement", "Advances in Neural Information Processing Systems (NeurIPS)", 2020),
    "idarts": ("inproceedings", "Zhang, Miao and Su, Steven W. and Pan, Shirui and Chang, Xiaojun and Abbasnejad, Ehsan M. and Haffari, Reza", "{iDARTS}: Differentiable Architecture Search with Stochastic Implicit Gradients", "International Conference on Machine Learning (ICML)", 2021),
    "darts": ("inproceedings", "Liu, Hanxiao and Simonyan, Karen and Yang, Yiming", "{DARTS}: Differentiable Architecture Search", "International Conference on Learning Representations (ICLR)", 2019),
    "robust_darts": ("inproceedings", "Zela, Arber and Elsken, Thomas and Saikia, Tonmoy and Marrakchi, Yassine and Brox, Thomas and Hutter, Frank", "Understanding and Robustifying Differentiable Architecture Search", "International Conference on Learning Representations (ICLR)", 2020),
    "ista": ("inproceedings", "Yang, Yibo and Li, Hongyang and You, Shan and Wang, Fei and Qian, Chen and Lin, Zhouchen", "{ISTA-NAS}: Efficient and Consistent Neural Architecture Search by Sparse Coding", "Advances in Neural Information Processing Systems (NeurIPS)", 2020),
    "gdas": ("inproceedings", "Dong, Xuanyi and Yang, Yi", "Searching for a Robust Neural Architecture in Four {GPU} Hours", "IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)", 2019),
    "setn": ("inproceedings", "Dong, Xuanyi and Yang, Yi", "One-Shot Neural Architecture Search via Self-Evaluated Template Network", "IEEE/CVF International Conference on Computer Vision (ICCV)", 2019),
    "snas": ("inproceedings", "Xie, Sirui and Zheng, Hehui and Liu, Chunxiao and Lin, Liang", "{SNAS}: Stochastic Neural Architecture Search", "International Conference on Learning Representations (ICLR)", 2019),
    "drnas": ("inproceedings", "Chen, Xiangning and Wang, Ruochen and Cheng, Minhao and Tang, Xiaocheng and Hsieh, Cho-Jui", "{DrNAS}: Dirichlet Neural Architecture Search", "International Conference on Learning Representations (ICLR)", 2021),
    "pc_darts": ("inproceedings", "Xu, Yuhui and Xie, Lingxi and Zhang, Xiaopeng and Chen, Xin and Qi, Guo-Jun and Tian, Qi and Xiong, Hongkai", "{PC-DARTS}: Partial Channel Connections for Memory-Efficient Architecture Search", "International Conference on Learning Representations (ICLR)", 2020),
    "enas": ("inproceedings", "Pham, Hieu and Guan, Melody and Zoph, Barret and Le, Quoc and Dean, Jeff", "Efficient Neural Architecture Search via Parameter Sharing", "International Conference on Machine Learning (ICML)", 2018),
    "random_nas": ("inproceedings", "Li, Liam and Talwalkar, Ameet", "Random Search and Reproducibility for Neural Architecture Search", "Uncertainty in Artificial Intelligence (UAI)", 2019),
    "random_search": ("article", "Bergstra, James and Bengio, Yoshua", "Random Search for Hyper-Parameter Optimization", "Journal of Machine Learning Research", 2012),
    "regularized_evolution": ("inproceedings", "Real, Esteban and Aggarwal, Alok and Huang, Yanping and Le, Quoc V.", "Regularized Evolution for Image Classifier Architecture Search", "AAAI Conference on Artificial Intelligence", 2019),
    "local_search": ("inproceedings", "White, Colin and Nolen, Sam and Savani, Yash", "Exploring the Loss Landscape in Neural Architecture Search", "Uncertainty in Artificial Intelligence (UAI)", 2021),
    "halving": ("inproceedings", "Jamieson, Kevin and Talwalkar, Ameet", "Non-stochastic Best Arm Identification and Hyperparameter Optimization", "International Conference on Artificial Intelligence and Statistics (AISTATS)", 2016),
    "hyperband": ("article", "Li, Lisha and Jamieson, Kevin and DeSalvo, Giulia and Rostamizadeh, Afshin and Talwalkar, Ameet", "Hyperband: A Novel Bandit-Based Approach to Hyperparameter Optimization", "Journal of Machine Learning Research", 2018),
    "botorch": ("inproceedings", "Balandat, Maximilian and Karrer, Brian and Jiang, Daniel R. and Daulton, Samuel and Letham, Benjamin and Wilson, Andrew Gordon and Bakshy, Eytan", "{BoTorch}: A Framework for Efficient {Monte-Carlo} {Bayesian} Optimization", "Advances in Neural Information Processing Systems (NeurIPS)", 2020),
    "log_ei": ("inproceedings", "Ament, Sebastian and Daulton, Samuel and Eriksson, David and Balandat, Maximilian and Bakshy, Eytan", "Unexpected Improvements to Expected Improvement for {Bayesian} Optimization", "Advances in Neural Information Processing Systems (NeurIPS)", 2023),
}  # fmt: skip

# The method's own paper first, then those whose parts it takes.
_SOURCES: dict[str, tuple[str, ...]] = {
    "allegro": ("allegro", "darts"),
    "amended_darts": ("amended", "darts"),
    "augment_only": ("daas",),
    "balenas": ("zhang_thesis",),
    "bayesian_optimization": ("botorch", "log_ei"),
    "daas": ("daas", "gdas"),
    "darts": ("darts", "robust_darts"),
    "dha": ("dha", "ista"),
    "drnas": ("drnas",),
    "e2nas": ("e2nas", "zhang_thesis"),
    "e2nas_r": ("e2nas", "zhang_thesis"),
    "en2as": ("en2as", "zhang_thesis"),
    "enas": ("enas",),
    "gdas": ("gdas",),
    "hyperband": ("hyperband", "halving"),
    "idarts": ("idarts", "zhang_thesis"),
    "ista": ("ista",),
    "local_search": ("local_search",),
    "nsas": ("nsas", "zhang_thesis"),
    "pc_darts": ("pc_darts",),
    "random_nas": ("random_nas",),
    "random_search": ("random_search",),
    "regularized_evolution": ("regularized_evolution",),
    "sequential_dha": ("dha", "ista"),
    "setn": ("setn",),
    "snas": ("snas",),
    "successive_halving": ("halving",),
}
_PLACE = {"article": "journal", "inproceedings": "booktitle", "phdthesis": "school", "misc": "howpublished"}


def citations(method: str) -> tuple[str, ...]:
    """The papers to cite for a method, as BibTeX entries, its own paper first.

    Args:
        method: its name; hyphens and underscores are the same.

    Returns:
        One entry a paper; none for a method of others, whose papers its own documentation names.

    Raises:
        ConfigError: no such method is installed, with the nearest name.

    Example:
        >>> citations("darts")[0].splitlines()[0]
        '@inproceedings{darts,'
    """
    key, known = method.replace("-", "_"), catalog.methods()
    if key not in known:
        raise ConfigError(
            f"unknown method {method!r}; did you mean {catalog.nearest(key, known)!r}? Installed: {', '.join(known)}."
        )
    return tuple(_entry(paper) for paper in _SOURCES.get(key, ()))


def _entry(key: str) -> str:
    kind, authors, title, place, year = _PAPERS[key]
    values = {"author": authors, "title": title, _PLACE[kind]: place, "year": str(year)}
    return f"@{kind}{{{key},\n" + "".join(f"  {name} = {{{value}}},\n" for name, value in values.items()) + "}"
