"""Ray: the same results as without it, each once, also when processes and machines die; and what it says when it cannot."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from search_spaces.space import Space, choice, repeat
from supernet.errors import UserError
from supernet.pipeline.cluster import RETRIES, Cluster, Pool, leave
from supernet.search.journal import Journal, Record
from supernet.search.loop import Evaluate, one_by_one, run_search
from supernet.search.nsga2 import NSGA2


@dataclass(frozen=True)
class Net:
    blocks: Any


SPACE: Space[Net] = Space(Net(repeat(choice(1, 2, 3, 5, 8), choice(2, 3, 4, 5))))


@pytest.fixture
def shut_down() -> Iterator[None]:
    """Whatever happens, no Ray is left behind."""
    yield
    leave()


def stand_in() -> Callable[[Path], Callable[[Any], Any]]:
    """What makes an evaluation that leaves a trace of every try and dies as files in the folder ask it to."""

    def make(place: Path) -> Callable[[Any], Any]:
        (place / f"made-{os.getpid()}").touch()

        def evaluate(blocks: tuple[int, ...]) -> Any:
            name = "-".join(map(str, blocks))
            time.sleep(0.05)  # so that there is work in hand when a machine dies
            with (place / f"tried-{name}").open("a") as file:
                file.write(f"{os.getpid()}\n")
            if blocks == (0,):
                raise UserError("no such net")
            if blocks == (-1,) or (place / f"kill-{name}").exists():
                (place / f"kill-{name}").unlink(missing_ok=True)
                os.kill(os.getpid(), signal.SIGKILL)
            return {"AP": float(np.tanh(sum(np.sqrt(blocks)) / 8))}, 0.5

        return evaluate

    return make


class Sums:
    """One cost, the sum of the blocks."""

    names = ("macs",)

    def __call__(self, codes: Any) -> Any:
        return np.array([[float(sum(SPACE.decode(code).blocks))] for code in codes])


def search(evaluate: Evaluate[Net], folder: Path) -> list[Record]:
    """Three generations of NSGA-II; the records of its journal."""
    journal = Journal(folder / "journal.jsonl", space="s", seed=0, settings={}, to_json=lambda net: list(net.blocks))
    searcher = NSGA2(SPACE, Sums(), np.random.default_rng(0), population=10)
    asked = run_search(searcher, evaluate, journal, 30)
    assert len(asked) == len(journal.records) == 30
    return asked


def comparable(records: Sequence[Record]) -> list[Any]:
    """What has to be equal whoever evaluated."""
    return [(record.key, record.algorithm, record.macs, record.metrics) for record in records]


def by(pool: Pool[Path, Any, Any]) -> Evaluate[Net]:
    """Evaluation by a pool."""

    def evaluate(nets: Sequence[Net]) -> Iterator[tuple[int, Any, float]]:
        for position, (metrics, seconds) in pool.map([net.blocks for net in nets]):
            yield position, metrics, seconds

    return evaluate


def tries(folder: Path) -> dict[str, int]:
    """How often each item was begun."""
    return {path.name.removeprefix("tried-"): len(path.read_text().splitlines()) for path in folder.glob("tried-*")}


def test_a_search_by_processes_that_die_is_the_search_by_one(tmp_path: Path, shut_down: None) -> None:
    """Same front and records, nothing written twice, weights opened once a process; a user's error comes back as it was."""
    alone, together = tmp_path / "alone", tmp_path / "together"
    alone.mkdir()
    together.mkdir()
    evaluate = stand_in()(alone)
    expected = search(one_by_one(lambda net: evaluate(net.blocks)[0]), alone)
    killed = [name for index, name in enumerate(tries(alone)) if index == 14]
    for name in killed:
        (together / f"kill-{name}").touch()

    cluster = Cluster(workers=2)
    pool: Pool[Path, Any, Any] = Pool(cluster, stand_in(), together)
    assert comparable(search(by(pool), together)) == comparable(expected)
    assert tries(together) == {name: 2 if name in killed else 1 for name in tries(alone)}
    assert 2 <= len(list(together.glob("made-*"))) <= 2 + len(killed)  # processes, not items

    with pytest.raises(UserError, match=r"^no such net \(on .+\)$"):
        list(pool.map([(0,)]))
    with pytest.raises(
        UserError, match=r"RAY.CPUS 999 and RAY.GPUS 0 fit on no machine of the cluster, the largest has 2"
    ):
        Pool(Cluster(cpus=999), stand_in(), together)


