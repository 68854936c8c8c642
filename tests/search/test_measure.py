import pytest
import torch

from nas_search import ConfigError
from nas_search.measure import choose_device, peak_memory_mib, versions


def test_devices_by_name() -> None:
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ConfigError, match="unknown device 'tpu9'; expected auto, cpu or cuda"):
        choose_device("tpu9")


def test_a_gpu_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="torch finds no GPU; use --device auto or cpu"):
        choose_device("cuda")


def test_peak_memory_is_that_of_a_process_with_torch() -> None:
    peak = peak_memory_mib(torch.device("cpu"))
    assert peak is None or 50 < peak < 1e6


def test_versions_name_what_a_result_depends_on() -> None:
    assert {"python", "torch", "nas-search"} <= set(versions())
    assert versions()["torch"] == torch.__version__.partition("+")[0] or versions()["torch"] == torch.__version__
