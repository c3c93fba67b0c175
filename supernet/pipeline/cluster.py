"""One function on many items by many processes and machines: Ray, on a cluster that runs already or on one of its own.

An item is a Ray task, not a Tune trial: Tune ends the process of a trial that no other waits for, so that at the end of
every generation all but one would lose the weights and the data they have open. Ray keeps the processes of its tasks, and
does a task of a process or machine that died again elsewhere.
"""

from __future__ import annotations

import importlib
import logging
import os
import platform
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..errors import UserError

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")
RETRIES = 3  # of an item whose process died
OLDEST = (2, 52)  # the first version whose clusters let in only who has their token
#: What Ray calls its switch for clusters of several machines. Without it, a cluster listens on 127.0.0.1 alone; to give that
#: address instead does not help, Ray takes the one by which others reach this machine for it.
_SEVERAL_MACHINES = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


@dataclass(frozen=True)
class Cluster:
    """Which cluster, and how much of it.

    Attributes:
        address: host:port of a running cluster's head, ``auto`` for the one that this machine belongs to, or '' to start
            a local one, which ends with the program.
        workers: items that are worked on at a time; 0 leaves that to the cluster's resources.
        cpus: that one item takes.
        gpus: that one item takes, in parts if need be.
        start_seconds: that a machine's processes may take to start, and a head to answer.
    """

    address: str = ""
    workers: int = 0
    cpus: int = 1
    gpus: float = 0.0
    start_seconds: int = 120

    def check(self) -> Any:
        """Before hours of other work: the module ``ray``, if it is installed and the address answers.

        Raises:
            UserError: when it is not, or nobody or something else answers.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        for name in ("RAY_raylet_start_wait_time_s", "RAY_worker_register_timeout_seconds"):
            os.environ.setdefault(name, str(self.start_seconds))
        if not self.address and "ray" not in sys.modules:  # Ray reads them as it is imported
            os.environ.setdefault(_SEVERAL_MACHINES, "0")
            os.environ.setdefault("RAY_AUTH_MODE", "token")
        try:
            ray: Any = importlib.import_module("ray")  # without its types, which are there only where it is installed
        except ImportError:
            raise UserError(
                "Ray is not installed, which SEARCH.BACKEND ray needs: pip install pose-supernet[ray]"
            ) from None
        if tuple(map(int, re.findall(r"\d+", ray.__version__)[:2])) < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            raise UserError(
                f"Ray {ray.__version__} lets everyone in who reaches it: pip install 'pose-supernet[ray]' 'ray>={oldest}'"
            )
        if self.address and self.address != "auto" and not ray.is_initialized():
            _check_answer(self.address, self.start_seconds)
        return ray

    def connect(self) -> Any:
        """Join the cluster, unless this process has already; the module ``ray``.

        Raises:
            UserError: as :meth:`check`, or when no machine is large enough.
        """
        ray = self.check()
        if not ray.is_initialized():
            logging.getLogger("ray").setLevel(logging.ERROR)
            options: dict[str, Any] = {"configure_logging": False, "log_to_driver": False}
            if self.address:
                options["address"] = self.address
            else:  # local, or Ray would join whatever RAY_ADDRESS or the files of an earlier session name
                options |= {
                    "address": "local",
                    "include_dashboard": False,
                    "num_cpus": self.workers * self.cpus or None,
                }
            try:
                ray.init(**options)
            except Exception as error:  # Ray raises whatever it likes, Exception itself among it
                reason = str(error).partition("\n")[0]
                raise UserError(f"RAY.ADDRESS {self.address!r} cannot be used: {reason}") from error
        self._check_size(ray)
        return ray

    def _check_size(self, ray: Any) -> None:
        """An item that fits on no machine would wait for ever."""
        sizes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(size.get("CPU", 0) >= self.cpus and size.get("GPU", 0) >= self.gpus for size in sizes):
            largest = {kind: max((size.get(kind, 0) for size in sizes), default=0) for kind in ("CPU", "GPU")}
            raise UserError(
                f"RAY.CPUS {self.cpus} and RAY.GPUS {self.gpus:g} fit on no machine of the cluster, the largest has "
                f"{largest['CPU']:g} CPUs and {largest['GPU']:g} GPUs; set them lower"
            )


def _check_answer(address: str, seconds: float) -> None:
    """Is a head there? ``ray.init`` itself would ask for minutes, and write about each try."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    ask = [sys.executable, "-P", "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        socket.create_connection((host.strip("[]"), int(port)), seconds).close()
        if not address.startswith("ray://"):  # which goes to another port of the head, with a time limit of its own
            subprocess.run(ask, check=True, capture_output=True, timeout=seconds)
    except (OSError, ValueError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    except subprocess.SubprocessError:
        reason = "something else than a Ray head of this version is there"
    else:
        return
    raise UserError(
        f"RAY.ADDRESS {address!r} does not answer ({reason}); give host:port of `ray start --head`, or '' to start one here"
    )


def leave() -> None:
    """Leave the cluster, and end it if it was started here. Ray does so by itself when the program ends."""
    if "ray" in sys.modules:
        sys.modules["ray"].shutdown()


class Pool(Generic[S, T, R]):
    """Processes that each make a function once and call it on item after item.

    Args:
        cluster: where they run.
        make: from ``shared`` to the function; importable by name in the processes, as is the type of ``shared``.
        shared: what the function needs, put into the object store once, from where each machine takes it once.
    """

    def __init__(self, cluster: Cluster, make: Callable[[S], Callable[[T], R]], shared: S) -> None:
        self._ray = cluster.connect()
        self._workers = cluster.workers
        self._shared = [self._ray.put((make, shared))]  # in a list: Ray would unpack the bare one for every item
        remote = self._ray.remote(num_cpus=cluster.cpus, num_gpus=cluster.gpus, max_retries=RETRIES)
        self._task = remote(_work)

    def map(self, items: Sequence[T]) -> Iterator[tuple[int, R]]:
        """Position and result of every item, each once, as they come; what runs still is given up when the caller stops.

        Raises:
            UserError: what an item raised, or that its processes died time and again.
        """
        waiting = iter(enumerate(items))
        running: dict[Any, int] = {}
        try:
            while True:
                while not self._workers or len(running) < self._workers:
                    position, item = next(waiting, (-1, None))
                    if position < 0:
                        break
                    running[self._task.remote(self._shared, item)] = position
                if not running:
                    return
                done, _ = self._ray.wait(list(running))
                yield running.pop(done[0]), self._result(done[0])
        finally:
            for reference in running:
                self._ray.cancel(reference, force=True)

    def _result(self, reference: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except errors.RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise UserError(str(error.cause)) from None
            raise
        except (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError) as error:
            raise UserError(
                f"the process of one item died {1 + RETRIES} times ({type(error).__name__}); "
                "does it need more memory than its machine has? Set RAY.WORKERS lower"
            ) from None


_made: dict[str, Callable[[Any], Any]] = {}  # in a worker process: the functions of the pools it has worked for


def _work(shared: list[Any], item: Any) -> Any:
    """One item, in a worker process."""
    ray: Any = importlib.import_module("ray")
    key = shared[0].hex()
    try:
        if key not in _made:
            make, value = ray.get(shared[0])
            _made[key] = make(value)
        return _made[key](item)
    except UserError as error:
        raise UserError(f"{error} (on {platform.node()})") from None
