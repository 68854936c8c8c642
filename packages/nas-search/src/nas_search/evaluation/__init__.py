"""Evaluators: architecture to score. One file each."""

from nas_search.evaluation.accuracy import perplexity, top1
from nas_search.evaluation.network_cost import NetworkCost
from nas_search.evaluation.rank_correlation import RankCorrelation, kendall_tau, rank_correlation
from nas_search.evaluation.supernet_accuracy import SupernetAccuracy
from nas_search.evaluation.table_score import TableScore
from nas_search.evaluation.train_and_validate import TrainAndValidate

__all__ = [
    "NetworkCost",
    "RankCorrelation",
    "SupernetAccuracy",
    "TableScore",
    "TrainAndValidate",
    "kendall_tau",
    "perplexity",
    "rank_correlation",
    "top1",
]
