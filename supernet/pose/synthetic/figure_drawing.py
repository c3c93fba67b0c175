"""Draws a :class:`~supernet.pose.synthetic.figure.Figure`: tapered limbs, clothes, head, and who owns which pixel."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from supernet.pose.synthetic.figure import HEAD_RADII, PARTS, Array, Colour, Figure, Look

Bytes = npt.NDArray[np.uint8]

_CIRCLE = np.stack([np.cos(np.arange(14) * np.pi / 7), np.sin(np.arange(14) * np.pi / 7)], axis=1)
_SHIFT = 4  # binary places of the drawing's coordinates
_OUTLINE = 0.007  # statures
_BANDS: dict[str, Colour] = {
    "left": (0, 140, 255),
    "right": (255, 120, 20),
}  # BGR: orange on the left, blue on the right


_SKINS: list[Colour] = [(170, 200, 240), (140, 180, 230), (110, 150, 205), (80, 115, 170), (60, 85, 130), (45, 62, 95)]
_HAIRS: list[Colour] = [(25, 20, 18), (35, 45, 70), (40, 75, 125), (110, 170, 215), (150, 150, 150), (40, 60, 160)]
_SPHERE = np.array([(np.sqrt(1 - z * z) * np.cos(2.39996 * i), np.sqrt(1 - z * z) * np.sin(2.39996 * i), z)
                    for i, z in enumerate(np.linspace(-0.995, 0.995, 200))])  # fmt: skip


def _shade(colour: Colour, factor: float) -> Colour:
    blue, green, red = (float(min(max(channel * factor, 0), 255)) for channel in colour)
    return blue, green, red


class _Pen:
    """Collects the shapes of one figure by part, then draws them from far to near."""

    def __init__(self, figure: Figure) -> None:
        self.figure, self.bulk = figure, figure.look.bulk
        self.shapes: dict[str, list[tuple[Array, Colour, bool]]] = {part: [] for part in PARTS}
        self.depths: dict[str, float] = {}

    def hull(
        self, part: str, centres: Array | list[Array], radii: list[float], colour: Colour, outlined: bool = False
    ) -> None:
        """Add the convex hull of discs; an outlined one belongs to the silhouette of its part."""
        middles, sizes = np.asarray(centres)[:, None, :2], np.asarray(radii)[:, None, None]
        if outlined:
            rim = (middles + (sizes + _OUTLINE) * _CIRCLE).reshape(-1, 2)
            self.shapes[part].append((rim, _shade(colour, 0.45), True))
        self.shapes[part].append(((middles + sizes * _CIRCLE).reshape(-1, 2), colour, False))

    def limb(self, part: str, a: Array, b: Array, ra: float, rb: float, colour: Colour, cover: float = 1.0,
             cloth: Colour | None = None, outer: Array | None = None, lift: float = 0.0) -> None:  # fmt: skip
        """Add a tapered limb; ``cover`` of it (from ``a``) wears ``cloth``, with a stripe on the ``outer`` side."""
        ra, rb = ra * self.bulk, rb * self.bulk
        self.depths[part] = float(a[2] + b[2]) / 2 + lift
        whole = cloth is not None and cover >= 1
        self.hull(part, [a, b], [ra, rb], cloth if cloth is not None and whole else colour, outlined=True)
        end, rend = a + min(cover, 1.0) * (b - a), ra + min(cover, 1.0) * (rb - ra)
        if cloth is not None and 0 < cover < 1:
            self.hull(part, [a, end], [ra + 0.004, rend + 0.006], cloth)
        if cloth is not None and cover > 0 and outer is not None:
            along = (b - a) / (np.linalg.norm(b - a) + 1e-9)
            normal = outer - along * float(outer @ along)
            normal = normal / (np.linalg.norm(normal) + 1e-9)
            if normal[2] > -0.35:
                self.hull(part, [a + 0.62 * ra * normal, end + 0.62 * rend * normal], [0.009, 0.009],
                          self.figure.look.trim)  # fmt: skip

    def band(self, upper: str, lower: str, a: Array, joint: Array, b: Array, radius: float, side: str) -> None:
        """Add a band around a joint, in the colour of its side, on both parts that meet there."""
        for part, end in ((upper, a), (lower, b)):
            along = (end - joint) / (np.linalg.norm(end - joint) + 1e-9)
            self.hull(part, [joint, joint + 0.03 * along], [radius * self.bulk] * 2, _BANDS[side])

    def draw(self, image: Bytes, ids: npt.NDArray[Any], scale: float, origin: Array, first_id: int) -> None:
        """Paint all shapes; ``ids`` gets ``first_id`` + the part's number."""
        for part in sorted(self.depths, key=self.depths.__getitem__):
            for points, colour, silhouette in self.shapes[part]:
                pixels = np.rint((points * scale + origin) * (1 << _SHIFT)).astype(np.int32)
                polygon = cv2.convexHull(pixels)
                cv2.fillConvexPoly(image, polygon, colour, cv2.LINE_AA, _SHIFT)
                if silhouette:
                    cv2.fillConvexPoly(ids, polygon, first_id + PARTS.index(part), cv2.LINE_8, _SHIFT)


