# SPDX-License-Identifier: MIT
"""Large shares of work on the CPU, one a thread, in place of threads inside each operation."""

__all__ = ["divided_threads", "in_parallel", "number_of_jobs", "share_of"]

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from itertools import islice
from typing import TypeVar

import torch

_Result = TypeVar("_Result")
# Projected values below which another thread is not worth its start.
_VALUES_PER_JOB = 2**18
# Each job has a gradient and buffers of its own, and Python starts the operations of one at a time.
_MAX_JOBS = 8
# torch's number of threads belongs to the process: one call at a time may change it.
_ONE_AT_A_TIME = threading.Lock()


def number_of_jobs(values: int, device: torch.device) -> int:
    """Choose how many jobs to cut work into.

    Args:
        values: the number of values that the work computes.
        device: where it does.

    Returns:
        At most the number of torch's threads, fewer if there is little to do; 1 on a GPU.
    """
    if device.type != "cpu":
        return 1
    return max(1, min(torch.get_num_threads(), _MAX_JOBS, values // _VALUES_PER_JOB))


def share_of(rows: range, number: int, of: int) -> range:
    """Take one of several consecutive shares, whose sizes differ by one at most.

    Args:
        rows: numbers with a step of 1.
        number: which share, from 0.
        of: how many shares there are.

    Returns:
        The share.

    Example:
        >>> [share_of(range(10, 15), number, 2) for number in range(2)]
        [range(10, 12), range(12, 15)]
    """
    return rows[number * len(rows) // of : (number + 1) * len(rows) // of]


@contextmanager
def divided_threads(jobs: int) -> Iterator[None]:
    """Divide the threads that torch uses inside an operation among jobs, until the end.

    Threads inside operations wait for each other after each one; where other processes take the
    cores, that is a wait for the operating system hundreds of times. And for some milliseconds
    after an operation they wait for the next one without leaving their core, which a job of
    :func:`in_parallel` needs: what comes before the jobs belongs inside, too.

    Args:
        jobs: their number; 1 changes nothing.

    Yields:
        None.
    """
    if jobs == 1:
        yield
        return
    with _ONE_AT_A_TIME:
        threads = torch.get_num_threads()
        torch.set_num_threads(max(1, threads // jobs))  # new threads take it over
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def in_parallel(jobs: Iterable[Callable[[], _Result]], threads: int = 1) -> list[_Result]:
    """Run jobs on some threads, of which this one is the first.

    As many jobs as there are threads are made ready, and run when all of them are. A job that began
    at once would share its core with what torch's own thread does there, see
    :func:`divided_threads`, and lose it whenever it waits for Python's lock: RDMReg took 2 to 5 ms
    of 26 more.

    Args:
        jobs: functions without arguments that do not record gradients. Those of several threads run
            best inside :func:`divided_threads`.
        threads: how many run at the same time.

    Returns:
        Their results, in their order.

    Example:
        >>> in_parallel([lambda: 1, lambda: 2, lambda: 3], 2)
        [1, 2, 3]
    """
    results: list[_Result] = []
    jobs = iter(jobs)
    while some := list(islice(jobs, threads)):
        results += _at_once(some)
        del some  # what jobs hold is memory
    return results


def _at_once(jobs: Sequence[Callable[[], _Result]]) -> list[_Result]:
    if len(jobs) == 1:
        return [jobs[0]()]
    threads = torch.get_num_threads()
    pool = _threads_of(os.getpid())
    others = [pool.submit(_with_threads, threads, job) for job in jobs[1:]]
    try:
        first = jobs[0]()
    finally:  # whatever happens here, nothing goes on working on what was given
        wait(others)
    return [first, *(other.result() for other in others)]


@cache
def _threads_of(_: int) -> ThreadPoolExecutor:
    """Return a process's own threads, which a fork lacks.

    They are kept: starting them at every step took .4 to 1.8 ms of 30.
    """
    return ThreadPoolExecutor(_MAX_JOBS - 1, thread_name_prefix="solo_plugins")


def _with_threads(threads: int, job: Callable[[], _Result]) -> _Result:
    if torch.get_num_threads() != threads:  # this thread's own number
        torch.set_num_threads(threads)
    with torch.no_grad():
        return job()
