from typing import Any

import pytest

from nas_search.reports.remarks import remarks


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        ({"entropy": 1.60, "uniform_entropy": 1.61}, ["undecided"]),
        ({"entropy": 1.20, "uniform_entropy": 1.61}, []),
        ({"skip_share": 0.8}, ["collapsed: 80 %"]),
        ({"skip_share": 0.5}, []),
        ({"test_accuracy": 0.90, "random_test_accuracy": 0.91}, ["A random architecture"]),
        ({"test_accuracy": 0.91, "random_test_accuracy": 0.91}, []),
        ({"test_accuracy": 0.91}, []),
        ({"test_accuracy": 0.90, "train_epochs": 9, "random_test_accuracy": 0.91, "random_train_epochs": 1}, []),
        ({"test_accuracy": 0.90, "random_test_accuracy": 0.91, "trained_in_search": True}, []),
        ({"table_test": 91.0, "table_random": 91.5}, ["at random would have been better"]),
        ({"table_test": 91.5, "table_random": 91.5}, []),
        ({"empty_classes": [0]}, ["has the label 0: such outputs"]),
        ({"empty_classes": list(range(7))}, ["the label 0, 1, 2, 3, 4 and 2 more"]),
        ({}, []),
    ],
)
def test_only_what_is_wrong_is_remarked(metrics: dict[str, Any], words: list[str]) -> None:
    found = remarks(metrics)
    assert len(found) == len(words)
    assert all(word in remark for word, remark in zip(words, found, strict=True))
