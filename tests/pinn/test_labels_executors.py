"""Labels have the same bits from threads, processes and a Dask cluster."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest
import torch

from optsci.pinn import Ball, EulerMaruyama, MeanExitTime, Problem, labels
from walk_problems import EVERYTHING

POINTS = [[0.0, 0.1], [0.5, 0.5]]


def run(executor=None, problem=EVERYTHING):
    return labels(problem, POINTS, paths=5000, method=EulerMaruyama(0.01), seed=7, executor=executor)


def same_bits(first, second):
    return torch.equal(first.mean, second.mean) and torch.equal(first.stderr, second.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 3])
def test_processes(processes):
    with ThreadPoolExecutor(2) as threads, ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        assert same_bits(run(pool), run(threads))


@pytest.mark.slow
def test_a_function_without_a_module_cannot_go_to_a_process():
    problem = Problem(Ball(dim=2), source=lambda x: x[0])
    with (
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
        pytest.raises(Exception, match=r"pickle|lambda"),  # PicklingError or AttributeError, by version of Python
    ):
        run(pool, problem)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the cluster's own
def test_a_dask_cluster():
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
        client.get_executor() as pool,
    ):
        assert same_bits(run(pool), run())


def test_one_path_at_a_time():
    """An executor that runs a unit when its result is asked for."""

    class Lazy:
        def map(self, function, *lists):
            return map(function, *lists)

    disk = MeanExitTime(Ball(dim=2))
    assert same_bits(run(Lazy(), disk), run(None, disk))
