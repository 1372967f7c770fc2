"""The end of a step, where a process has no rows of a matrix."""

import math

import pytest
import torch

from optsci.optim import descent
from optsci.optim.descent import descend
from optsci.optim.settings import Settings, Where


@pytest.mark.parametrize("fits", [True, False])
@pytest.mark.parametrize("clip", [1.0, math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_rows_are_no_error(monkeypatch, fits, clip, dtype):
    if not fits:
        monkeypatch.setattr(descent, "fits_kernels", lambda *tensors: False)
    settings = Settings(1e-2, 0.9, 0.999, 1e-8, 0.1, clip, True, True, None, 5, 5, 100, False, False)
    empty = torch.empty(0, 4)
    where = Where(torch.tensor([0]), 3, numel=20, first_row=5)
    descend([empty.to(dtype)], [empty], empty[None], torch.ones(1).double(), settings, where)
