"""Options, markers and defaults of the whole suite."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is first imported: no test reaches for the hub
os.environ["MPLBACKEND"] = "Agg"

import hypothesis
import pytest
import torch

# A deadline measures the machine, not the code; the same examples everywhere make a failure reproducible.
hypothesis.settings.register_profile("optsci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("optsci")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests marked slow, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    skips = {}
    if not config.getoption("--slow"):
        skips["slow"] = pytest.mark.skip(reason="slow: run pytest with --slow")
    if not torch.cuda.is_available():
        skips["gpu"] = pytest.mark.skip(reason="gpu: needs a CUDA device, and torch sees none")
    for item in items:
        for marker in skips.keys() & {marker.name for marker in item.iter_markers()}:
            item.add_marker(skips[marker])
