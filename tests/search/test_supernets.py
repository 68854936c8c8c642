from typing import Any

import pytest
import torch

from nas_search import ConfigError, ImageData, methods, search
from nas_search.supernets import PartialChannels, WholeChannels
from nas_spaces import darts, mobile, nas_bench_201

SIZES: dict[str, Any] = {"classes": 3, "channels": 8, "cells": 1, "in_channels": 1}


def test_the_whole_supernet_is_that_of_the_space() -> None:
    ours, theirs = WholeChannels()(nas_bench_201(), **SIZES), nas_bench_201().supernet(**SIZES)
    assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]


def test_a_partial_supernet_is_smaller() -> None:
    whole, part = (make(nas_bench_201(), **SIZES) for make in (WholeChannels(), PartialChannels(4)))
    assert sum(p.numel() for p in part.parameters()) < sum(p.numel() for p in whole.parameters())
    assert part(torch.randn(2, 1, 8, 8), torch.rand(6, 5)).shape == (2, 3)


def test_what_has_no_parts_is_refused(data: ImageData, small: dict[str, Any]) -> None:
    with pytest.raises(
        ConfigError, match="the supernet of space 'mobile' has no partial channels; use a space of cells"
    ):
        PartialChannels()(mobile(), **SIZES)
    with pytest.raises(
        ConfigError, match=r"6 channels cannot be divided into 4 parts; give --channels a multiple of 4"
    ):
        search(nas_bench_201(), data, methods.pc_darts(), **small | {"channels": 6})
    with pytest.raises(ConfigError, match="parts is 0; expected 1 or more"):
        PartialChannels(0)
    with pytest.raises(ConfigError, match="this space has no nodes"):
        search(mobile(), data, methods.pc_darts(), **small)


def test_pc_darts_searches_the_darts_space_and_starts_the_architecture_late(
    data: ImageData, small: dict[str, Any]
) -> None:
    method = methods.pc_darts(warm_up=0.5)
    result = search(darts(), data, method, **small | {"channels": 8})
    assert "valid_loss" not in result.history[0]
    assert "valid_loss" in result.history[1]
    assert result.history[0]["entropy"] == pytest.approx(result.history[0]["uniform_entropy"], abs=1e-4)
    assert darts().parse(str(result.architecture)) == result.architecture