def test_an_address_that_does_not_answer() -> None:
    """One line, within the time: nobody is there, somebody else is there, no port."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(UserError, match=f"RAY.ADDRESS '{address}' does not answer .*refused.*give host:port"):
            Cluster(address, start_seconds=1).connect()
        other.listen()
        with pytest.raises(UserError, match="something else than a Ray head"):
            Cluster(address, start_seconds=1).connect()
    with pytest.raises(UserError, match="RAY.ADDRESS 'head' does not answer"):
        Cluster("head").connect()


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"Ray is not installed.*pip install pose-supernet\[ray\]"):
        Cluster().connect()


def test_versions_without_tokens_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reaches such a cluster runs code on it."""
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(__version__="2.51.1"))
    with pytest.raises(UserError, match=r"Ray 2.51.1 lets everyone in who reaches it: pip install .*'ray>=2.52'"):
        Cluster().check()


def listening() -> Iterator[str]:
    """Addresses, in hexadecimal, on which processes of Ray listen on this machine."""
    sockets = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            if b"ray" in (process / "cmdline").read_bytes():
                sockets |= {os.readlink(link)[8:-1] for link in (process / "fd").iterdir()}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and inode in sockets:
                yield local.partition(":")[0]


@pytest.mark.cluster
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="no /proc")
def test_a_local_cluster_listens_on_this_machine_only(
    tmp_path: Path, shut_down: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where RAY_ADDRESS names one of yesterday's."""
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    pool: Pool[Path, Any, Any] = Pool(Cluster(workers=1), stand_in(), tmp_path)
    assert len(list(pool.map([(1,), (2,)]))) == 2
    found = set(listening())
    assert found and all(address.endswith("7F") or address.endswith("01000000") for address in found), found


@pytest.mark.cluster
def test_what_kills_every_process_is_given_up(tmp_path: Path, shut_down: None) -> None:
    """An architecture too large for its machine ends the search, and does not go round for ever."""
    pool: Pool[Path, Any, Any] = Pool(Cluster(workers=2), stand_in(), tmp_path)
    with pytest.raises(UserError, match=f"died {1 + RETRIES} times .*Set RAY.WORKERS lower"):
        list(pool.map([(-1,)]))
    assert tries(tmp_path) == {"-1": 1 + RETRIES}


@pytest.mark.cluster
def test_a_search_on_three_machines_of_which_one_dies(tmp_path: Path, shut_down: None) -> None:
    """A head without work and two workers, the first of which is killed while it works: same front and records."""
    from ray.cluster_utils import Cluster as Machines

    alone, together = tmp_path / "alone", tmp_path / "together"
    alone.mkdir()
    together.mkdir()
    evaluate = stand_in()(alone)
    expected = search(one_by_one(lambda net: evaluate(net.blocks)[0]), alone)
    machines = Machines(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        first = machines.add_node(num_cpus=1)
        machines.add_node(num_cpus=1)
        pool: Pool[Path, Any, Any] = Pool(Cluster(machines.address), stand_in(), together)

        def evaluate_and_kill(nets: Sequence[Net]) -> Iterator[tuple[int, Any, float]]:
            for number, found in enumerate(by(pool)(nets)):
                yield found
                if number == 3 and first in machines.worker_nodes:
                    machines.remove_node(first, allow_graceful=False)

        assert comparable(search(evaluate_and_kill, together)) == comparable(expected)
        assert tries(together).keys() == tries(alone).keys()
    finally:
        leave()
        machines.shutdown()
