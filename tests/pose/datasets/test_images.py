"""Images of all kinds, in folders and in archives: real small files, exact pixels, and one-line errors."""

from __future__ import annotations

import stat
import tracemalloc
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from supernet.errors import UserError
from supernet.pose.datasets.images import find_images, image_path, read_image

ORIENTATION = 0x0112  # EXIF tag


def image(height: int = 40, width: int = 60, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth colours, which JPEG keeps."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 3, columns * 4, (rows + columns + seed) * 2], axis=2).astype(np.uint8)


def encoded(pixels: NDArray[np.uint8], suffix: str = ".png") -> bytes:
    return cv2.imencode(suffix, pixels[..., ::-1])[1].tobytes()


def archive(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def test_grey_images_have_three_equal_channels(tmp_path: Path) -> None:
    grey = image()[..., 1]
    for suffix in ("png", "jpg"):
        Image.fromarray(grey).save(tmp_path / f"grey.{suffix}", quality=95)
        pixels = read_image(tmp_path / f"grey.{suffix}")
        assert pixels.shape == (40, 60, 3) and (pixels == pixels[..., :1]).all()
        assert np.abs(pixels[..., 0].astype(int) - grey).max() <= (0 if suffix == "png" else 4)


def test_cmyk_jpeg_becomes_rgb(tmp_path: Path) -> None:
    for number, colour in enumerate([(220, 30, 40), (30, 200, 60), (40, 50, 210), (250, 250, 250), (5, 5, 5)]):
        path = tmp_path / f"{number}.jpg"
        Image.new("RGB", (48, 32), colour).convert("CMYK").save(path, quality=98)
        with Image.open(path) as stored:
            assert stored.mode == "CMYK"
        pixels = read_image(path)
        assert pixels.shape == (32, 48, 3)
        assert np.abs(pixels.astype(int) - colour).max() <= 6, colour


def test_of_16_bits_the_upper_8_remain(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 2**16, (20, 30, 3), np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), deep[..., ::-1])
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), (deep >> 8).astype(np.uint8))


def test_transparency_is_dropped_and_palettes_are_resolved(tmp_path: Path) -> None:
    pixels = image()
    Image.fromarray(np.dstack([pixels, np.full((40, 60), 7, np.uint8)])).save(tmp_path / "clear.png")
    np.testing.assert_array_equal(read_image(tmp_path / "clear.png"), pixels)
    few = pixels // 128 * 128
    Image.fromarray(few).quantize(8).save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png"), few)


@pytest.mark.parametrize("mark", [3, 6, 8])
def test_the_orientation_mark_of_a_camera_is_not_applied(mark: int, tmp_path: Path) -> None:
    pixels = image()
    exif = Image.Exif()
    exif[ORIENTATION] = mark
    Image.fromarray(pixels).save(tmp_path / "marked.jpg", quality=95, exif=exif)
    Image.fromarray(pixels).save(tmp_path / "plain.jpg", quality=95)
    with Image.open(tmp_path / "marked.jpg") as stored:
        assert stored.getexif()[ORIENTATION] == mark
    np.testing.assert_array_equal(read_image(tmp_path / "marked.jpg"), read_image(tmp_path / "plain.jpg"))


