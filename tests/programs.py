# SPDX-License-Identifier: MIT
"""Programs without the time of their imports: a process that has imported all forks each of them.

The file ``conftest.py`` of the root starts it and ``tests/conftest.py`` asks it. A connection is a
program: a message in JSON with the arguments of ``python``, the folder and the environment, and the
descriptors of its outputs. The answers are the process id and, when the program has ended, its exit
status as `subprocess` gives it. The process ends with its standard input.

A program has its own `__main__`, arguments, folder, environment, outputs, exit status and signals.
Two things differ from a start: imports have happened, with their warnings, and what is read in them
(``OMP_NUM_THREADS``, ``PYTHONPATH``) is the tests' own.
"""

import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
import types
import warnings
from typing import Any

SIZE = 2**18  # of a message: an environment has some ten thousand bytes


def main(listener: socket.socket) -> None:
    """Fork a program for every connection; returns in the program's process when it has ended."""
    children: list[int] = []
    while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        _import()
        child = os.fork()
        if child == 0:
            listener.close()
            _fork_and_wait(connection)
            return
        connection.close()
        children = [pid for pid in children if os.waitpid(pid, os.WNOHANG)[0] == 0] + [child]
    # so that the seconds of all programs are counted as those of the tests
    for child in children:
        os.waitpid(child, 0)


def _import() -> None:
    """Import what programs import; the first time, as not every run of the tests needs one."""
    import sklearn.linear_model
    import sklearn.neighbors  # noqa: F401

    import solo_plugins.evaluation.knn
    import solo_plugins.evaluation.linear
    import solo_plugins.report
    import solo_plugins.training.pretrain
    import solo_plugins.training.sweep  # noqa: F401

    gc.freeze()  # a collection would write to, and so copy, every page


def _fork_and_wait(connection: socket.socket) -> None:
    message, outputs, _, _ = socket.recv_fds(connection, SIZE, 2)
    pid = os.fork()
    if pid == 0:
        connection.close()
        _become(json.loads(message), outputs)
        return
    for output in outputs:
        os.close(output)
    connection.send(str(pid).encode())
    # whoever hangs up wants no more of it
    if connection in select.select([connection, os.pidfd_open(pid)], [], [])[0]:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    connection.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(job: dict[str, Any], outputs: list[int]) -> None:
    for descriptor, source in enumerate([os.open(os.devnull, os.O_RDONLY), *outputs]):
        os.dup2(source, descriptor)
        os.close(source)
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    sys.modules["numpy"].random.seed()  # as at a start; Python does it for its own generator
    # what Lightning reads as it is imported
    rank_zero = sys.modules["lightning.fabric.utilities.rank_zero"]
    rank_zero.rank_zero_only.rank = rank_zero._get_rank() or 0
    _run(job["arguments"])


def _run(arguments: list[str]) -> None:
    """Do what ``python`` does with ``[-W ACTION] FILE ...`` or ``[-W ACTION] -c CODE ...``."""
    if arguments[0] == "-W":
        warnings.simplefilter(arguments[1])  # type: ignore[arg-type]
        arguments = arguments[2:]
    if arguments[0] == "-c":
        sys.argv, sys.path[0] = ["-c", *arguments[2:]], ""
        module = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(arguments[1], "<string>", "exec"), vars(module))
    else:
        sys.argv, sys.path[0] = arguments, os.path.dirname(os.path.abspath(arguments[0]))
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