def sample_look(rng: np.random.Generator, backdrop: Colour) -> Look:
    """Draw clothes and colours that stand out from ``backdrop`` (BGR, the mean colour behind the person)."""
    skin = _SKINS[int(rng.integers(len(_SKINS)))]
    shirt = _cloth(rng, [backdrop, skin], vivid=True)
    trousers = _cloth(rng, [backdrop, shirt], vivid=False)
    white = 245.0 if sum(shirt) + sum(trousers) < 700 else 30.0
    return Look(
        skin=_shade(skin, rng.uniform(0.92, 1.06)),
        hair=_shade(_HAIRS[int(rng.integers(len(_HAIRS)))], rng.uniform(0.8, 1.2)),
        shirt=shirt,
        trousers=trousers,
        shoes=_cloth(rng, [backdrop, trousers], vivid=False),
        trim=(white, white, white),
        sleeves=float(rng.choice([0.5, 1.0, 2.0], p=[0.5, 0.1, 0.4])),
        legs=float(rng.choice([0.75, 2.0], p=[0.3, 0.7])),
        long_hair=bool(rng.random() < 0.35),
        striped=bool(rng.random() < 0.2),
        bulk=float(rng.uniform(0.9, 1.2)),
    )


def _cloth(rng: np.random.Generator, others: list[Colour], vivid: bool) -> Colour:
    """The colour of six draws that differs most from ``others``."""
    tries = np.stack([rng.integers(0, 180, 6), rng.integers(110 if vivid else 20, 230, 6),
                      rng.integers(90 if vivid else 40, 245, 6)], axis=1).astype(np.uint8)  # fmt: skip
    colours = cv2.cvtColor(tries[None], cv2.COLOR_HSV2BGR)[0].astype(float)
    distance = np.min([np.abs(colours - np.array(other)).sum(axis=1) for other in others], axis=0)
    blue, green, red = colours[int(distance.argmax())]
    return float(blue), float(green), float(red)


def draw_figure(
    figure: Figure, image: Bytes, ids: npt.NDArray[Any], scale: float, origin: Array, first_id: int
) -> None:
    """Draw ``figure`` in place.

    Args:
        figure: the person.
        image: [H, W, 3] BGR image.
        ids: [H, W] map of owners; the person's pixels become ``first_id`` + index in ``PARTS``.
        scale: pixels per stature.
        origin: (x, y) of the pelvis, pixel centres at whole numbers.
        first_id: see ``ids``.
    """
    pen = _Pen(figure)
    _trunk(pen)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        _arm(pen, side, sign)
        _leg(pen, side, sign)
    _head(pen)
    pen.draw(image, ids, scale, origin, first_id)


def _trunk(pen: _Pen) -> None:
    figure, look = pen.figure, pen.figure.look
    joints, bulk = figure.joints, look.bulk
    left, down, forward = figure.axes["torso"].T
    hips = [joints["left_hip"], joints["right_hip"]]
    shoulders = [joints["left_shoulder"], joints["right_shoulder"]]
    pen.limb("neck", joints["thorax"] - 0.01 * down, joints["upper_neck"], 0.033, 0.03, look.skin, lift=-0.02)
    pen.depths["pelvis"], pen.depths["torso"] = -0.075, float(joints["thorax"][2]) / 2 + 0.02
    pelvis_down = figure.axes["pelvis"][:, 1]
    pen.hull("pelvis", [hips[0] + 0.02 * pelvis_down, hips[1] + 0.02 * pelvis_down], [0.054 * bulk] * 2,
             look.trousers, outlined=True)  # fmt: skip
    hem = [0.9 * hip - 0.02 * pelvis_down for hip in hips]
    chest = [0.92 * point + 0.08 * joints["thorax"] for point in shoulders] + [joints["neck"]]
    pen.hull("torso", chest + hem, [0.036 * bulk] * 2 + [0.03 * bulk] + [0.045 * bulk] * 2, look.shirt, outlined=True)
    spine, reach = joints["thorax"] - joints["pelvis"], 0.115 * bulk
    if look.striped:
        for share in (0.25, 0.45, 0.65):
            centre = share * spine
            pen.hull("torso", [centre + 0.8 * reach * left, centre - 0.8 * reach * left], [0.01, 0.01],
                     _shade(look.shirt, 0.6))  # fmt: skip
    if forward[2] > 0.2:  # the front: open collar, buttoned band, belt buckle
        face = 0.045 * bulk * forward
        top = joints["thorax"] + face
        pen.hull("torso", [top + 0.04 * left - 0.012 * down, top - 0.04 * left - 0.012 * down, top + 0.06 * down],
                 [0.006, 0.006, 0.004], look.skin)  # fmt: skip
        pen.hull("torso", [top + 0.07 * down, 0.04 * spine + face], [0.008, 0.008], look.trim)
    elif forward[2] < -0.2:  # the back: a wide dark yoke across the shoulder blades, a light number
        back = joints["thorax"] - 0.045 * bulk * forward + 0.05 * down
        pen.hull("torso", [back + 0.085 * left, back - 0.085 * left], [0.026, 0.026], _shade(look.shirt, 0.5))
        number = back + 0.08 * down
        pen.hull("torso", [number + 0.02 * left, number - 0.02 * left, number + 0.06 * down], [0.01] * 3, look.trim)


