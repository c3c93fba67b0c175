"""Skeletons of own datasets: what the category of a COCO-format file says, and what a skeleton file sets over it.

A skeleton file is a JSON object. Every key is optional; joints are always meant by name.

- ``name``: in messages; by default the name of the category.
- ``joints``: names in order; by default the ``keypoints`` of the category, with which they are compared otherwise.
- ``limbs``: pairs of joints to draw; by default the ``skeleton`` of the category (pairs of numbers from 1).
- ``flip_pairs``: pairs ``[left, right]`` that change places in a mirrored image; by default guessed from the names.
- ``sigmas``: OKS falloff constants: one number for all joints, a list, or an object of joints (the others have the default).
- ``upper_body``: the joints of the upper half, for the half-body augmentation; by default guessed from the names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from ..errors import UserError
from .keypoints import Pair, Skeleton, unpaired

#: The OKS constant of a joint of which nothing is known. COCO's lie between 0.025 (eyes) and 0.107 (hips). With this one OKS
#: falls to 0.5 at a distance of 12 % of the square root of the area.
SIGMA = 0.05
KEYS = ("name", "joints", "limbs", "flip_pairs", "sigmas", "upper_body")
_MOST = 1000
_SHOWN = 20  # pairs, in the line that says what is meant


def skeleton_of(values: Mapping[str, Any], source: str, category: Mapping[str, Any] | None = None) -> Skeleton:
    """A skeleton from the values of a skeleton file, and from the category of an annotation file for what they leave out.

    Args:
        values: of the skeleton file; empty for none.
        source: what messages call that file.
        category: of the annotation file; None needs ``joints`` among the values.

    Raises:
        UserError: a key is unknown, a joint is not one of the skeleton's, or a value is of another kind.
    """
    for key in values:
        if key not in KEYS:
            near = get_close_matches(str(key), KEYS, n=1)
            raise UserError(f"{source}: unknown key {key!r}; {f'did you mean {near[0]}?' if near else _known(KEYS)}")
    category = category or {}
    joints = _joints(values.get("joints", category.get("keypoints")), source)
    reader = _Reader(joints, source)
    limbs = reader.pairs(values["limbs"], "limbs") if "limbs" in values else reader.limbs(category.get("skeleton"))
    pairs = reader.pairs(values["flip_pairs"], "flip_pairs") if "flip_pairs" in values else None
    if pairs is not None and len({joint for pair in pairs for joint in pair}) < 2 * len(pairs):
        raise UserError(f"{source}: flip_pairs has a joint twice; give every joint in one pair at most")
    name = values.get("name") or category.get("name") or "keypoints"
    return Skeleton(
        name=str(name),
        joints=joints,
        limbs=limbs,
        sigmas=reader.sigmas(values.get("sigmas", SIGMA)),
        pairs=pairs,
        upper=reader.joints_of(values["upper_body"], "upper_body") if "upper_body" in values else None,
    )


def to_json(skeleton: Skeleton) -> dict[str, Any]:
    """A skeleton as :func:`skeleton_of` reads it, with nothing left to guess."""
    named = [skeleton.joints[index] for index in skeleton.upper_body]
    return {
        "name": skeleton.name,
        "joints": list(skeleton.joints),
        "limbs": [[skeleton.joints[a], skeleton.joints[b]] for a, b in skeleton.limbs],
        "flip_pairs": [[skeleton.joints[a], skeleton.joints[b]] for a, b in skeleton.flip_pairs],
        "sigmas": list(skeleton.sigmas),
        "upper_body": named,
    }


def summary(skeleton: Skeleton, source: str) -> str:
    """One line that says what is meant by a skeleton: joints, flip pairs, sigmas."""
    shown = [f"{skeleton.joints[left]}/{skeleton.joints[right]}" for left, right in skeleton.flip_pairs]
    more = f" and {len(shown) - _SHOWN} more pairs" if len(shown) > _SHOWN else ""
    guessed = skeleton.pairs is None
    flips = (
        f"mirroring exchanges{' by their names' if guessed else ''} {', '.join(shown[:_SHOWN]) or 'no joints'}{more}"
    )
    if guessed and (alone := unpaired(skeleton.joints)):
        flips += f" ({', '.join(alone[:_SHOWN])}: no partner)"
    sigmas = set(skeleton.sigmas)
    oks = f"OKS sigma {min(sigmas):g}"
    oks += " for all" if len(sigmas) == 1 else f" to {max(sigmas):g}"
    return f"skeleton: {skeleton.name}, {skeleton.num_joints} joints of {source}; {flips}; {oks} (DATASET.SKELETON sets others)"


def _joints(value: Any, source: str) -> tuple[str, ...]:
    if value is None:
        raise UserError(f"{source}: has no joints; give them as a list of names, or an annotation file that has them")
    if not isinstance(value, Sequence) or isinstance(value, str) or not 0 < len(value) <= _MOST:
        raise UserError(f"{source}: its joints are {_shown(value)}; give a list of up to {_MOST} names")
    for index, joint in enumerate(value):
        if not isinstance(joint, str) or not joint:
            raise UserError(f"{source}: joint {index + 1} is {_shown(joint)}; give names")
        if joint in value[:index]:
            raise UserError(f"{source}: two joints are called {joint!r}; give every one its own name")
    return tuple(value)


class _Reader:
    """Reads values that name joints.

    Args:
        joints: of the skeleton.
        source: what messages call the file.
    """

    def __init__(self, joints: tuple[str, ...], source: str) -> None:
        self._joints, self._source = joints, source
        self._places = {joint: index for index, joint in enumerate(joints)}

    def joint(self, name: Any, key: str) -> int:
        if not isinstance(name, str) or name not in self._places:
            near = get_close_matches(name, self._joints, n=1) if isinstance(name, str) else []
            advice = f"did you mean {near[0]!r}?" if near else _known(self._joints)
            raise UserError(f"{self._source}: {key} has {_shown(name)}, which is no joint; {advice}")
        return self._places[name]

    def joints_of(self, value: Any, key: str) -> tuple[int, ...]:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise UserError(f"{self._source}: {key} is {_shown(value)}; give a list of joints")
        return tuple(self.joint(name, key) for name in value)

    def pairs(self, value: Any, key: str) -> tuple[Pair, ...]:
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise UserError(f"{self._source}: {key} is {_shown(value)}; give a list of pairs of joints")
        found = []
        for pair in value:
            ends = self.joints_of(pair, key)
            if len(ends) != 2 or ends[0] == ends[1]:
                raise UserError(f"{self._source}: {key} has {_shown(pair)}; give pairs of two different joints")
            found.append((ends[0], ends[1]))
        return tuple(found)

    def limbs(self, value: Any) -> tuple[Pair, ...]:
        """Of a COCO category: pairs of numbers from 1."""
        count, found = len(self._joints), []
        for pair in value if isinstance(value, Sequence) and not isinstance(value, str) else ():
            numbers = pair if isinstance(pair, Sequence) and not isinstance(pair, str) else (pair,)
            if len(numbers) != 2 or not all(type(number) is int and 1 <= number <= count for number in numbers):
                raise UserError(
                    f"{self._source}: the category's 'skeleton' has {_shown(pair)}, no two numbers of joints from 1 to {count}; "
                    "correct it, or give limbs in DATASET.SKELETON"
                )
            found.append((numbers[0] - 1, numbers[1] - 1))
        return tuple(found)

    def sigmas(self, value: Any) -> tuple[float, ...]:
        if isinstance(value, Mapping):
            given = {self.joint(name, "sigmas"): sigma for name, sigma in value.items()}
            every = [given.get(index, SIGMA) for index in range(len(self._joints))]
        elif isinstance(value, Sequence) and not isinstance(value, str):
            every = list(value)
        else:
            every = [value] * len(self._joints)
        right = all(isinstance(sigma, (int, float)) and not isinstance(sigma, bool) for sigma in every)
        if len(every) != len(self._joints) or not right or not all(0 < sigma <= 1 for sigma in every):
            raise UserError(
                f"{self._source}: sigmas is {_shown(value)}; give one number above 0 and up to 1, or one for each of the "
                f"{len(self._joints)} joints"
            )
        return tuple(float(sigma) for sigma in every)


def _known(names: Sequence[str]) -> str:
    return f"there are {', '.join(names)}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
