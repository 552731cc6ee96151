# SPDX-License-Identifier: MIT
"""The walk over directions on several threads, against one, and what is left of it afterwards."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch

from solo_plugins import sliced_wasserstein
from solo_plugins.losses import DIRECTIONS
from solo_plugins.losses.workers import divided_threads, in_parallel, number_of_jobs, share_of

_CPU = torch.device("cpu")


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("kind", ["random", "hadamard", "torch_svd_and_random"])
@pytest.mark.parametrize("shared", [True, False])
def test_value_and_gradient_do_not_depend_on_threads(kind: str, shared: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    views = torch.rand(2, 256, 12, generator=generator, dtype=torch.float64)
    target = torch.rand(2, 256, 12, generator=generator, dtype=torch.float64)
    if shared:
        target = target[0]
    directions = DIRECTIONS[kind](1550)([*views], generator=generator)
    found = []
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        assert number_of_jobs(2 * 256 * 1550, _CPU) == number
        z = views.clone().requires_grad_()
        loss = sliced_wasserstein(z, target, directions)
        loss.backward()
        assert torch.get_num_threads() == number
        found.append((loss.detach(), z.grad))
    # Sums of some thousand float64 numbers in another order.
    for others in found[1:]:
        torch.testing.assert_close(others, found[0], rtol=1e-12, atol=1e-15)


def test_jobs_are_made_ready_for_all_threads_and_no_earlier() -> None:
    done: list[int] = []

    def jobs() -> Iterator[Callable[[], None]]:
        for number in range(5):
            ready.append(len(done))
            yield partial(done.append, number)

    ready: list[int] = []
    in_parallel(jobs(), 2)
    # two at a time, each pair when the one before it is done
    assert ready == [0, 0, 2, 2, 4]
    assert sorted(done) == list(range(5))


@pytest.mark.usefixtures("threads")
def test_an_error_in_a_job_is_raised_and_threads_are_put_back() -> None:
    torch.set_num_threads(4)

    def fails() -> int:
        raise ArithmeticError

    for jobs in ([fails, lambda: 1], [lambda: 1, fails]):
        with pytest.raises(ArithmeticError), divided_threads(2):
            in_parallel([torch.get_num_threads, *jobs], 3)
        assert torch.get_num_threads() == 4


@pytest.mark.usefixtures("threads")
def test_jobs_have_their_part_of_the_threads() -> None:
    torch.set_num_threads(5)
    with divided_threads(2):
        assert in_parallel([torch.get_num_threads] * 2, 2) == [2, 2]
    with divided_threads(1):
        assert in_parallel([torch.get_num_threads]) == [5]


@pytest.mark.usefixtures("threads")
def test_threads_are_kept_and_take_the_number_of_each_call() -> None:
    def name_and_threads() -> tuple[str, int]:
        return threading.current_thread().name, torch.get_num_threads()

    found = []
    for number in (6, 4, 6):
        torch.set_num_threads(number)
        with divided_threads(2):
            found.append(in_parallel([name_and_threads] * 2, 2)[1])
    assert [number for _, number in found] == [3, 2, 3]
    assert all(name.startswith("solo_plugins") for name, _ in found)
    names = {thread.name for thread in threading.enumerate()}
    assert {name for name, _ in found} <= names


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_has_threads_of_its_own() -> None:
    with divided_threads(2):
        assert in_parallel([lambda: 1, lambda: 2], 2) == [1, 2]
        child = os.fork()
        if child == 0:
            os._exit(0 if in_parallel([lambda: 3, lambda: 4], 2) == [3, 4] else 1)
    # Threads of the parent's that the child waited for would never answer.
    waited = threading.Thread(target=lambda: statuses.append(os.waitpid(child, 0)[1]), daemon=True)
    statuses: list[int] = []
    waited.start()
    waited.join(60)
    if waited.is_alive():
        os.kill(child, signal.SIGKILL)
    waited.join()
    assert statuses == [0]


@pytest.mark.usefixtures("threads")
def test_what_others_do_is_waited_for_when_the_first_job_fails() -> None:
    done = threading.Event()

    def slow() -> None:
        threading.Event().wait(0.2)
        done.set()

    def fails() -> None:
        raise ArithmeticError

    torch.set_num_threads(2)
    with divided_threads(2), pytest.raises(ArithmeticError):
        in_parallel([fails, slow], 2)
    assert done.is_set()


@pytest.mark.parametrize("jobs", [1, 2, 3, 7, 12])
def test_shares_are_all_of_the_directions_once(jobs: int) -> None:
    shares = [share_of(range(5, 15), number, jobs) for number in range(jobs)]
    assert [row for share in shares for row in share] == list(range(5, 15))
    assert {len(share) for share in shares} <= {10 // jobs, -(-10 // jobs)}


def test_little_work_and_a_gpu_are_one_job() -> None:
    assert number_of_jobs(1000, _CPU) == 1
    assert number_of_jobs(2**30, torch.device("cuda")) == 1
