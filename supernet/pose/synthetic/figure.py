"""One person to draw: looks, proportions, a pose within natural limits, and the joints in the image.

The body is a small three-dimensional stick figure in units of its own stature, seen without perspective.
Body axes: x to the person's left, y down, z the way the person faces. Image axes: x right, y down, z towards
the viewer; at ``yaw = 0`` both are the same, so that from the front the left shoulder is right in the image.

Left and right are told as in life, by face against hair, shirt front against back and toes, and by pads on shoulders,
elbows, wrists, knees and ankles, orange on the left and blue on the right, from which a small network learns them within
minutes. A mirrored image would contradict the pads: train on this crowd with ``DATASET.FLIP: 0``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Colour = tuple[float, float, float]

PARTS = (
    "pelvis", "torso", "neck", "head", "left_upper_arm", "left_forearm", "left_hand", "left_thigh", "left_shin",
    "left_foot", "right_upper_arm", "right_forearm", "right_hand", "right_thigh", "right_shin", "right_foot",
)  # fmt: skip
# A joint is seen where the topmost part at its pixel is one of these ("*" is the joint's own side).
_SEEN_ON = {
    "shoulder": ("torso", "neck", "*_upper_arm"), "elbow": ("*_upper_arm", "*_forearm"),
    "wrist": ("*_forearm", "*_hand"), "hip": ("torso", "pelvis", "*_thigh"), "knee": ("*_thigh", "*_shin"),
    "ankle": ("*_shin", "*_foot"), "nose": ("head",), "eye": ("head",), "ear": ("head",), "head": ("head",),
    "head_top": ("head",), "upper_neck": ("neck", "head", "torso"), "neck": ("neck", "head", "torso"),
    "thorax": ("neck", "torso"), "pelvis": ("torso", "pelvis"),
}  # fmt: skip
_SIDES = (("left", 1.0), ("right", -1.0))
HEAD_RADII = np.array([0.058, 0.078, 0.066])

# Means and spreads in degrees: torso (lean, roll, twist); each arm (flexion, abduction, elbow, inward turn of the
# forearm); each leg (flexion, abduction, knee). Negative draws of an elbow or a knee are folded back by the limits.
_Rows = list[tuple[float, float]]
_STAND: tuple[_Rows, _Rows, _Rows] = (
    [(2, 4), (0, 3), (0, 6)], [(3, 12), (14, 8), (14, 14), (20, 25)], [(0, 6), (5, 4), (3, 4)],
)  # fmt: skip
_LIMITS = {"torso": [(-15, 50), (-30, 30), (-35, 35)], "arm": [(-40, 165), (2, 172), (0, 140), (-20, 100)],
           "leg": [(-28, 105), (-4, 45), (0, 125)]}  # fmt: skip
_POSES = {"stand": 0.26, "walk": 0.2, "arms_up": 0.13, "wave": 0.11, "spread": 0.07, "akimbo": 0.07, "reach": 0.06,
          "sit": 0.05, "lean": 0.03, "kick": 0.02}  # fmt: skip


@dataclass(frozen=True)
class Look:
    """Colours (BGR, 0-255) and clothes; ``sleeves`` and ``legs`` are covered shares of the limb (0.5, 1 or 2)."""

    skin: Colour
    hair: Colour
    shirt: Colour
    trousers: Colour
    shoes: Colour
    trim: Colour
    sleeves: float
    legs: float
    long_hair: bool
    striped: bool
    bulk: float


@dataclass
class Figure:
    """A posed person; all coordinates are in statures, the pelvis at (0, 0), in image axes.

    ``joints`` holds every joint name of the three skeletons as (x, y, depth), depth growing towards the viewer.
    ``axes`` are the columns left, down, forward of "torso", "head" and "pelvis".
    """

    look: Look
    joints: dict[str, Array] = field(default_factory=dict)
    ends: dict[str, Array] = field(default_factory=dict)
    axes: dict[str, Array] = field(default_factory=dict)

    def box(self) -> tuple[float, float, float, float]:
        """Extent (x0, y0, x1, y1) of the drawn figure, in statures, to about one hundredth."""
        points = np.array([*self.joints.values(), *self.ends.values()])[:, :2]
        (x0, y0), (x1, y1) = points.min(axis=0) - 0.03, points.max(axis=0) + 0.03
        return float(x0), float(y0), float(x1), float(y1)

    def head_box(self) -> tuple[float, float, float, float]:
        """Extent (x0, y0, x1, y1) of the head, in statures."""
        half = np.sqrt(((self.axes["head"] * HEAD_RADII) ** 2).sum(axis=1))[:2]
        (x0, y0), (x1, y1) = self.ends["head"][:2] - half, self.ends["head"][:2] + half
        return float(x0), float(y0), float(x1), float(y1)

    def hidden_by_itself(self, joint: str, part: str) -> bool:
        """Whether ``joint`` is hidden from the viewer when ``part`` is what is seen at its pixel."""
        side, _, kind = joint.partition("_")
        if side not in ("left", "right"):
            side, kind = "", joint
        if part not in [name.replace("*", side) for name in _SEEN_ON[kind]]:
            return True
        depth = float(self.joints[joint][2])
        if part == "head" and kind in ("nose", "eye", "ear"):
            return depth < float(self.ends["head"][2]) - 0.005
        if part in ("torso", "pelvis") and kind in ("shoulder", "hip"):  # the far one, seen from the side
            middle = float(self.joints["thorax" if kind == "shoulder" else "pelvis"][2])
            return depth < middle - (0.075 if kind == "shoulder" else 0.05)
        return False


def rotation(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> Array:
    """Matrix [3, 3] of a turn to the left, then a bend forwards, then a tilt to the left; degrees."""
    a, b, c = np.radians([yaw, pitch, roll])
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    bend = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
    tilt = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.asarray(tilt @ bend @ turn)


def _limit(angles: Array, kind: str) -> Array:
    low, high = np.array(_LIMITS[kind], dtype=float).T
    return np.clip(np.where(low == 0, np.abs(angles), angles), low, high)


def sample_angles(rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Draw a pose: torso [3], arms [2, 4], legs [2, 3] in degrees (left first), within natural limits."""

    def draw(rows: _Rows, count: int = 1) -> Array:
        return np.array([[rng.normal(mean, spread) for mean, spread in rows] for _ in range(count)])

    torso, arms, legs = draw(_STAND[0])[0], draw(_STAND[1], 2), draw(_STAND[2], 2)
    kind = rng.choice(list(_POSES), p=list(_POSES.values()))
    side = int(rng.integers(2))
    if kind == "walk":
        stride = rng.uniform(14, 38)
        legs[side, 0], legs[1 - side, 0], legs[1 - side, 2] = stride, -0.7 * stride, rng.uniform(5, 45)
        arms[side, 0], arms[1 - side, 0], arms[:, 2] = -0.9 * stride, 0.9 * stride, rng.uniform(10, 60, 2)
        torso[0] += 4
    elif kind in ("arms_up", "wave"):
        which = slice(None) if kind == "arms_up" else slice(side, side + 1)
        count = 2 if kind == "arms_up" else 1
        arms[which, 1], arms[which, 2] = rng.uniform(95, 170, count), rng.uniform(5, 80, count)
        arms[which, 3] = rng.uniform(50, 100, count)
    elif kind == "spread":
        arms[:, 1], legs[:, 1] = rng.uniform(50, 100, 2), rng.uniform(8, 22, 2)
    elif kind == "akimbo":
        arms[:, 0], arms[:, 1] = rng.normal(-12, 6, 2), rng.normal(44, 5, 2)
        arms[:, 2], arms[:, 3] = rng.normal(92, 8, 2), rng.normal(85, 6, 2)
    elif kind == "reach":
        arms[:, 0], arms[:, 2] = rng.uniform(45, 110, 2), rng.uniform(0, 60, 2)
    elif kind == "sit":
        torso[0] = rng.uniform(-5, 22)
        legs[:, 0], legs[:, 2] = rng.uniform(65, 95) + rng.normal(0, 4, 2), rng.uniform(65, 100) + rng.normal(0, 6, 2)
        legs[:, 1], arms[:, 0], arms[:, 2] = rng.uniform(3, 20, 2), rng.uniform(5, 45, 2), rng.uniform(20, 80, 2)
    elif kind == "lean":
        torso[:2] = rng.uniform(15, 45), rng.uniform(-24, 24)
        arms[:, 0] += torso[0]
    elif kind == "kick":
        legs[side], arms[:, 1] = (rng.uniform(35, 90), rng.uniform(0, 15), rng.uniform(5, 90)), rng.uniform(15, 60, 2)
    return (_limit(torso, "torso"), _limit(arms, "arm"), _limit(legs, "leg"))


