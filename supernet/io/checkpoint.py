"""Write and read checkpoints: atomically, as data only (no pickled code), in our layout and those of other programs."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError
from .files import replacing
from .safetensors import SUFFIX, is_safetensors, read_safetensors
from .torch_file import read_file

#: DataParallel; the (to half, network, to float) sequence of fp16 trainings; torch.compile; Lightning; EMA copies.
PREFIXES = ("module.", "1.", "_orig_mod.", "model.", "net.", "ema.", "ema_model.")
WRAPPERS = ("state_dict", "model", "model_state_dict", "net", "network", "weights", "params")
#: Where programs keep a mean over the training's steps; taken where a file has nothing else.
AVERAGED = ("state_dict_ema", "ema_state_dict", "model_ema", "ema", "ema_model", "shadow")


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Save a checkpoint atomically: write it under a temporary name, flush it to the disk, rename it to ``path``."""
    with replacing(path) as temporary:
        _write(temporary, content)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with path.open("wb") as file:  # given a name, torch would write it into the file, and equal contents would differ
        torch.save(dict(content), file)


def previous(path: Path) -> Path:
    """Path of the checkpoint before the newest (:func:`save_beside_previous`): ``checkpoint.previous.pt``."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def save_beside_previous(path: Path, content: Mapping[str, Any]) -> None:
    """Save a checkpoint atomically and keep the one before it. At every moment one of the two is whole."""
    with replacing(path) as temporary:
        _write(temporary, content)
        if path.exists():
            path.replace(previous(path))


def newest(path: Path, keys: Sequence[str] = ()) -> tuple[dict[str, Any] | None, str]:
    """Load the newest checkpoint of :func:`save_beside_previous`, or the one before where that is damaged.

    Args:
        path: the newest file.
        keys: what it has to hold.

    Returns:
        The content, None where there is no file; and what is wrong with the newest, "" where nothing is.

    Raises:
        UserError: neither can be read.
    """
    damage = ""
    for candidate in (path, previous(path)):
        if not candidate.exists():
            continue
        try:
            return _whole(candidate, keys), damage
        except UserError as error:
            damage = damage or str(error)
    if damage:
        raise UserError(f"{damage.partition(';')[0]}, and so is the one before; remove both to begin anew")
    return None, ""


def _whole(path: Path, keys: Sequence[str]) -> dict[str, Any]:
    content = read(path, strict=True)
    if not isinstance(content, dict) or any(key not in content for key in keys):
        raise UserError(f"{path}: is not a checkpoint, or is damaged; remove it to begin anew")
    return content


def packed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Pack weights on the CPU into one contiguous storage per type: hundreds of small ones are slow to write."""
    result: dict[str, Tensor] = {}
    for dtype in dict.fromkeys(tensor.dtype for tensor in weights.values()):
        chosen = {name: tensor for name, tensor in weights.items() if tensor.dtype == dtype}
        flat = torch.cat([tensor.detach().cpu().contiguous().flatten() for tensor in chosen.values()])
        pieces = torch.split(flat, [tensor.numel() for tensor in chosen.values()])
        result |= {name: piece.view(chosen[name].shape) for name, piece in zip(chosen, pieces, strict=True)}
    return {name: result[name] for name in weights}


def read(path: Path, *, strict: bool = False) -> Any:
    """Read a checkpoint as data only: tensors and plain values. Nothing in it is ever executed.

    Args:
        path: a file of ``torch.save``, or a safetensors file.
        strict: refuse a file that holds more than data; otherwise objects of other programs are left out, and whole models
            become state dicts.

    Raises:
        UserError: when the file is missing, damaged or not a checkpoint, or holds no tensor that can be read as data.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"{path}: no such checkpoint; give the path of a file written by train.py or weight_transfer.py"
        )
    if path.suffix == SUFFIX or is_safetensors(path):
        return read_safetensors(path)
    return read_file(path, strict=strict)


def state_dict_of(content: Any, source: str) -> dict[str, Tensor]:
    """Extract the state dict from a checkpoint: unwrapped, without the prefixes that training programs put before names.

    Raises:
        UserError: when there is none.
    """
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    tensors = _tensors(content)
    if not tensors and isinstance(content, Mapping):
        averaged = (content[name] for name in AVERAGED if isinstance(content.get(name), Mapping))
        tensors = next((found for entry in averaged if (found := _tensors(entry.get("module", entry)))), {})
    if not tensors or not all(isinstance(key, str) for key in tensors):
        raise UserError(f"{source}: holds no weights; give a state dict, or a file with one under 'state_dict'")
    return _without_averages(_without_prefixes(tensors))


def _tensors(content: Any) -> dict[str, Tensor]:
    """The tensors of a state dict, without the counters of averaged models."""
    if not isinstance(content, Mapping):
        return {}
    counters = ("n_averaged", "steps", "num_updates")
    return {key: value for key, value in content.items() if isinstance(value, Tensor) and key not in counters}


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without what stands before every name, however much that is."""
    while prefix := next((prefix for prefix in PREFIXES if all(key.startswith(prefix) for key in tensors)), None):
        tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors


