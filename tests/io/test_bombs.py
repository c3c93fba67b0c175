"""Checkpoints that would take far more memory than they have bytes: refused in one line, within little memory."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from supernet.errors import UserError
from supernet.io import checkpoint
from supernet.io.checkpoint import load_checkpoint

ROOM = 300  # MiB that reading may take
PROGRAM = f"""
import resource, sys
from pathlib import Path
from supernet.errors import UserError
from supernet.io import checkpoint
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + {ROOM} * 2**20
resource.setrlimit(resource.RLIMIT_AS, (size, size))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
for name in sys.argv[1:]:
    for strict in (False, True):
        try:
            checkpoint.read(Path(name), strict=strict)
            print("read")
        except UserError as error:
            print(str(error).count(chr(10)), error)
"""


class Made:
    """Pickled as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def compressed(path: Path) -> None:
    """A checkpoint whose storage of 800 MB is packed into one MB."""
    buffer = io.BytesIO()
    torch.save({"state_dict": {"a": torch.zeros(1)}}, buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target:
        for info in source.infolist():
            if not info.filename.endswith("data/0"):
                target.writestr(info.filename, source.read(info))
                continue
            with target.open(info.filename, "w") as entry:
                for _ in range(100):
                    entry.write(bytes(8 * 2**20))


def unfolding() -> Any:
    value: Any = [1]
    for _ in range(60):
        value = [value] * 9
    return value


def pickled(content: Any) -> Callable[[Path], None]:
    """A checkpoint of the zip format whose pickle is this."""

    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x/data.pkl", pickle.dumps(content, 2))
            archive.writestr("x/version", "3\n")

    return write


def sparse(shape: tuple[int, ...]) -> torch.Tensor:
    place = torch.zeros(len(shape), 1, dtype=torch.int64)
    return torch.sparse_coo_tensor(place, torch.ones(1), shape, check_invariants=True)


def saved(content: Any) -> Callable[[Path], None]:
    return lambda path: torch.save(content, path)


BOMBS: dict[str, Callable[[Path], None]] = {
    "compressed": compressed,
    "expanded": saved({"state_dict": {"a": torch.zeros(1).expand(10**9)}}),
    "sparse": saved({"state_dict": {"a": sparse((10**10,))}}),
    "meta": saved({"a": torch.empty(10**10, device="meta")}),
    "unfolding": pickled({"state_dict": unfolding()}),
    "bytes": pickled({"a": Made(bytearray, 10**10)}),
    "tensor": pickled({"a": Made(torch.FloatTensor, 10**9)}),
    "text": lambda path: (
        path.write_bytes(b"\x80\x04" + pickle.BINUNICODE8 + (2**40).to_bytes(8, "little") + b"x") and None
    ),
    "legacy": lambda path: torch.save({"a": torch.zeros(9)}, path, _use_new_zipfile_serialization=False),
}


@pytest.mark.filterwarnings("ignore")
def test_bombs_are_refused_within_little_memory(tmp_path: Path) -> None:
    for name, write in BOMBS.items():
        write(tmp_path / name)
    data = (tmp_path / "legacy").read_bytes()
    (tmp_path / "legacy").write_bytes(data.replace(b"K\tN", b"J\xff\xff\xff\x7fN"))  # 2^31 - 1 numbers in place of nine
    assert (tmp_path / "legacy").stat().st_size > len(data)
    names = [str(tmp_path / name) for name in BOMBS]
    done = subprocess.run([sys.executable, "-c", PROGRAM, *names], capture_output=True, text=True, timeout=300)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) == 2 * len(names), done.stderr
    for name, line in zip([name for name in BOMBS for _ in range(2)], lines, strict=True):
        assert line.startswith("0 ") and f"{name}: " in line, line
    assert "it unpacks to 800 MiB, the file has 3" in lines[0], lines[0]


@pytest.mark.filterwarnings("ignore")
def test_tensors_of_other_kinds_are_left_out_and_named_by_the_network_that_needs_them(tmp_path: Path) -> None:
    network = torch.nn.Linear(2, 2)
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(1)])
    for other in (sparse((2, 2)), torch.quantize_per_tensor(torch.eye(2), 0.1, 0, torch.qint8), nested):
        torch.save({"weight": other, "bias": torch.ones(2)}, tmp_path / "x.pt")
        with pytest.raises(UserError, match="x.pt: is of another architecture: weight is missing"):
            load_checkpoint(network, tmp_path / "x.pt")


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "x.pt", {"a": torch.ones(1000)})
    data = bytearray((tmp_path / "x.pt").read_bytes())
    data[data.index(torch.ones(4).numpy().tobytes()) + 2000] ^= 1
    (tmp_path / "x.pt").write_bytes(data)
    with pytest.raises(UserError, match=r"x.pt: is not a checkpoint, or is damaged; remove it to make it anew"):
        checkpoint.read(tmp_path / "x.pt")


def test_an_empty_file_says_that_removing_it_helps(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").touch()
    with pytest.raises(UserError, match=r"weights.pt: is not a checkpoint, or is damaged; remove it to make it anew"):
        checkpoint.read(tmp_path / "weights.pt", strict=True)


def test_plain_values_come_back_as_they_were(tmp_path: Path) -> None:
    content = {
        "a": (1, 2.5, None, True, "x"), 3: [[], {}, (torch.ones(2), None)], "n": None, "big": 2**80,
        "types": torch.ones(3, dtype=torch.float8_e4m3fn), "u": torch.ones(2, dtype=torch.uint16),
    }  # fmt: skip
    checkpoint.save(tmp_path / "x.pt", content)
    found = checkpoint.read(tmp_path / "x.pt", strict=True)
    assert str(found) == str(content)
