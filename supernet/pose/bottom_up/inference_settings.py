"""How bottom-up inference is done: sizes, scales, flip, which outputs are used, and grouping."""

from __future__ import annotations

from dataclasses import dataclass

from supernet.errors import UserError
from supernet.pose.bottom_up.grouping import GroupingSettings


@dataclass(frozen=True)
class InferenceSettings:
    """How an image becomes maps; the defaults are those of the published single-scale runs without flip.

    ``input_size`` is the short side in pixels, rounded up to a multiple of 64. ``scales`` are relative to it and, where
    there are several, contain 1, at which tags are read. ``flip_index[k]`` is the joint that joint k becomes in a
    mirrored image; it is longer than ``grouping.num_joints`` where the network also finds a centre, which is dropped.
    ``with_heatmaps`` and ``with_tags`` tell for each output of the network whether its confidence and tags are used.
    ``project_to_image`` groups at the size of the network's input rather than of its last output.
    """

    input_size: int
    grouping: GroupingSettings
    flip_index: tuple[int, ...]
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    project_to_image: bool = True
    with_heatmaps: tuple[bool, ...] = (True, True)
    with_tags: tuple[bool, ...] = (True, False)

    def __post_init__(self) -> None:
        """Refuse settings that leave no confidence, no tags or no joints."""
        if len(self.scales) != 1 and 1 not in self.scales:
            raise UserError(f"scales {self.scales} lack 1, at which tags are read: add 1, or give a single scale")
        if not self.scales or min(self.scales) <= 0 or self.input_size < 1:
            raise UserError(f"input_size {self.input_size} and scales {self.scales} must be positive")
        if not any(self.with_heatmaps) or not any(self.with_tags) or len(self.with_heatmaps) != len(self.with_tags):
            raise UserError(
                f"with_heatmaps {self.with_heatmaps} and with_tags {self.with_tags}: "
                "give one flag for each output of the network, and at least one true in both"
            )
        if len(self.flip_index) < self.grouping.num_joints:
            raise UserError(
                f"flip_index names {len(self.flip_index)} joints, grouping has {self.grouping.num_joints}: "
                "take both from one skeleton"
            )
