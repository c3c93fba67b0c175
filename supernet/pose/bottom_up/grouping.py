"""From heatmaps and tags to people: associative-embedding grouping.

Source: A. Newell, Z. Huang, J. Deng, "Associative Embedding", NeurIPS 2017; the details (quarter-pixel adjustment,
refinement, joint order) are those by which HigherHRNet and LitePose are published, so that their numbers compare.

Ties: maps enlarged to the size of the network's input have pixels of exactly equal confidence, side by side in one peak and
in saturated plateaus. The published program leaves their order to the library. Here equal confidence comes in row-major order
of the pixels (upper first, then left first), both among the peaks of a joint and where refinement looks for the best
pixel, so that the same maps give the same people everywhere.

Shapes: K joints, H W rows and columns of the maps, L tags per pixel, M the largest number of people, P people found.
Coordinates: x before y in map pixels; with ``adjust`` a pixel's centre lies at its index + 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from supernet.errors import UserError
from supernet.pose.bottom_up.assignment import assign_below, munkres

Maps = npt.NDArray[np.float32]
Rows = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

# COCO's head and shoulders, hips, arms, legs. Published networks of other skeletons use the same list, cut short.
_JOINT_ORDER = (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16)
# Fast assignment: cost of being one group younger, in tag thresholds. A young group of the same tag is mostly a second
# peak of one person. On planted people 0.02 to 0.1 kept more joints together than 0; this is the middle.
_YOUTH = 0.05
_NO_GROUP = 1e10  # cost of the columns that stand for "none of the groups"


@dataclass(frozen=True)
class GroupingSettings:
    """How peaks become people; the defaults are those of the published CrowdPose and COCO runs.

    ``max_people`` bounds the peaks per joint and the groups that later joints may join; peaks must exceed
    ``detection_threshold`` and join a group only below ``tag_threshold``. ``use_detection_value`` lets the confidence break
    ties between equally near tags; ``ignore_too_much`` drops joints once ``max_people`` groups exist.
    ``tag_per_joint`` false means that one tag plane serves all joints. ``adjust`` moves joints a quarter pixel towards
    the higher neighbour; ``refine`` looks up the joints a person lacks. ``assignment`` "parity" reproduces
    published numbers; "fast" goes by the distance alone (no rounding, no confidence), slightly prefers older groups, and
    lets no pair beyond the tag threshold count.
    """

    num_joints: int
    max_people: int = 30
    detection_threshold: float = 0.1
    tag_threshold: float = 1.0
    use_detection_value: bool = True
    ignore_too_much: bool = False
    nms_kernel: int = 5
    tag_per_joint: bool = True
    adjust: bool = True
    refine: bool = True
    assignment: Literal["parity", "fast"] = "parity"

    def __post_init__(self) -> None:
        """Refuse what would silently decode something else."""
        if self.nms_kernel < 1 or self.nms_kernel % 2 == 0:
            raise UserError(f"nms_kernel is {self.nms_kernel}: give an odd number such as 3 or 5")
        if self.num_joints < 1 or self.max_people < 1:
            raise UserError(f"num_joints {self.num_joints} and max_people {self.max_people} must both be at least 1")
        if self.detection_threshold < 0:
            raise UserError(f"detection_threshold is {self.detection_threshold}: give 0 or more")
        if self.assignment not in ("parity", "fast"):
            raise UserError(f"assignment is {self.assignment!r}: give 'parity' or 'fast'")


def group(heatmaps_KHW: Maps, tags_KHWL: Maps, settings: GroupingSettings) -> tuple[Maps, Maps]:
    """Group the peaks of one image into people.

    Args:
        heatmaps_KHW: confidence of each joint.
        tags_KHWL: tags of each joint, or a single plane (1, H, W, L) where ``tag_per_joint`` is false.
        settings: thresholds and options.

    Returns:
        poses, shape (P, K, 3 + L): x, y, confidence and the tags read at the joint, in order of each person's foundation.
        A joint that is not found is all zeros; a joint found by refinement has zero tags. P may exceed M.
        scores, shape (P,): the mean confidence over all K joints before refinement.

    Raises:
        ValueError: the maps do not have the shapes that the settings tell.
    """
    _check_shapes(heatmaps_KHW, tags_KHWL, settings)
    confidence = np.ascontiguousarray(heatmaps_KHW, dtype=np.float32)
    # one plane per tag: refinement then reads memory in order
    tags_KLHW = np.ascontiguousarray(np.moveaxis(tags_KHWL, -1, 1), dtype=np.float32)
    poses = match(find_peaks(confidence, tags_KLHW, settings), tags_KLHW.shape[1], settings)
    scores = poses[:, :, 2].mean(axis=1)
    pixels = poses[:, :, :2].astype(np.intp)
    found = poses[:, :, 2] > 0
    if settings.adjust:
        person, joint = np.nonzero(found)
        poses[person, joint, :2] = _sub_pixel(confidence, joint, pixels[person, joint])
    if settings.refine:
        _refine(poses, confidence, tags_KLHW, pixels, found)
    return poses, scores


def _check_shapes(heatmaps_KHW: Maps, tags_KHWL: Maps, settings: GroupingSettings) -> None:
    planes = settings.num_joints if settings.tag_per_joint else 1
    if (
        heatmaps_KHW.ndim != 3
        or len(heatmaps_KHW) != settings.num_joints
        or tags_KHWL.ndim != 4
        or tags_KHWL.shape[:3] != (planes, *heatmaps_KHW.shape[1:])
    ):
        raise ValueError(
            f"group: heatmaps {heatmaps_KHW.shape} and tags {tags_KHWL.shape} do not fit {settings.num_joints} joints "
            f"with {planes} tag plane(s); expected (K, H, W) and (planes, H, W, L)"
        )


def find_peaks(confidence_KHW: Maps, tags_KLHW: Maps, settings: GroupingSettings) -> list[Rows]:
    """Find the M highest local maxima above the threshold, for each joint as rows (x, y, confidence, tags) in float64.

    A pixel is a local maximum where nothing in its window is higher, so plateaus keep all their pixels. Rows come
    by falling confidence; equal confidence comes in row-major order of the pixels. Pixels with a tag that is not finite (a
    network that diverged) are left out.
    """
    window = np.ones((settings.nms_kernel, settings.nms_kernel), np.uint8)
    threshold = settings.detection_threshold
    peaks = []
    for joint, confidence_HW in enumerate(confidence_KHW):
        # the threshold rounded to float32 keeps a few pixels too many, never too few; the exact test follows
        is_peak = (confidence_HW >= np.float32(threshold)) & (confidence_HW == cv2.dilate(confidence_HW, window))
        at = np.flatnonzero(is_peak)
        confidence = confidence_HW.ravel()[at].astype(np.float64)
        tags = tags_KLHW[joint if settings.tag_per_joint else 0].reshape(tags_KLHW.shape[1], -1)[:, at].T
        keep = np.flatnonzero((confidence > threshold) & np.isfinite(tags).all(axis=1))
        keep = keep[np.argsort(-confidence[keep], kind="stable")[: settings.max_people]]
        y, x = np.divmod(at[keep], confidence_HW.shape[1])
        peaks.append(np.column_stack((x, y, confidence[keep], tags[keep])))
    return peaks


class _Group:
    """One person in the making: the joints so far, and the mean of their tags."""

    def __init__(self, num_joints: int, num_tags: int) -> None:
        self.pose = np.zeros((num_joints, 3 + num_tags), np.float32)
        self._tags = np.empty((num_joints, num_tags), np.float32)
        self._count = 0
        self.mean_tag = np.empty(num_tags, np.float32)

    def add(self, joint: int, row: Rows) -> None:
        self.pose[joint] = row
        self._tags[self._count] = row[3:]
        self._count += 1
        self.mean_tag = np.add.reduce(self._tags[: self._count], axis=0) / np.float32(self._count)

    def restart(self, joint: int, row: Rows) -> None:
        self._count = 0
        self.add(joint, row)


def match(peaks: Sequence[Rows], num_tags: int, settings: GroupingSettings) -> Maps:
    """Assign peaks to groups joint by joint; see ``group`` for the layout of the result (before adjustment).

    A group is known by the first tag component that founded it: a peak that would found a second group of the very
    same tag takes over its joint instead and restarts its mean, as in the published decoder.
    """
    groups: dict[float, _Group] = {}
    for joint in _joint_order(settings.num_joints):
        rows = peaks[joint]
        known = list(groups.values())[: settings.max_people]
        if not len(rows) or (settings.ignore_too_much and len(known) == settings.max_people):
            continue
        partner = _assign(rows, np.array([g.mean_tag for g in known]), settings) if known else {}
        for index, row in enumerate(rows):
            if index in partner:
                known[partner[index]].add(joint, row)
            else:
                groups.setdefault(float(row[3]), _Group(settings.num_joints, num_tags)).restart(joint, row)
    shape = (len(groups), settings.num_joints, 3 + num_tags)
    return np.array([g.pose for g in groups.values()], np.float32).reshape(shape)


def _joint_order(num_joints: int) -> list[int]:
    return [j for j in _JOINT_ORDER if j < num_joints] + list(range(len(_JOINT_ORDER), num_joints))


def _assign(rows: Rows, means: Maps, settings: GroupingSettings) -> dict[int, int]:
    """Tell which group each row joins; rows without an entry found their own."""
    difference = rows[:, None, 3:] - means[None].astype(np.float64)
    distance = np.sqrt((difference * difference).sum(axis=2))
    near = distance < settings.tag_threshold
    if settings.assignment == "fast":
        return dict(assign_below(distance + _YOUTH * settings.tag_threshold * np.arange(len(means)), near))
    cost = np.round(distance) * 100 - rows[:, 2:3] if settings.use_detection_value else distance
    surplus = len(rows) - len(means)
    if surplus > 0:
        cost = np.concatenate((cost, np.full((len(rows), surplus), _NO_GROUP)), axis=1)
    return {row: column for row, column in munkres(cost) if column < len(means) and near[row, column]}


def _sub_pixel(confidence_KHW: Maps, joint: Index | int, pixels_xy: Index) -> npt.NDArray[np.float64]:
    """Pixel centres moved a quarter pixel towards the higher neighbour in x and y; ties go to the left and up."""
    height, width = confidence_KHW.shape[1:]
    x, y = pixels_xy[..., 0], pixels_xy[..., 1]
    right = confidence_KHW[joint, y, np.minimum(x + 1, width - 1)] > confidence_KHW[joint, y, np.maximum(x - 1, 0)]
    down = confidence_KHW[joint, np.minimum(y + 1, height - 1), x] > confidence_KHW[joint, np.maximum(y - 1, 0), x]
    return np.stack((x + np.where(right, 0.75, 0.25), y + np.where(down, 0.75, 0.25)), axis=-1)


def _refine(poses: Maps, confidence_KHW: Maps, tags_KLHW: Maps, pixels: Index, found: npt.NDArray[np.bool_]) -> None:
    """Fill missing joints with the pixel of highest confidence - round(tag distance to the person's mean tag), in place."""
    num_joints, _, width = confidence_KHW.shape
    plane = np.arange(num_joints) if len(tags_KLHW) > 1 else np.zeros(num_joints, np.intp)
    mean_tags = np.empty((len(poses), tags_KLHW.shape[1]), np.float32)
    for person, has in enumerate(found):
        xy = pixels[person, has]
        mean_tags[person] = tags_KLHW[plane[has], :, xy[:, 1], xy[:, 0]].mean(axis=0)
    peaks = np.zeros(found.shape, np.intp)
    for joint in np.flatnonzero(~found.all(axis=0)):
        people = ~found[:, joint]
        peaks[people, joint] = _nearest_peaks(confidence_KHW[joint], tags_KLHW[plane[joint]], mean_tags[people])
    confidence = confidence_KHW.reshape(num_joints, -1)[np.arange(num_joints), peaks]
    person_at, joint_at = np.nonzero(~found & (confidence > 0))
    peak = peaks[person_at, joint_at]
    poses[person_at, joint_at, :2] = _sub_pixel(
        confidence_KHW, joint_at, np.stack((peak % width, peak // width), axis=-1)
    )
    poses[person_at, joint_at, 2] = confidence[person_at, joint_at]


def _nearest_peaks(confidence_HW: Maps, tags_LHW: Maps, tags_PL: Maps) -> Index:
    """For each of P tags, the first pixel in row-major order of the highest confidence - round(distance to the tag).

    No pixel scores above its confidence. So where one of the warmest pixels scores above the confidence of all the others, these
    need no look: the exact result, mostly from a twentieth of the map.
    """
    confidence, tags = confidence_HW.ravel(), tags_LHW.reshape(len(tags_LHW), -1)
    sample = np.sort(confidence[:: max(1, confidence.size // 1000)])
    limit = sample[sample.size * 19 // 20]
    warm = np.flatnonzero(confidence > limit)
    if not warm.size:
        return np.array([_score(confidence, tags, tag[:, None]).argmax() for tag in tags_PL], np.intp)
    score = _score(confidence[warm], tags[:, None, warm], tags_PL.T[:, :, None])
    best = score.argmax(axis=1)
    peaks: Index = warm[best]
    for person in np.flatnonzero(~(score[np.arange(len(best)), best] > limit)):
        peaks[person] = _score(confidence, tags, tags_PL[person][:, None]).argmax()
    return peaks


def _score(confidence: Maps, tags: Maps, tag: Maps) -> Maps:
    """Score confidence - round(|tags - tag|) with tag components first; their squares are summed one after the other."""
    distance: Maps = np.square(tags[0] - tag[0])
    for component in range(1, len(tags)):
        distance += np.square(tags[component] - tag[component])
    np.sqrt(distance, out=distance)
    np.rint(distance, out=distance)
    return np.subtract(confidence, distance, out=distance)
