"""Export a network as ONNX for deployment, prove that it computes the same on real images, and measure it.

BatchNorm is folded into the convolutions. The file takes normalised images (B, 3, H, W) and answers as the network does;
with --decode a top-down one answers with joints. Beside it net.certificate.json says how far it is from PyTorch on images
of the split to evaluate, what it costs, and how long it takes here. valid.py and tools/demo.py take it as TEST.MODEL_FILE,
without --superconfig. People of bottom-up maps are grouped outside of the file, as tools/demo.py does.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from ..cost.macs import count
from ..deploy.benchmark import latency_ms, place_of
from ..deploy.fusion import fuse_batchnorm
from ..deploy.onnx_file import DYNAMIC, MULTIPLE, SUFFIX, OnnxNetwork, check_installed, write_onnx
from ..deploy.quantisation import quantise
from ..deploy.runtimes import runner
from ..errors import UserError
from ..io.files import sha256, write_atomically
from ..pipeline.description import described
from ..pipeline.progress import say
from ..pipeline.run import Run
from ..pipeline.weights import DESCRIPTION, network_of
from ..pose.inputs import MEAN, STD
from ..pose.protocols import KeypointDataset
from ..pose.top_down.onnx_decoding import WithBinJoints, WithJoints
from ..report.markdown import markdown_table
from .command import parser, run_of, run_program, shown_command, whole

LARGEST_DIFFERENCE = 1e-4  # to PyTorch, of the largest absolute value of an output
MOVED_CELLS = 0.01  # part of the joints that may lie elsewhere: where two cells are equally high, rounding decides

EXAMPLES = """  python tools/export.py --weights output/synthetic/litepose/subnets/S/retrained/weights.pt --out net.onnx \\
      --dynamic size --int8 64
  python valid.py --weights net-int8.onnx"""


def main(arguments: Sequence[str] | None = None) -> None:
    """The program."""
    superconfig = "architecture of weights that do not say it: a JSON file or a published name"
    command = parser(__doc__, EXAMPLES, superconfig=superconfig, weights="the network")
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file to write, .onnx")
    command.add_argument("--dynamic", choices=DYNAMIC, default="", help="leave the batch open, or height and width too")
    command.add_argument(
        "--decode", action="store_true", help="answer with joints in pixels of the input, and their confidence"
    )
    command.add_argument(
        "--int8", type=whole(0, 10**6), default=0, metavar="N", help="8-bit file beside it, ranges from N images"
    )
    command.add_argument(
        "--images", type=whole(1, 10**6), default=8, help="of the split to evaluate, to compare with PyTorch on"
    )
    command.add_argument(
        "--batch", type=whole(1, 65_536), default=1, help="images at once, in the file and when it is measured"
    )
    command.add_argument("--threads", type=whole(1, 1024), default=1, help="of the CPU when it is measured")
    command.add_argument(
        "--repeats", type=whole(0, 10**6), default=20, help="timed calls of each runtime; 0 measures nothing"
    )
    command.add_argument("--no-compile", action="store_true", help="do not measure torch.compile, which takes a minute")
    options = command.parse_args(arguments)
    run = run_of(options)
    _check(run, options)
    network, arch = network_of(run, options.superconfig)
    if isinstance(network, OnnxNetwork):
        raise UserError(f"{run.cfg.TEST.MODEL_FILE} is exported already; give the weights it was made from")
    network = network.float().cpu().eval()
    images = _examples(run, options, arch.input_hw)
    certificate = export(run, network, arch, images, options)

    files = {"onnxruntime": options.out}
    if options.int8:
        files["onnxruntime int8"] = options.out.with_name(f"{options.out.stem}-int8{SUFFIX}")
        chosen = run.calibration[: options.int8]
        quantise(options.out, files["onnxruntime int8"], _inputs(run, chosen, arch.input_hw, options.batch))
        certificate["int8"] = {
            "file": files["onnxruntime int8"].name,
            "sha256": sha256(files["onnxruntime int8"]),
            "images": len(chosen),
            **compared(_reference(run, network, options), OnnxNetwork(files["onnxruntime int8"]), images),
        }
    if options.repeats:
        table = measured(network, fuse_batchnorm(network, images[0]), files, images[0], options)
        place = place_of(torch.device("cpu"), "", options.threads, options.batch)
        certificate["latency"] = {key: getattr(place, key) for key in ("machine", "threads", "batch")}
        certificate["latency"]["rows"] = table.to_dict("records")
        say(markdown_table(table))
    write_atomically(options.out.with_suffix(".certificate.json"), json.dumps(certificate, indent=2) + "\n")
    say(
        f"{options.out}: {certificate['macs'] / 1e6:,.1f} MMACs, {certificate['params']:,} parameters, ONNX operators of "
        f"version {certificate['opset']}; difference to PyTorch {certificate['difference']:.1e} of the largest value on "
        f"{certificate['images']} images"
    )
    if not options.decode:
        for file in files.values():
            say(f"next: {shown_command('valid', '--weights', file)}")


def export(
    run: Run, network: nn.Module, arch: Any, images: Sequence[Tensor], options: argparse.Namespace
) -> dict[str, Any]:
    """Write the file and compare it with PyTorch; returns the certificate.

    Raises:
        UserError: the network cannot be exported so, or the file differs from PyTorch; it is removed then.
    """
    reference = _reference(run, network, options)
    with torch.no_grad():
        answer = reference(images[0])
    several = isinstance(answer, list)
    if options.decode:
        names = ["joints", "confidence"]
    elif run.cfg.MODEL.TARGET_TYPE == "simcc":
        names = ["simcc_x", "simcc_y"]
    else:
        names = [f"maps{index}" for index in range(len(answer) if several else 1)]
    facts = {
        "family": run.family_name,
        "arch": json.dumps(run.family.to_json(arch)),
        "joints": str(run.skeleton.num_joints),
        "several": "true" if several else "false",
        "decoded": "true" if options.decode else "false",
        "colours": "RGB" if run.task.rgb else "BGR",  # of the input: (pixel / 255 - mean) / std
        "mean": json.dumps(MEAN),
        "std": json.dumps(STD),
        DESCRIPTION: json.dumps(described(run, arch)),
    }
    shapes = [*images, *_others(run, reference, images[0], arch.input_hw, options.dynamic)]
    fused = _reference(run, fuse_batchnorm(network, images[0]), options)
    opset = write_onnx(fused, images[0], options.out, names, facts, options.dynamic)
    found = compared(reference, OnnxNetwork(options.out), shapes)
    if found["difference"] > LARGEST_DIFFERENCE or found.get("moved", 0) > MOVED_CELLS:
        options.out.unlink()
        raise UserError(
            f"{options.out}: differs from PyTorch by {found['difference']:.1e} of the largest value, more than "
            f"{LARGEST_DIFFERENCE:.0e}, and is not kept; report this with the architecture"
        )
    cost, source = count(network, tuple(images[0][:1].shape)), Path(run.cfg.TEST.MODEL_FILE)
    return {
        "file": options.out.name,
        "sha256": sha256(options.out),
        "source": str(source),
        "source_sha256": sha256(source),
        "family": facts["family"],
        "arch": json.loads(facts["arch"]),
        "input": list(images[0].shape),
        **{key: facts[key] for key in ("colours", "mean", "std")},
        "dynamic": options.dynamic,
        "outputs": names,
        "opset": opset,
        "macs": cost.macs,
        "params": cost.params,
        "images": sum(len(batch) for batch in images),
        "largest_difference": LARGEST_DIFFERENCE,
        **found,
    }


def _others(run: Run, reference: nn.Module, images: Tensor, input_hw: tuple[int, int], dynamic: str) -> list[Tensor]:
    """Batches of other shapes than those the file is made with, as far as these are left open.

    Raises:
        UserError: the network itself takes no other height and width.
    """
    if not dynamic:
        return []
    larger = torch.cat([images] * 3)
    if dynamic == "batch":
        return [larger]
    (other,) = _inputs(run, run.test[:1], (input_hw[0] + MULTIPLE, input_hw[1] + 2 * MULTIPLE), 1)
    try:
        with torch.no_grad():
            reference(other)
    except RuntimeError:
        raise UserError(
            f"--dynamic size: this network takes images of {input_hw[0]} x {input_hw[1]} only; write --dynamic batch"
        ) from None
    return [larger, other]


def compared(reference: nn.Module, exported: OnnxNetwork, batches: Sequence[Tensor]) -> dict[str, float]:
    """``difference``: the largest to the reference, as a part of the largest absolute value of an output.

    Of a network whose outputs are joints: that of their confidence, and ``moved`` is the part of the joints that lie elsewhere.
    """
    difference, moved = 0.0, []
    for images in batches:
        with torch.no_grad():
            wanted, found = _listed(reference(images)), _listed(exported(images))
        if isinstance(reference, WithJoints):
            moved.append((wanted.pop(0) - found.pop(0)).abs().amax(dim=2) > 0.01)
        for one, other in zip(wanted, found, strict=True):
            difference = max(difference, float((one - other).abs().max() / one.abs().max()))
    return {"difference": difference} | ({"moved": float(torch.cat(moved).float().mean())} if moved else {})


def measured(
    network: nn.Module, fused: nn.Module, files: dict[str, Path], images: Tensor, options: argparse.Namespace
) -> pd.DataFrame:
    """Milliseconds of a batch under each runtime, and how many times as fast as the plain network it is."""
    calls = {"eager": runner(network, images, "eager", options.threads)}
    calls["eager, BatchNorm folded"] = runner(fused, images, "eager", options.threads)
    if not options.no_compile:
        try:
            calls["torch.compile"] = runner(fused, images, "compile", options.threads)
        except UserError as error:
            say(f"not measured: {error}")
    calls |= {name: OnnxNetwork(file, options.threads) for name, file in files.items()}
    times = {name: latency_ms(call, images, options.threads, options.repeats) for name, call in calls.items()}
    rows = [{"runtime": name, "ms": round(ms, 3), "ratio": round(times["eager"] / ms, 2)} for name, ms in times.items()]
    return pd.DataFrame(rows)


def _check(run: Run, options: argparse.Namespace) -> None:
    """Refuse what cannot be done, before anything is read."""
    check_installed()
    if options.out.suffix != SUFFIX:
        raise UserError(f"--out {options.out} has to end in {SUFFIX}")
    if min(options.images, options.batch, options.threads) < 1 or min(options.int8, options.repeats) < 0:
        raise UserError("--images, --batch and --threads have to be 1 or more, --int8 and --repeats 0 or more")
    if options.decode and run.task.approach == "bottom-up":
        raise UserError(
            f"--decode: DATASET.DATASET {run.cfg.DATASET.DATASET} is bottom-up, whose people are grouped outside of the "
            "file; leave it out"
        )
    if (
        options.decode
        and run.cfg.TEST.POST_PROCESS
        and run.cfg.TEST.BLUR_KERNEL
        and run.cfg.MODEL.TARGET_TYPE != "simcc"
    ):
        raise UserError("--decode has a quarter of a cell and no DARK; set TEST.BLUR_KERNEL 0")


def _examples(run: Run, options: argparse.Namespace, input_hw: tuple[int, int]) -> list[Tensor]:
    """Images of the split to evaluate; random ones where the weights came without their dataset.

    Raises:
        UserError: ``--cfg`` or ``--int8`` asks for a dataset that is not there.
    """
    try:
        return list(_inputs(run, run.test[: options.images], input_hw, options.batch))
    except UserError as error:
        if options.cfg is not None or options.int8:
            raise
        say(f"compared on random images, since the dataset is not at hand ({error})")
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(options.batch, 3, *input_hw, generator=generator)
        for _ in range(-(-options.images // options.batch))
    ]


def _reference(run: Run, network: nn.Module, options: argparse.Namespace) -> nn.Module:
    """The network as it is to answer."""
    if not options.decode:
        return network
    decoding = WithBinJoints if run.cfg.MODEL.TARGET_TYPE == "simcc" else WithJoints
    return decoding(network, run.cfg.TEST.POST_PROCESS).eval()


def _inputs(run: Run, dataset: KeypointDataset[Any], input_hw: tuple[int, int], batch: int) -> Iterator[Tensor]:
    """Whole batches (B, 3, H, W) of the images of a dataset, the last filled up by repeating it."""
    for images in run.task.calibration_batches(dataset, input_hw, batch):
        whole = images.cpu().contiguous()
        yield whole.repeat(-(-batch // len(whole)), 1, 1, 1)[:batch]


def _listed(outputs: Any) -> list[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


def program() -> None:
    """``python tools/export.py``."""
    run_program(main)
