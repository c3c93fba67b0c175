"""People in boxes on a photograph, from an ONNX file alone: numpy, OpenCV and onnxruntime, nothing of pose-supernet.

python examples/deploy/top_down.py net.onnx photo.jpg drawn.jpg [x,y,width,height ...]

The file is one of tools/export.py, of a top-down network with heatmaps. All that is needed stands in its metadata. Without
boxes the whole photograph is one. Printed: a line for each joint, its name, x, y in pixels, and confidence.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import cv2
import numpy as np
import onnxruntime


def crop_matrix(box: np.ndarray, width: int, height: int) -> np.ndarray:
    """The map (2, 3) from the photograph to the network's input: the box, grown to its aspect and by a quarter, in the middle."""
    x, y, w, h = box
    wide = max(w, h * width / height) * 1.25
    scale, middle = width / wide, (x + w / 2, y + h / 2)
    return np.array([[scale, 0, width / 2 - scale * middle[0]], [0, scale, height / 2 - scale * middle[1]]])


def dark(heatmap: np.ndarray, x: int, y: int, blur: int) -> tuple[float, float]:
    """The centre of the Gaussian that a heatmap resembles around its highest cell (DARK, Zhang et al., CVPR 2020)."""
    height, width = heatmap.shape
    if not (1 < x < width - 2 and 1 < y < height - 2):
        return float(x), float(y)
    smooth = cv2.GaussianBlur(heatmap.astype(np.float64), (blur, blur), 0, borderType=cv2.BORDER_CONSTANT)
    log = np.log(np.maximum(smooth[y - 2 : y + 3, x - 2 : x + 3] * (heatmap.max() / smooth.max()), 1e-10))
    slope = np.array([log[2, 3] - log[2, 1], log[3, 2] - log[1, 2]]) / 2
    xx, yy = (log[2, 4] - 2 * log[2, 2] + log[2, 0]) / 4, (log[4, 2] - 2 * log[2, 2] + log[0, 2]) / 4
    xy = (log[3, 3] - log[1, 3] - log[3, 1] + log[1, 1]) / 4
    if xx * yy == xy * xy:
        return float(x), float(y)
    dx, dy = -np.linalg.solve([[xx, xy], [xy, yy]], slope)
    return x + dx, y + dy


def quarter(heatmap: np.ndarray, x: int, y: int) -> tuple[float, float]:
    """A quarter of a cell towards the higher neighbour, as HRNet has it."""
    height, width = heatmap.shape
    if not (1 < x < width - 1 and 1 < y < height - 1):
        return float(x), float(y)
    dx, dy = heatmap[y, x + 1] - heatmap[y, x - 1], heatmap[y + 1, x] - heatmap[y - 1, x]
    return x + 0.25 * np.sign(dx), y + 0.25 * np.sign(dy)


class Network:
    """An ONNX file and what it says of itself."""

    def __init__(self, path: str) -> None:
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        facts = self.session.get_modelmeta().custom_metadata_map
        said: dict[str, Any] = json.loads(facts["pose_supernet"])
        if said["approach"] != "top-down" or facts["decoded"] == "true":
            sys.exit(f"{path}: is bottom-up, or gives joints itself; this program reads heatmaps of one person")
        self.keypoints, self.height, self.width = said["keypoints"], *said["input_hw"]
        self.mean, self.std = np.array(said["mean"], np.float32), np.array(said["std"], np.float32)
        self.rgb, self.test = said["colours"] == "RGB", said["config"]["TEST"]

    def heatmaps(self, inputs: np.ndarray) -> np.ndarray:
        """(K, h, w) of one input (H, W, 3)."""
        images = np.ascontiguousarray(inputs.transpose(2, 0, 1)[None])
        maps: np.ndarray = self.session.run(None, {self.session.get_inputs()[0].name: images})[-1][0]
        return maps

    def joints(self, photograph: np.ndarray, box: np.ndarray) -> np.ndarray:
        """(K, 3): x, y in pixels of the photograph (BGR, as OpenCV reads it), and confidence."""
        matrix = crop_matrix(box, self.width, self.height)
        crop = cv2.warpAffine(photograph, matrix, (self.width, self.height), flags=cv2.INTER_LINEAR)
        inputs = ((crop[..., ::-1] if self.rgb else crop) / np.float32(255) - self.mean) / self.std
        maps = self.heatmaps(inputs)
        if self.test["FLIP_TEST"]:  # the mirrored photograph, mirrored back, left and right exchanged
            mirrored = self.heatmaps(inputs[:, ::-1])[self.keypoints["flip_index"]][..., ::-1].copy()
            if self.test["SHIFT_HEATMAP"]:
                mirrored[..., 1:] = mirrored[..., :-1].copy()
            maps = (maps + mirrored) / 2
        found = np.zeros((len(maps), 3))
        for joint, heatmap in zip(found, maps, strict=True):
            y, x = np.unravel_index(heatmap.argmax(), heatmap.shape)
            joint[2] = heatmap[y, x]
            if joint[2] <= 0:
                x, y = 0, 0
            blur = self.test["BLUR_KERNEL"] if self.test["POST_PROCESS"] else 0
            if blur:
                joint[:2] = dark(heatmap, int(x), int(y), blur)
            else:
                joint[:2] = quarter(heatmap, int(x), int(y)) if self.test["POST_PROCESS"] else (x, y)
        cells = crop_matrix(box, maps.shape[2], maps.shape[1])
        found[:, :2] = (found[:, :2] - cells[:, 2]) / np.diag(cells)
        return found


def main() -> None:
    """Find, print, draw."""
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    network, photograph = Network(sys.argv[1]), cv2.imread(sys.argv[2])
    if photograph is None:
        sys.exit(f"{sys.argv[2]}: cannot be read as an image")
    drawn, whole = photograph.copy(), f"0,0,{photograph.shape[1]},{photograph.shape[0]}"
    for text in sys.argv[4:] or [whole]:
        joints = network.joints(photograph, np.array(text.split(","), float))
        for name, (x, y, confidence) in zip(network.keypoints["joints"], joints, strict=True):
            print(f"{name:16} {x:8.2f} {y:8.2f} {confidence:6.3f}")
        points = [tuple(map(round, joint[:2])) for joint in joints]
        for start, end in network.keypoints["limbs"]:
            cv2.line(drawn, points[start], points[end], (0, 200, 255), 2, cv2.LINE_AA)
    cv2.imwrite(sys.argv[3], drawn)


if __name__ == "__main__":
    main()
