"""Keys of other projects' YAML files that change nothing here: accepted where such a file is read, and dropped."""

from __future__ import annotations

#: Keys of HRNet, HigherHRNet, LitePose, EfficientHRNet and TransPose; of a node, everything below it.
FOREIGN = (
    "DEBUG",
    "LOG_DIR",  # TensorBoard curves lie in the run folder
    "GPUS",  # torchrun decides which devices are used
    "PRINT_FREQ",  # one progress line is renewed
    "PIN_MEMORY",
    "RANK",  # torchrun sets it
    "VERBOSE",
    "MULTIPROCESSING_DISTRIBUTED",  # torchrun starts the processes
    "MODEL.INIT_WEIGHTS",  # MODEL.PRETRAINED decides
    "MODEL.HEATMAP_SIZE",  # the network says it
    "LOSS.NUM_STAGES",  # the lists below have one entry for each output of the network
    "DATASET.DATASET_TEST",  # DATASET.DATASET says whose metric it is
    "DATASET.NUM_JOINTS",  # see MODEL.NUM_JOINTS
    "DATASET.DATA_FORMAT",  # the annotations name the files
    "DATASET.HYBRID_JOINTS_TYPE",
    "DATASET.SELECT_DATA",
    "DATASET.BASE_SIZE",
    "DATASET.BASE_SIGMA",
    "DATASET.INT_SIGMA",
    "TRAIN.LR_END",  # the last rate of TransPose's half a cosine
    "TRAIN.GAMMA1",
    "TRAIN.GAMMA2",
    "TRAIN.BEGIN_EPOCH",
    "TRAIN.RESUME",  # AUTO_RESUME decides
    "TRAIN.CHECKPOINT",  # MODEL.PRETRAINED is what a training begins with
    "TRAIN.SHUFFLE",  # training images are always drawn in random order
    "TEST.IGNORE_CENTER",
    "TEST.NMS_PADDING",  # half of that
    "TEST.LOG_PROGRESS",
    "TEST.BBOX_THRE",
    "TEST.NMS_THRE",
)


def is_foreign(name: str) -> bool:
    """Whether a key, ``TRAIN.RESUME``, or a node above it is one of these."""
    return any(name == known or name.startswith(f"{known}.") for known in FOREIGN)
