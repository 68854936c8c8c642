import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from nas_augment.fixed import crop_and_flip
from nas_search import Candidate, RunFolderError, SearchResult
from nas_spaces import nas_bench_201


def result() -> SearchResult:
    return SearchResult(
        architecture=nas_bench_201().parse("|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"),
        policy=crop_and_flip().decide(),
        hyperparameters={"learning_rate": 0.03},
        history=({"epoch": 1, "images_per_second": 5.0}, {"epoch": 2, "images_per_second": 7.0}),
        method="gdas",
        seed=3,
        metrics={"test_accuracy": 0.97},
        candidates=tuple(Candidate(each, 0.5, {"learning_rate": 0.1}) for each in islice(nas_bench_201(), 2)),
        ranked_by="score",
        seconds=1.5,
        peak_memory_mib=100.0,
        versions={"torch": "2.15"},
    )


def test_a_saved_result_is_read_back(tmp_path: Path) -> None:
    result().save(tmp_path / "run")
    assert SearchResult.load(tmp_path / "run") == result()


def test_result_json_has_what_the_design_names(tmp_path: Path) -> None:
    result().save(tmp_path)
    record = json.loads((tmp_path / "result.json").read_text())
    named = "method space architecture policy hyperparameters metrics seed seconds peak_memory_mib versions images_per_second"
    assert set(named.split()) <= set(record)
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": "|nonsense~0|"},
        {"space": "somewhere"},
        {"policy": {"format": "other"}},
        {"method": None, "metrics": None, "versions": 5},
        {"metrics": ["x"]},
        {"candidates": [{"architecture": "|nonsense~0|", "score": 1.0}]},
        {"candidates": {"architecture": 3}},
    ],
)
def test_a_result_that_was_changed_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    result().save(tmp_path)
    record = json.loads((tmp_path / "result.json").read_text()) | change
    if record["method"] is None:
        del record["method"]
    (tmp_path / "result.json").write_text(json.dumps(record))
    with pytest.raises(RunFolderError, match="is not a whole result"):
        SearchResult.load(tmp_path)