def test_images_that_are_missing_or_corrupt_are_named(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    with pytest.raises(UserError, match=r"no\.jpg cannot be read \(No such file"):
        read_image(tmp_path / "no.jpg")
    with pytest.raises(UserError, match=r"cannot be read \(Is a directory"):
        read_image(tmp_path)
    for suffix in (".jpg", ".png"):
        data = encoded(pixels, suffix)
        for length in (0, 10, len(data) // 2, len(data) - 20):
            path = tmp_path / f"broken{suffix}"
            path.write_bytes(data[:length])
            with pytest.raises(UserError, match=rf"broken\{suffix} cannot be decoded \(truncated"):
                read_image(path)
    (tmp_path / "note.jpg").write_text("this is no image")
    with pytest.raises(UserError, match=r"note\.jpg cannot be decoded \(truncated, or not an image\)"):
        read_image(tmp_path / "note.jpg")
    (tmp_path / "whole.png").write_bytes(data)
    np.testing.assert_array_equal(read_image(tmp_path / "whole.png"), pixels)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("inner", ["", "val2017/"])
def test_images_are_read_out_of_archives(compression: int, inner: str, tmp_path: Path) -> None:
    members = {f"{inner}{number}.png": encoded(image(seed=number)) for number in range(3)}
    place = find_images(archive(tmp_path / "val2017.zip", members, compression))
    for number in (2, 0, 1):
        path = image_path(place, f"{number}.png")
        assert path.as_posix().endswith(f"/val2017.zip@/{number}.png")
        np.testing.assert_array_equal(read_image(path), image(seed=number))
    with pytest.raises(UserError, match=r"val2017\.zip holds no 9\.png: complete it"):
        read_image(image_path(place, "9.png"))


class Images(Dataset[NDArray[np.uint8]]):
    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return read_image(self.paths[index])


def test_worker_processes_read_one_archive_at_the_same_time(tmp_path: Path) -> None:
    members = {f"{number}.png": encoded(image(seed=number)) for number in range(40)}
    place = find_images(archive(tmp_path / "val2017.zip", members))
    paths = [image_path(place, name) for name in members]
    read_image(paths[0])  # the archive is open before the workers start
    loader: DataLoader[NDArray[np.uint8]] = DataLoader(Images(paths), batch_size=None, num_workers=2)
    for number, pixels in enumerate(loader):
        np.testing.assert_array_equal(pixels, image(seed=number))


def test_archives_that_are_corrupt_or_strange_are_named(tmp_path: Path) -> None:
    whole = archive(tmp_path / "whole.zip", {"a.png": encoded(image()), "b.txt": b"no image"}).read_bytes()
    with pytest.raises(UserError, match=r"whole\.zip@/b\.txt cannot be decoded"):
        read_image(tmp_path / "whole.zip@" / "b.txt")
    (tmp_path / "half.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"half\.zip is corrupt at a\.png \(File is not a zip file\)"):
        read_image(tmp_path / "half.zip@" / "a.png")
    with pytest.raises(UserError, match=r"none\.zip@/a\.png cannot be read \(No such file"):
        read_image(tmp_path / "none.zip@" / "a.png")
    spoiled = bytearray(whole)
    spoiled[60] ^= 255  # within the stored image
    (tmp_path / "spoiled.zip").write_bytes(spoiled)
    with pytest.raises(UserError, match=r"spoiled\.zip is corrupt at a\.png \(Bad CRC-32"):
        read_image(tmp_path / "spoiled.zip@" / "a.png")
    locked = bytearray(whole)
    for start in (whole.index(b"PK\x03\x04") + 6, whole.index(b"PK\x01\x02") + 8):
        locked[start] |= 1  # the flag of a password
    (tmp_path / "locked.zip").write_bytes(locked)
    with pytest.raises(UserError, match=r"locked\.zip cannot be read at a\.png \(.*password"):
        read_image(tmp_path / "locked.zip@" / "a.png")


def test_a_member_that_unpacks_to_no_sane_size_is_not_unpacked(tmp_path: Path) -> None:
    data = archive(tmp_path / "bomb.zip", {"a.png": bytes(1000)}).read_bytes()
    entry = data.index(b"PK\x01\x02")
    size = (2**30).to_bytes(4, "little")
    (tmp_path / "bomb.zip").write_bytes(data[: entry + 24] + size + data[entry + 28 :])
    with pytest.raises(UserError, match=r"bomb\.zip@/a\.png has 1024 MiB, no image has"):
        read_image(tmp_path / "bomb.zip@" / "a.png")


def test_a_member_that_unpacks_to_more_than_it_says_is_not_unpacked(tmp_path: Path) -> None:
    data = archive(tmp_path / "bomb.zip", {"a.png": bytes(2**26)}, zipfile.ZIP_DEFLATED).read_bytes()
    entry = data.index(b"PK\x01\x02")
    (tmp_path / "bomb.zip").write_bytes(data[: entry + 24] + (1000).to_bytes(4, "little") + data[entry + 28 :])
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=r"bomb\.zip is corrupt at a\.png \(Bad CRC-32"):
            read_image(tmp_path / "bomb.zip@" / "a.png")
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_a_file_of_no_sane_size_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(2**29)  # takes no room on the disk
    with pytest.raises(UserError, match=r"a\.png cannot be read \(has 512 MiB, more than the 256 MiB allowed here\)"):
        read_image(tmp_path / "a.png")


def test_a_link_in_an_archive_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(encoded(image()))
    link = zipfile.ZipInfo("a.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16  # as zip -y stores a symbolic link
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as file:
        file.writestr(link, str(tmp_path / "secret.png"))
    with pytest.raises(UserError, match=r"images\.zip@/a\.png cannot be decoded"):
        read_image(tmp_path / "images.zip@" / "a.png")


def test_the_place_of_images_is_a_folder_or_the_archive_beside_it(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    zipped = archive(tmp_path / "images" / "val2017.zip", {"a.png": encoded(image())})
    wanted = tmp_path / "images" / "val2017"
    assert find_images(wanted, tmp_path / "val2017") == zipped
    assert find_images(tmp_path / "images" / "val2017.zip@") == zipped
    assert find_images(zipped) == zipped
    assert find_images(tmp_path / "val2017", tmp_path / "nowhere") == tmp_path / "nowhere"
    (tmp_path / "val2017").mkdir()
    assert find_images(wanted, tmp_path / "val2017") == zipped
    wanted.mkdir()
    assert find_images(wanted, tmp_path / "val2017") == wanted


def test_the_place_itself_may_have_the_name_of_an_archive(tmp_path: Path) -> None:
    folder = tmp_path / "odd.zip"
    folder.mkdir()
    (folder / "a.png").write_bytes(encoded(image()))
    np.testing.assert_array_equal(read_image(image_path(find_images(folder), "a.png")), image())


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "x/../../a.png", "..\\a.png", "C:\\a.png", ""])
@pytest.mark.parametrize("place", ["images", "images.zip"])
def test_names_that_leave_the_folder_are_refused(name: str, place: str, tmp_path: Path) -> None:
    archive(tmp_path / "images.zip", {"../a.png": encoded(image())})
    with pytest.raises(UserError, match=rf"leads out of .*{place}: give names of files inside it"):
        image_path(tmp_path / place, name)


def test_names_may_have_folders(tmp_path: Path) -> None:
    (tmp_path / "train2017").mkdir()
    (tmp_path / "train2017" / "a.png").write_bytes(encoded(image()))
    np.testing.assert_array_equal(read_image(image_path(tmp_path, "train2017/a.png")), image())
    place = find_images(archive(tmp_path / "all.zip", {"train2017/a.png": encoded(image(seed=5))}))
    np.testing.assert_array_equal(read_image(image_path(place, "train2017/a.png")), image(seed=5))