def _without_averages(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without the averaged copies that mmcv keeps beside them: ``ema_a_b`` of ``a.b``."""
    copies = {f"ema_{key.replace('.', '_')}" for key in tensors}
    return {key: value for key, value in tensors.items() if key not in copies}


@dataclass(frozen=True)
class Loaded:
    """Missing and unexpected names of a checkpoint that was loaded."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


#: How other programs name the same tensors: prefixes to take away, then one to put before (in this order, first fit wins).
LAYOUTS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    ((), ("",)),
    (("head.",), ("keypoint_head.", "")),  # mmpose 1.x calls the keypoint_head of 0.x head
    (("backbone.", "keypoint_head.", "head."), ("",)),  # mmpose's files into a network that is one module
    ((), ("backbone.", "keypoint_head.")),  # the reverse, and backbones pretrained on ImageNet
)


def load_checkpoint(network: nn.Module, source: Path | str | Mapping[str, Any], *, strict: bool = True) -> Loaded:
    """Load weights into a network, from our checkpoints or those of mmpose and of the papers' authors.

    Understood are a plain state dict, one within :data:`WRAPPERS` or :data:`AVERAGED`, names behind :data:`PREFIXES`, the layouts
    of mmpose 0.x and 1.x, and whatever the network's own ``from_authors`` turns into its names.

    Args:
        network: changed in place, only if the weights fit.
        source: a file, or what such a file holds.
        strict: refuse missing and unexpected names. A missing ``num_batches_tracked`` never matters, nor do further names of
            a tied tensor.

    Raises:
        UserError: in one line, when the weights belong to another architecture, or differ where the network ties them.
    """
    name = "checkpoint" if isinstance(source, Mapping) else str(source)
    weights = state_dict_of(source if isinstance(source, Mapping) else read(Path(source)), name)
    own = network.state_dict()
    weights = in_layout_of(own, weights)
    from_authors = getattr(network, "from_authors", None)
    if from_authors is not None:
        try:
            weights = from_authors(weights)
        except ValueError as error:
            raise UserError(f"{name}: {error}; give the --superconfig of a network within it") from None
    weights = _with_tied(network, weights, name)
    missing = tuple(key for key in own if key not in weights and not key.endswith("num_batches_tracked"))
    unexpected = tuple(key for key in weights if key not in own)
    wrong = [key for key in own if key in weights and own[key].shape != weights[key].shape]
    if wrong:
        raise UserError(f"{name}: {_difference(network, wrong, own, weights)}")
    if strict and (missing or unexpected):
        first = f"{missing[0]} is missing" if missing else f"{unexpected[0]} is not part of this network"
        raise UserError(
            f"{name}: is of another architecture: {first} "
            f"({len(missing)} missing, {len(unexpected)} unexpected names); give the --superconfig it was trained with"
        )
    if not strict and len(missing) == sum(not key.endswith("num_batches_tracked") for key in own):
        raise UserError(
            f"{name}: has no tensor of this network (it begins with {unexpected[0]}); give a file of its family"
        )
    kept = {key: weights.get(key, own[key]) for key in own}
    network.load_state_dict({key: value.to(own[key].dtype) for key, value in kept.items()})
    return Loaded(missing, unexpected)


def in_layout_of(own: Container[str], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename weights to the names ``own`` of a network, by the layout that fits most of them."""

    def renamed(key: str, removed: tuple[str, ...], added: tuple[str, ...]) -> str:
        bare = next((key.removeprefix(prefix) for prefix in removed if key.startswith(prefix)), None)
        if removed and bare is None:
            return key
        return next((prefix + (bare or key) for prefix in added if prefix + (bare or key) in own), key)

    candidates = [{renamed(key, *layout): value for key, value in weights.items()} for layout in LAYOUTS]
    return max(candidates, key=lambda candidate: sum(key in own for key in candidate))


def _with_tied(network: nn.Module, weights: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """The weights under every name of a tensor that the network holds under several."""
    names: dict[Tensor, list[str]] = {}
    for key, tensor in network.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor):
            names.setdefault(tensor, []).append(key)
    complete = dict(weights)
    for tied in names.values():
        given = [key for key in tied if key in weights]
        for key in given[1:]:
            if not torch.equal(weights[given[0]], weights[key]):
                raise UserError(
                    f"{source}: {given[0]} and {key} differ, which are one tensor in this network; "
                    "give weights of a network that ties them"
                )
        complete |= {key: weights[given[0]] for key in tied if given}
    return complete


def _difference(network: nn.Module, wrong: list[str], own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> str:
    """Why the shapes differ: another number of joints, if that accounts for every one of them, or another architecture."""
    joints = getattr(network, "joints", 0)
    pairs = [(tuple(own[key].shape), tuple(weights[key].shape)) for key in wrong]
    for other in range(1, 4 * joints):
        if other != joints and all(_by_joints(mine, theirs, joints, other) for mine, theirs in pairs):
            return (
                f"is for {other} joints, this network has {joints} ({wrong[0]}); set MODEL.NUM_JOINTS, or convert the "
                "file with tools/convert_checkpoint.py --joints"
            )
    key = wrong[0]
    return (
        f"is of another architecture: {key} is {tuple(weights[key].shape)} there, {tuple(own[key].shape)} here; "
        "give the --superconfig (and MODEL.NUM_JOINTS) it was trained with"
    )


def _by_joints(mine: tuple[int, ...], theirs: tuple[int, ...], joints: int, other: int) -> bool:
    """Whether two shapes may differ by the number of joints alone: each dimension is base + n joints, n at least 0."""
    if len(mine) != len(theirs):
        return False
    each = [divmod(a - b, joints - other) for a, b in zip(mine, theirs, strict=True)]
    return all(rest == 0 and 0 <= n <= a // joints for (n, rest), a in zip(each, mine, strict=True))
