"""Every configuration key with its default, its unit and its meaning.

The names are those of HRNet, HigherHRNet and LitePose, so that their YAML files load; what only those programs act on stands in
``foreign.py``. What may stand under a key beyond its type is in ``rules.py``; ``loading.py`` does the work.
"""

from __future__ import annotations

from typing import Any

from ..cost.costs import COSTS

STAGE: dict[str, Any] = {  # one item of SUPERNET.STAGES
    "name": "",  # shown in the log and in checkpoint names
    "open": [
        ""
    ],  # paths in the space, with * as wildcard, whose options are free from this stage on; [] = none are added
    "steps": 0,  # optimiser steps; give either steps or epochs
    "epochs": 0,  # passes over the training images
    "lr": 0.0,  # initial learning rate; 0 = TRAIN.LR
}

DEFAULTS: dict[str, Any] = {
    "OUTPUT_DIR": "output",  # folder for checkpoints, fronts and reports
    "DATA_DIR": "",  # put before relative paths of data (DATASET.ROOT, DATASET.SKELETON, TEST.COCO_BBOX_FILE, DATASET.MPII_GT)
    "WORKERS": 4,  # processes that load images
    "AUTO_RESUME": True,  # go on from the last checkpoint, and leave what is finished; false trains anew
    "DIST_BACKEND": "nccl",  # torch.distributed backend on GPUs; on CPUs it is gloo
    "FP16": {
        "ENABLED": False,  # automatic mixed precision
        "DTYPE": "float16",  # float16 (with a scaled loss) or bfloat16
        "STATIC_LOSS_SCALE": 1.0,  # factor on the loss in float16 when the scale is not dynamic
        "DYNAMIC_LOSS_SCALE": False,  # adapt that factor to overflows
    },
    "CUDNN": {
        "BENCHMARK": False,  # GPUs: time the ways to compute a convolution for every new shape; a supernet has many shapes
        "DETERMINISTIC": False,  # GPUs: equal runs give equal bits
        "ENABLED": True,  # GPUs: false computes without cuDNN
    },
    "MODEL": {
        "NAME": "pose_multi_resolution_net_v16",  # the family, as the published files call it
        "PRETRAINED": "",  # file of weights to start from; what it lacks begins fresh
        "NUM_JOINTS": 0,  # 0 = those of the dataset; any other number than theirs is refused, for own joints not read
        "TAG_PER_JOINT": True,  # one tag map per joint, not one for all joints
        "SYNC_BN": False,  # BatchNorm statistics over all processes
        "IDENTITY_START": False,  # residual branches begin with a last BatchNorm weight of 0, in a training from fresh weights
        "TARGET_TYPE": "gaussian",  # top-down: heatmaps with a gaussian on a cell or unbiased (DARK); simcc: bins of x and y
        "IMAGE_SIZE": [256, 256],  # top-down input, pixels: width, height
        "SIGMA": 2.0,  # top-down Gaussian, heatmap pixels
        "SIMCC_SIGMA": 0.0,  # simcc: Gaussian, bins (half pixels); 0 follows the input, as RTMPose's
        "SIMCC_NORMALIZED": False,  # simcc: a Gaussian adds up to 1, as in SimCC's baselines; false gives it the height 1
        "SCALE_FACTOR": 0,  # EfficientHRNet's compound exponent (H-1 is -1)
        "WIDTH_MULT": 1.0,  # EfficientHRNet's backbone width
        "DEPTH_MULT": 1.0,  # EfficientHRNet's backbone depth
        "DIM_MODEL": 256,  # TransPose's encoder: width
        "DIM_FEEDFORWARD": 1024,  # TransPose: hidden width
        "N_HEAD": 8,  # TransPose: attention heads
        "ENCODER_LAYERS": 4,  # TransPose
        "ATTENTION_ACTIVATION": "relu",  # TransPose
        "POS_EMBEDDING": "sine",  # TransPose: sine, learnable or none
        "EXTRA": {},  # what one family needs; any keys
    },
    "LOSS": {
        "WITH_HEATMAPS_LOSS": [True],  # bottom-up: heatmap loss on that output
        "HEATMAPS_LOSS_FACTOR": [1.0],  # factor on it
        "WITH_AE_LOSS": [True],  # associative-embedding loss on the tags of that output
        "AE_LOSS_TYPE": "max",  # push term: exp or max
        "PUSH_LOSS_FACTOR": [0.001],  # factor on the term that keeps the tags of two people apart
        "PULL_LOSS_FACTOR": [0.001],  # factor on the term that joins the tags of one person
        "FOREGROUND_WEIGHT": 0.0,  # heatmap cells weigh 1 + this x target; 0 as HigherHRNet, 20 for trainings of minutes
        "USE_TARGET_WEIGHT": True,  # top-down: joints that are not labelled cost nothing
        "USE_DIFFERENT_JOINTS_WEIGHT": False,  # top-down: limbs weigh more than the trunk
        "USE_OHKM": False,  # top-down: only the hardest joints of a person
        "TOPK": 8,  # how many those are
        "SIMCC_BETA": 10.0,  # simcc: factor on the logits; 10 as RTMPose, 1 as SimCC's baselines
        "SIMCC_LABEL_SOFTMAX": True,  # simcc: the label is a softmax of the Gaussian, as RTMPose's; false takes it as it is
    },
    "DATASET": {
        "ROOT": "",  # the dataset's folder
        "DATASET": "coco_kpt",  # coco_kpt, crowd_pose_kpt, keypoints_bottom_up; top-down: coco, crowdpose, mpii, lsp, keypoints
        "MAX_NUM_PEOPLE": 30,  # people an image at most, in targets and in decoding
        "TRAIN": "train2017",  # name of the training split
        "TEST": "val2017",  # name of the split to evaluate
        "MAX_ROTATION": 30.0,  # augmentation, degrees either way
        "MIN_SCALE": 0.75,  # augmentation, smallest crop; people grow
        "MAX_SCALE": 1.25,  # augmentation, largest crop; people shrink
        "SCALE_TYPE": "short",  # the side that fits the input: short or long
        "MAX_TRANSLATE": 40.0,  # augmentation, 1/200 of the crop either way: 40 is a fifth of the input
        "TRANSLATE_INSIDE": False,  # this toolkit's own: shifts end where the crop reaches the image's border
        "INPUT_SIZE": 512,  # bottom-up input, pixels a side
        "OUTPUT_SIZE": [128, 256, 512],  # bottom-up heatmaps, pixels a side, one for each output
        "FLIP": 0.5,  # probability of mirroring; true is 0.5, as in HRNet
        "SIGMA": -1.0,  # bottom-up Gaussian, heatmap pixels; -1 = OUTPUT_SIZE / 64 of each output, at least 1
        "TAG_RADIUS": 0,  # this toolkit's own: a joint's tag is learnt at any cell within this distance, drawn anew every time
        "SCALE_AWARE_SIGMA": False,  # true is refused: sigma does not follow the person's size here
        "WITH_CENTER": False,  # true is refused: there is no joint for the person's centre here
        "SCALE_FACTOR": 0.25,  # top-down augmentation: scale in 1 +- this
        "ROT_FACTOR": 30.0,  # top-down augmentation, degrees
        "PROB_HALF_BODY": 0.0,  # top-down augmentation: probability of a half body
        "NUM_JOINTS_HALF_BODY": 8,  # fewest joints for that
        "COLOR_RGB": False,  # top-down: RGB images, not BGR
        # From here on, this toolkit's own.
        "AUGMENTATION": "hrnet",  # top-down: hrnet, or rtmpose: also shifts, colours, blur and a hidden part of each crop
        "SHIFT_FACTOR": 0.16,  # rtmpose: shift, part of the box
        "DROPOUT": 1.0,  # rtmpose: probability of hiding a rectangle
        "LAST_EPOCHS": 0,  # rtmpose: at the end of a training, no shift, 5/8 of the scale, 3/4 of the rotation, half of DROPOUT
        "SKELETON": "",  # own joints: JSON file, or its keys here: flip_pairs, sigmas, limbs, upper_body; '' = annotations'
        "JOINT_NAMES": "compare",  # a file whose joints have other names than the skeleton's is refused; or ignore
        "SYNTHETIC": {  # with TRAIN > 0 the dataset is drawn into ROOT on first use; it wants FLIP 0 (coloured pads)
            "TRAIN": 0,  # training images
            "VAL": 0,  # images to evaluate on
            "SIZE": [192, 192],  # pixels: width, height
            "MAX_PEOPLE": 3,  # people an image at most
            "SEED": 0,  # of the drawing
            "SUBJECT": "people",  # what is drawn; corners, hands, animals are for own joints (keypoints)
        },
        "ANNOTATIONS": {"TRAIN": "", "TEST": ""},  # annotation files; '' = the dataset's usual place under ROOT
        "IMAGES": {"TRAIN": "", "TEST": ""},  # image folders; '' = the dataset's usual place under ROOT
        "MPII_GT": "",  # MPII's gt_*.mat of the split to evaluate; '' = annot/gt_<split>.mat under ROOT
        "SEARCH_IMAGES": 500,  # training images set aside to compare architectures; never trained on
        "FINAL_IMAGES": 0,  # others set aside, on which the search's finalists are scored again; never trained on
        "CALIBRATION_IMAGES": 256,  # training images for BatchNorm statistics
        "SPLIT_SEED": 0,  # which images these are
        "IMAGE_LIMITS": {  # larger images are refused before they are decoded
            "PIXELS": 100_000_000,  # width x height; three bytes each
            "SIDE": 32_766,  # pixels; OpenCV warps no larger images
            "ASPECT": 20,  # longer side over shorter side
        },
        "MAX_BROKEN": 10,  # distinct training images that cannot be read, over all processes; others stand in
    },
    "TRAIN": {
        "LR": 0.001,  # initial learning rate
        "LR_FACTOR": 0.1,  # factor on the rate at every LR_STEP
        "LR_STEP": [90, 110],  # epochs
        "OPTIMIZER": "adam",  # adam, adamw, sgd; lazy_adam, lazy_adamw: leave alone what a step of a supernet did not draw
        "MOMENTUM": 0.9,  # sgd
        "WD": 0.0001,  # weight decay of adamw, lazy_adamw and sgd; adam has none, as in HRNet's programs
        "WD_NORM": True,  # scales and shifts of normalisation, and biases, decay too
        "NESTEROV": False,  # sgd
        "DEPTHWISE_STRIPS": False,  # CPUs: weight gradients of wide depthwise kernels in strips of three columns; equal to 1e-5
        "END_EPOCH": 140,  # exclusive
        "IMAGES_PER_GPU": 32,  # batch size of one process; BATCH_SIZE_PER_GPU means the same
        "ACCUMULATE": 1,  # batches of a process whose gradients make one step
    },
    "TEST": {
        "IMAGES_PER_GPU": 32,  # batch size of one process; BATCH_SIZE_PER_GPU means the same
        "FLIP_TEST": False,  # average with the mirrored image
        "ADJUST": True,  # quarter-pixel shift towards the higher neighbour
        "REFINE": True,  # look for a person's missing joints near its tag
        "SCALE_FACTOR": [1.0],  # image scales that are averaged
        "DETECTION_THRESHOLD": 0.2,  # lowest heatmap value of a joint
        "TAG_THRESHOLD": 1.0,  # largest tag distance within a person
        "USE_DETECTION_VAL": True,  # heatmap values break ties in the grouping
        "IGNORE_TOO_MUCH": False,  # no new people beyond MAX_NUM_PEOPLE
        "ASSIGNMENT": "parity",  # peaks to people: parity = as published numbers were measured; fast = by distance alone
        "MODEL_FILE": "",  # checkpoint to evaluate
        "NMS_KERNEL": 3,  # a joint is the largest value of a square of so many heatmap pixels a side
        "PROJECT2IMAGE": False,  # resize heatmaps to the input before grouping
        "WITH_HEATMAPS": [True],  # outputs whose heatmaps are used
        "WITH_AE": [True],  # outputs whose tags are used
        "SCORE": "",  # networks are compared by it: AP, mOKS, PCK@0.2 ...; '' = AP, on MPII Mean, on LSP PCK@0.2
        "METRIC_BACKEND": "pycocotools",  # pycocotools, faster (faster-coco-eval) or crowdposetools; the same numbers
        "POST_PROCESS": False,  # top-down: look for the peak between the cells, by a quarter-pixel shift or by BLUR_KERNEL
        "BLUR_KERNEL": 0,  # top-down: DARK instead, its smoothing kernel in cells, odd (11 for sigma 2); 0 = no DARK
        "SHIFT_HEATMAP": False,  # top-down: shift the mirrored heatmap by one pixel
        "USE_GT_BBOX": False,  # top-down: annotated boxes, not detected ones
        "COCO_BBOX_FILE": "",  # top-down: file of detected boxes
        "IMAGE_THRE": 0.1,  # top-down: lowest score of a detected box
        "IN_VIS_THRE": 0.0,  # top-down: lowest joint score that counts in a person's score
        "OKS_THRE": 0.5,  # top-down: OKS above which the weaker of two people is dropped
        "SOFT_NMS": False,  # top-down: weaken it instead
    },
    # From here on, this toolkit's own.
    "SEED": 0,  # of everything that is drawn, unless a node has its own
    "DEVICE": "auto",  # auto, cpu, cuda or cuda:N; auto = a GPU where there is one
    "CHANNELS_LAST": True,  # memory format of images and weights
    "THREADS": 0,  # torch threads of one process; 0 = torch's choice
    "CHECKPOINT_SECONDS": 60.0,  # seconds between two checkpoints of a training
    "SPACE": {
        "FAMILY": "litepose",  # file in search_spaces
        "NAME": "published",  # which of the family's spaces
        "MUST_CONTAIN": [],  # names or JSON files of architectures that the space has to contain
        "RESTRICT": {},  # path in the space -> the options that are kept, e.g. "stages[0].kernel": [3, 5]
    },
    "SUPERNET": {
        "STAGES": [],  # progressive shrinking; [] = one stage, all open, for TRAIN.END_EPOCH epochs
        "SAMPLING": "sandwich",  # sandwich (largest, smallest, RANDOM more), single_path (one random), best_up, worst_up
        "PATHS": 1,  # single_path: random architectures of a step, each on its part of the batch
        "COVERAGE": 0.0,  # probability of drawing a random architecture with uniform MACs, not with uniform choices
        "RANDOM": 2,  # random architectures a step, besides largest and smallest
        "CANDIDATES": 3,  # best_up, worst_up: a sandwich whose others are each the best or worst of so many of like MACs
        "RANK_ARCHITECTURES": "same",  # of several processes in one step: the same, or each draws different ones
        "SCHEDULE": "cosine",  # of a stage's learning rate: cosine, multi_step as TRAIN.LR_STEP of END_EPOCH says, or flat_cosine
        "ONE_CURVE": False,  # one curve over all stages, in place of one for each
        "FINAL_LR": 0.01,  # cosine: learning rate at its end, part of the initial one
        "WARMUP": 0.05,  # part of a stage over which its learning rate rises linearly
        "DISTILLATION": "inplace",  # inplace = from the step's largest; largest = from that of the first stage; teacher; none
        "DISTILLATION_WEIGHT": 1.0,  # factor on that loss
        "DISTILLATION_RAMP": 0.0,  # part of all steps over which that factor grows from 0, once there is a teacher
        "TEACHER": "",  # checkpoint file
        "KERNEL_TRANSFORMS": False,  # learn 7 -> 5 -> 3; False = centre crop
        "SORT_CHANNELS": False,  # before widths open, bring the important channels to the front
        "EMA": 0.0,  # decay a step of the averaged weights; 0 = none
        "EMA_GAMMA": 0.0,  # steps in which the decay rises from 0, as in mmpose (2000); 0 rises as (1 + t) / (10 + t)
        "CLIP_GRADIENT": 0.0,  # largest norm of a step's gradient; 0 = no limit
    },
    "SEARCH": {
        "ALGORITHM": "predictor",  # predictor, nsga2, evolution or random
        "BACKEND": "local",  # who evaluates: local = this process, ray = the processes of the node RAY
        "EVALUATIONS": 1000,  # architectures evaluated
        "POPULATION": 20,  # architectures a generation
        "MUTATION_PROBABILITY": 0.0,  # of each choice of an architecture; 0 = one choice on average
        "PARENT_RATIO": 0.25,  # part of a generation that survives (evolution)
        "SCORE": "",  # architectures are compared by: loss (lower is better, no augmentation) or a metric; '' = TEST.SCORE's
        "FINALISTS": 20,  # of each budget, scored again on DATASET.FINAL_IMAGES before one is selected; 0 = none
        "RANDOM_BASELINE": 0,  # evaluations of a random search beside it; 0 = none
        "SEED": 0,  # of the candidates that are drawn
        "BUDGETS": {},  # name -> MACs, or {cost: largest value, …}; the best architecture within each is retrained
        "HALVING": {  # the loss on a few images decides first who is evaluated at all
            "IMAGES": 0,  # of the search split; 0 = everyone is evaluated
            "KEEP": 0.5,  # part of a generation that is evaluated
        },
    },
    "RAY": {  # SEARCH.BACKEND ray, and tools/retrain.py --backend ray
        "ADDRESS": "",  # host:port of a running cluster's head, or auto; '' = start a local one
        "WORKERS": 0,  # architectures worked on at a time; 0 = as many as the cluster has room for
        "CPUS": 1,  # of one architecture, and its torch threads where THREADS is 0
        "GPUS": 0.0,  # of one architecture; parts are allowed
        "START_SECONDS": 120,  # that a machine's processes may take to start; a busy one takes minutes
    },
    "COST": {
        **{cost.limit: cost.no_limit for cost in COSTS.values()},  # their meaning stands there
        "LATENCY_TABLE": "",  # file that tools/latency.py measured for this space
        "OBJECTIVES": ["macs"],  # what the search minimises beside the score
    },
    "RETRAIN": {  # the training of one architecture: train.py --superconfig, and search.py's selected subnets
        "EPOCHS": 0,  # 0 = TRAIN.END_EPOCH
        "LR": 0.0,  # initial learning rate; 0 = TRAIN.LR
        "LR_STEP": [],  # epochs at which TRAIN.LR_FACTOR is applied; [] = SCHEDULE
        "SCHEDULE": "cosine",  # half a cosine, or flat_cosine (RTMPose): warm-up, flat for half of it, half a cosine to 0.05 x lr
        "WARMUP": 0.05,  # flat_cosine: part of the training over which its learning rate rises linearly
        "DISTILLATION": False,  # search.py: learn from the supernet's largest network too
        "FROM_SCRATCH": False,  # search.py: train the same architectures from fresh weights as well, for equal epochs
    },
    "FIDELITY": {  # tools/fidelity.py: stand-alone trainings, beside which the supernet's ranking is evaluated
        "ARCHITECTURES": 40,  # spread over the MACs of the space, or in equal shares near the BUDGETS
        "BUDGETS": [],  # MACs: architectures are drawn near each of these, within which rankings are compared
        "WITHIN": 0.02,  # share of a budget that the MACs may differ from it
        "SEEDS": 1,  # trainings of the first REPEATED architectures; the others have one
        "REPEATED": 10,  # see SEEDS
        "EPOCHS": 0,  # of one training; 0 = TRAIN.END_EPOCH
        "LR": 0.0,  # initial learning rate, then half a cosine; 0 = TRAIN.LR
        "IMAGES_PER_GPU": 0,  # batch size; 0 = TRAIN.IMAGES_PER_GPU
        "SEED": 0,  # which architectures are drawn
        "BANDS": 4,  # of equal MACs, within which rankings are compared
    },
}