def _swing(flexion: float, abduction: float, side: float) -> tuple[Array, Array]:
    """Direction of a limb that hangs down at (0, 0), and the forward normal to it in the plane of the swing."""
    f, a = np.radians([flexion, abduction])
    limb = np.array([side * np.sin(a), np.cos(a) * np.cos(f), np.cos(a) * np.sin(f)])
    return limb, np.array([0.0, -np.sin(f), np.cos(f)])


def sample_figure(rng: np.random.Generator, look: Look) -> Figure:
    """Draw proportions, a pose and a direction of view: front 55 %, three quarters 20 %, side 5 %, back 20 %."""
    torso_angles, arm_angles, leg_angles = sample_angles(rng)
    spans = ((0, 30, 0.55), (30, 65, 0.2), (65, 100, 0.05), (145, 180, 0.2))
    low, high, _ = spans[int(rng.choice(4, p=[span[2] for span in spans]))]
    yaw = rng.uniform(low, high) * rng.choice([-1.0, 1.0])
    camera = rotation(pitch=rng.uniform(2, 14), roll=rng.normal(0, 2.5)) @ rotation(yaw=yaw)
    arm, leg, trunk = rng.normal(1, 0.04, 3)
    shoulder, hip = 0.118 * look.bulk * rng.normal(1, 0.04), 0.07 * look.bulk

    upright = rotation(yaw=float(torso_angles[2]), pitch=float(torso_angles[0]), roll=float(torso_angles[1]))
    left, down, forward = upright.T
    facing = upright @ rotation(rng.normal(0, 18), rng.normal(2, 8), rng.normal(0, 6))
    thorax = -0.285 * trunk * down
    upper_neck = thorax - 0.055 * down
    head = upper_neck - 0.07 * facing[:, 1] + 0.012 * forward
    joints = {"pelvis": np.zeros(3), "thorax": thorax, "neck": thorax - 0.028 * down, "upper_neck": upper_neck,
              "head": head - 0.076 * facing[:, 1], "nose": head + facing @ np.array([0, 0.012, 0.07])}  # fmt: skip
    joints["head_top"] = joints["head"]
    ends = {"head": head}
    for index, (name, side) in enumerate(_SIDES):
        joints[f"{name}_eye"] = head + facing @ np.array([side * 0.024, -0.014, 0.058])
        joints[f"{name}_ear"] = head + facing @ np.array([side * 0.058, 0.0, -0.004])
        joints[f"{name}_shoulder"] = thorax + side * shoulder * left + 0.012 * down
        upper, front = _swing(arm_angles[index, 0], arm_angles[index, 1], side)
        across = np.cross(upper, front)  # bending in the plane of the body: inwards, or up for a raised arm
        across *= np.sign(-across[1] if arm_angles[index, 1] > 60 else -side * across[0]) or 1.0
        bend, turn = np.radians(arm_angles[index, 2:])
        lower = np.cos(bend) * upper + np.sin(bend) * (np.cos(turn) * front + np.sin(turn) * across)
        upper, lower = upright @ upper, upright @ lower
        elbow = joints[f"{name}_elbow"] = joints[f"{name}_shoulder"] + 0.165 * arm * upper
        wrist = joints[f"{name}_wrist"] = elbow + 0.145 * arm * lower
        ends[f"{name}_hand"] = wrist + 0.05 * lower

        joints[f"{name}_hip"] = np.array([side * hip, 0.0, 0.0])
        thigh, front = _swing(leg_angles[index, 0], leg_angles[index, 1], side)
        bend = np.radians(leg_angles[index, 2])
        shin, toes = np.cos(bend) * thigh - np.sin(bend) * front, np.cos(bend) * front + np.sin(bend) * thigh
        knee = joints[f"{name}_knee"] = joints[f"{name}_hip"] + 0.245 * leg * thigh
        ankle = joints[f"{name}_ankle"] = knee + 0.235 * leg * shin
        ends[f"{name}_heel"] = ankle + 0.022 * shin - 0.012 * toes
        ends[f"{name}_toe"] = ankle + 0.04 * shin + 0.075 * toes + np.array([side * 0.022, 0, 0])
    return Figure(
        look,
        {name: camera @ point for name, point in joints.items()},
        {name: camera @ point for name, point in ends.items()},
        {"torso": camera @ upright, "head": camera @ facing, "pelvis": camera},
    )