def _arm(pen: _Pen, side: str, sign: float) -> None:
    figure, look = pen.figure, pen.figure.look
    shoulder, elbow, wrist = (figure.joints[f"{side}_{joint}"] for joint in ("shoulder", "elbow", "wrist"))
    outer = sign * figure.axes["torso"][:, 0]
    pen.limb(f"{side}_upper_arm", shoulder, elbow, 0.036, 0.027, look.skin, look.sleeves, _shade(look.shirt, 0.9),
             outer, lift=0.03)  # fmt: skip
    pen.limb(f"{side}_forearm", elbow, wrist, 0.027, 0.019, look.skin, look.sleeves - 1, _shade(look.shirt, 0.9),
             outer, lift=0.04)  # fmt: skip
    hand = figure.ends[f"{side}_hand"]
    pen.limb(f"{side}_hand", wrist, hand, 0.021, 0.02, look.skin, lift=0.041)
    pen.band(f"{side}_upper_arm", f"{side}_forearm", shoulder, elbow, wrist, 0.028, side)
    pen.band(f"{side}_forearm", f"{side}_hand", elbow, wrist, hand, 0.022, side)
    pen.hull(f"{side}_upper_arm", [shoulder], [0.024 * pen.bulk], _BANDS[side])


def _leg(pen: _Pen, side: str, sign: float) -> None:
    figure, look = pen.figure, pen.figure.look
    hip, knee, ankle = (figure.joints[f"{side}_{joint}"] for joint in ("hip", "knee", "ankle"))
    outer = sign * figure.axes["pelvis"][:, 0]
    pen.limb(
        f"{side}_thigh", hip, knee, 0.056, 0.038, look.skin, look.legs, look.trousers, outer, lift=-0.07
    )  # under the shirt, unless the thigh is raised
    pen.limb(f"{side}_shin", knee, ankle, 0.038, 0.025, look.skin, look.legs - 1, look.trousers, outer, lift=-0.072)
    heel, toe = figure.ends[f"{side}_heel"], figure.ends[f"{side}_toe"]
    pen.limb(f"{side}_foot", heel, toe, 0.024, 0.02, look.shoes, lift=-0.074)
    pen.band(f"{side}_thigh", f"{side}_shin", hip, knee, ankle, 0.038, side)
    pen.band(f"{side}_shin", f"{side}_foot", knee, ankle, toe, 0.027, side)
    if toe[2] > heel[2] - 0.03:  # the toe cap shows from the front and from the side
        pen.hull(f"{side}_foot", [toe], [0.013], look.trim)


def _head(pen: _Pen) -> None:
    figure, look = pen.figure, pen.figure.look
    centre, axes = figure.ends["head"], figure.axes["head"]
    pen.depths["head"] = float(centre[2]) + 0.05
    surface = _SPHERE * HEAD_RADII @ axes.T
    rim = centre[:2] + cv2.convexHull(surface[:, :2].astype(np.float32))[:, 0]
    pen.hull("head", rim.astype(float), [0.0] * len(rim), look.hair, outlined=True)
    if look.long_hair:
        nape = centre - 0.03 * axes[:, 2] + 0.05 * axes[:, 1]
        pen.hull("head" if axes[2, 2] < 0 else "neck", [centre - 0.01 * axes[:, 2], nape + 0.03 * axes[:, 1]],
                 [0.058, 0.05], look.hair, outlined=True)  # fmt: skip
    cap = _SPHERE @ np.array([0.0, 0.36, 0.93]) > 0.3
    seen = surface[cap & (surface[:, 2] > 0)]
    if len(seen) > 5:
        face = centre[:2] + cv2.convexHull(seen[:, :2].astype(np.float32))[:, 0]
        pen.hull("head", face.astype(float), [0.0] * len(face), look.skin)
    for side in ("left", "right"):
        ear, eye = figure.joints[f"{side}_ear"], figure.joints[f"{side}_eye"]
        if ear[2] > centre[2] - 0.03:
            pen.hull("head", [ear - 0.008 * axes[:, 1], ear + 0.008 * axes[:, 1]], [0.011, 0.009],
                     _shade(look.skin, 0.8))  # fmt: skip
        if eye[2] > centre[2] + 0.005:
            pen.hull("head", [eye], [0.015], (245, 245, 245))
            pen.hull("head", [eye], [0.009], (30, 20, 20))
    nose = figure.joints["nose"]
    if nose[2] > centre[2] - 0.005:
        pen.hull("head", [nose - 0.02 * axes[:, 1], nose], [0.005, 0.011], _shade(look.skin, 0.72), outlined=False)
        mouth = centre + axes @ np.array([0.0, 0.045, 0.055])
        if mouth[2] > centre[2]:
            pen.hull("head", [mouth - 0.014 * axes[:, 0], mouth + 0.014 * axes[:, 0]], [0.005] * 2, (50, 40, 150))
