"""Weights that say what they are: family, architecture, keypoints, input, normalisation, configuration, origin.

A description stands under ``network`` in a file of weights, and as text in the metadata of an ONNX file. With it, programs
and :class:`.estimator.PoseEstimator` need the file alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..config.loading import load_config
from ..config.yaml_file import plain
from ..errors import UserError
from ..pose.inputs import MEAN, STD
from ..pose.skeleton_file import to_json
from .run import Run

FORMAT = 1
_RUN = re.compile(r"(?!\.)[\w.-]+/(?!\.)[\w.-]+")
#: Nodes of a configuration that say where and how a program runs, and nothing about the network.
_OF_THE_MACHINE = (
    "OUTPUT_DIR",
    "WORKERS",
    "AUTO_RESUME",
    "DIST_BACKEND",
    "CUDNN",
    "DEVICE",
    "THREADS",
    "CHECKPOINT_SECONDS",
    "RAY",
)


@dataclass(frozen=True)
class Description:
    """What a file of weights says about itself.

    Attributes:
        family: of search_spaces.
        arch: the superconfig, a JSON value.
        keypoints: ``name``, ``joints`` in order, ``flip_index``, ``sigmas`` of OKS, ``limbs`` to draw.
        approach: ``top-down`` or ``bottom-up``.
        input_hw: height and width of the network input, pixels.
        mean: of the input, (pixel / 255 - mean) / std, in the order of ``colours``.
        std: likewise.
        colours: ``RGB`` or ``BGR``.
        config: the configuration that it was made with, without what belongs to the machine.
        run: folder and name of the settings file, ``synthetic/litepose``.
        format: of this description.
    """

    family: str
    arch: Any
    keypoints: Mapping[str, Any]
    approach: str
    input_hw: Sequence[int]
    mean: Sequence[float]
    std: Sequence[float]
    colours: str
    config: Mapping[str, Any]
    run: str
    format: int = FORMAT

    @classmethod
    def read(cls, value: Any, source: Path) -> Description:
        """A description as :func:`described` wrote it.

        Raises:
            UserError: it is of a later version, or something else.
        """
        try:
            found = cls(**value)
        except TypeError:
            found = None
        if found is None or not found._is_sound():
            raise UserError(f"{source}: its description of the network is damaged; give --cfg and --superconfig")
        if found.format != FORMAT:
            raise UserError(f"{source}: describes itself in format {found.format}, this version reads {FORMAT}; update")
        return found

    def _is_sound(self) -> bool:
        """Whether every field is of its type, as far as this version knows them."""
        texts = (self.family, self.approach, self.colours, self.run)
        if not all(isinstance(text, str) for text in texts) or not isinstance(self.config, Mapping):
            return False
        if not isinstance(self.keypoints, Mapping) or not _RUN.fullmatch(self.run):  # it becomes a folder
            return False
        joints, name = self.keypoints.get("joints"), self.keypoints.get("name")
        named = isinstance(joints, list | tuple) and all(isinstance(joint, str) for joint in joints)
        numbers = all(
            isinstance(values, list | tuple) and all(isinstance(value, int | float) for value in values)
            for values in (self.input_hw, self.mean, self.std)
        )
        return named and isinstance(name, str) and numbers and len(self.input_hw) == 2 and type(self.format) is int

    def as_run(self, source: Path, overrides: Sequence[str] = ()) -> Run:
        """The run of these weights, with ``KEY VALUE`` pairs on top.

        Raises:
            UserError: the file's configuration, or a pair, is not understood.
        """
        config = {name: value for name, value in self.config.items() if name not in _OF_THE_MACHINE}
        if isinstance(dataset := config.get("DATASET"), Mapping):
            config["DATASET"] = {name: value for name, value in dataset.items() if name != "IMAGE_LIMITS"}
        cfg = load_config(None, overrides, base=config, base_name=str(source))
        root = Path(cfg.DATASET.ROOT)
        elsewhere = (root.is_absolute() or ".." in root.parts) and "DATASET.ROOT" not in overrides[::2]
        if elsewhere and cfg.DATASET.SYNTHETIC.TRAIN and not root.exists():
            cfg.defrost()  # a file of weights has nothing drawn in a place of its choice
            cfg.DATASET.SYNTHETIC.TRAIN = cfg.DATASET.SYNTHETIC.VAL = 0
            cfg.freeze()
        return Run(cfg, Path(f"{self.run}.yaml"), overrides)


def described(run: Run, arch: Any) -> dict[str, Any]:
    """The description of a network of a run, as JSON values."""
    skeleton = run.skeleton
    config = {name: value for name, value in plain(run.cfg).items() if name not in _OF_THE_MACHINE}
    config["TEST"] = {**config["TEST"], "MODEL_FILE": ""}
    config["MODEL"] = {**config["MODEL"], "PRETRAINED": ""}  # what it began with is somewhere else by then
    config["SUPERNET"] = {**config["SUPERNET"], "TEACHER": ""}
    if run.data.kind.own_skeleton:  # whole, so that neither annotations nor skeleton file are needed
        config["DATASET"] = {**config["DATASET"], "SKELETON": json.dumps(to_json(skeleton))}
    source = run.source.resolve()
    return asdict(
        Description(
            family=run.family_name,
            arch=run.family.to_json(arch),
            keypoints={
                "name": skeleton.name,
                "joints": list(skeleton.joints),
                "flip_index": list(skeleton.flip_index),
                "sigmas": list(skeleton.sigmas),
                "limbs": [list(limb) for limb in skeleton.limbs],
            },
            approach=run.data.approach,
            input_hw=list(arch.input_hw),
            mean=list(MEAN),
            std=list(STD),
            colours="RGB" if run.task.rgb else "BGR",
            config=config,
            run=f"{source.parent.name}/{source.stem}",
        )
    )
