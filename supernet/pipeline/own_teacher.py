"""A supernet's own largest network as the teacher of the others: as it was when the first stage that opens something began.

Once-for-all trains the largest network first and lets it teach what its stages open (Cai et al., ICLR 2020). The weights are kept
in the folder of the training, and always read from there, so that a training that was stopped goes on with the same teacher.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..errors import UserError
from ..io import checkpoint
from .process_group import ProcessGroup
from .run import Run
from .training import place

_PREFIX = "network."  # of the largest network's tensors among those of a supernet


class OwnTeacher(nn.Module):
    """The largest network with kept weights, which are read when it is first asked.

    Args:
        run: whose space and device it takes.
        path: the file of the weights.
        processes: the first reads and writes it for all.
    """

    def __init__(self, run: Run, path: Path, processes: ProcessGroup) -> None:
        super().__init__()
        self._run, self._path, self._processes = run, path, processes
        self._network: nn.Module | None = None

    def keep(self, weights: Mapping[str, Tensor]) -> None:
        """Write the largest network's part of a supernet's weights."""
        if self._processes.rank == 0:
            mine = {name.removeprefix(_PREFIX): tensor for name, tensor in weights.items() if name.startswith(_PREFIX)}
            checkpoint.save(self._path, {"state_dict": checkpoint.packed(mine)})
        self._network = None

    def forward(self, images: Tensor) -> Any:
        """The outputs for images, in evaluation mode.

        Raises:
            UserError: the file is gone.
        """
        if self._network is None:
            self._network = self._read()
        return self._network(images)

    def _read(self) -> nn.Module:
        content: Any = None
        if self._processes.rank == 0:
            if not self._path.is_file():
                raise UserError(
                    f"{self._path}: no such file, from which SUPERNET.DISTILLATION largest learns; remove the checkpoints beside "
                    "it to begin anew"
                )
            content = checkpoint.read(self._path)
        network = self._run.build(self._run.space.largest)
        network.load_state_dict(self._processes.share(content)["state_dict"])
        return place(network, self._run).eval().requires_grad_(False)
