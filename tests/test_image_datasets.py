"""Datasets of images that are prepared once: the rules, the official formats, the cache, and what is refused."""

import hashlib
import io
import json
import multiprocessing
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib import format as npy
from PIL import ExifTags, Image

from genmodels.data import image_folder, imagenet, mapped
from genmodels.data.base import Data, check_values, fingerprint_of, labelled
from genmodels.data.image_files import decode, header, images_in
from genmodels.data.image_rules import central_box, cropped_and_resized
from genmodels.data.loader import Loader
from genmodels.data.npz import read_npz
from genmodels.disk import archives
from genmodels.errors import UserError
from genmodels.fields import Field
from tests.helpers import epoch
from tests.test_data import make

RNG = np.random.default_rng(0)
ROOM = 4  # images of a CelebA split in these tests


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GENMODELS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "datasets"


def noise(h: int, w: int, c: int = 3) -> np.ndarray:
    return RNG.integers(256, size=(h, w, c), dtype=np.uint8).squeeze()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three class folders of 12 images each, of several sizes and formats; the class is the channel that is bright."""
    for number, name in enumerate(("ant", "bee", "cat")):
        for i in range(12):
            x = noise(20 + i, 30) // 4
            x[..., number] += 128
            file = tmp_path / "photos" / name / ("deep" if i % 2 else "") / f"{i}.{('png', 'webp')[i % 2]}"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(x).save(file, **({"lossless": True} if i % 2 else {}))
    return tmp_path / "photos"


def folder(path: Path, /, **changes: object) -> Data:
    small = {"path": str(path), "shape": [3, 16, 16], "n_test": 6, "n_validation": 5}
    return make("image_folder", **(small | changes))


def test_splits_of_a_folder_with_classes(photos: Path) -> None:
    data = folder(photos, classes=3)
    splits = [data.split(name) for name in ("train", "val", "test")]
    assert [tuple(split.x.shape) for split in splits] == [(25, 3, 16, 16), (5, 3, 16, 16), (6, 3, 16, 16)]
    for split in splits:
        assert split.x.float().mean((2, 3)).argmax(1).equal(split.condition["label"])  # labels stay with their images
    assert len({tuple(x.flatten().tolist()) for split in splits for x in split.x}) == 36
    assert len(splits[0].condition["label"].unique_consecutive()) > 6  # the first so many are of all classes
    assert folder(photos).split("train").condition == {}


def test_what_is_kept_is_the_part_that_was_cut_out_and_resized(photos: Path) -> None:
    wanted = {}
    for file in photos.rglob("*.*"):
        with Image.open(file) as image:
            w, h = image.size
            side = min(w, h)
            left, top = (w - side) // 2, (h - side) // 2
            part = image.convert("RGB").crop((left, top, left + side, top + side))
            wanted[np.asarray(part.resize((16, 16), Image.Resampling.BOX)).transpose(2, 0, 1).tobytes()] = file
    data = folder(photos, resize="box")
    kept = {x.numpy().tobytes() for name in ("train", "val", "test") for x in data.split(name).x}
    assert kept == set(wanted)


def test_grey_images(photos: Path) -> None:
    data = folder(photos, shape=[1, 10, 20])
    assert data.split("train").x.shape[1:] == (1, 10, 20) and data.prepared.endswith("resize lanczos to 10x20, grey")


@pytest.mark.parametrize(
    ("size", "wanted", "resize", "box"),
    [
        ((178, 218), (140, 140), "none", (19, 39, 159, 179)),
        ((178, 218), (64, 64), "box", (0, 20, 178, 198)),
        ((300, 200), (10, 20), "box", (100, 0, 200, 200)),
        ((301, 200), (30, 20), "box", (0, 0, 300, 200)),
        ((5, 400), (400, 5), "box", (0, 199, 5, 200)),
    ],
)
def test_central_boxes(size: tuple[int, int], wanted: tuple[int, int], resize: str, box: tuple[int, ...]) -> None:
    assert central_box(size, wanted, resize) == box


def test_an_image_is_never_distorted_or_resized_unasked() -> None:
    image = Image.new("RGB", (30, 20))
    assert cropped_and_resized(image, None, (15, 10), "lanczos", "a").size == (15, 10)
    with pytest.raises(UserError, match=r"a is 20x30, expected 10x10 .* or its proportions; .*data.crop"):
        cropped_and_resized(image, None, (10, 10), "lanczos", "a")
    with pytest.raises(UserError, match="a is 20x30, expected 10x15 .height x width.; .*data.resize"):
        cropped_and_resized(image, None, (15, 10), "none", "a")
    with pytest.raises(UserError, match="smaller than the 40x40"):
        cropped_and_resized(image, central_box(image.size, (40, 40), "none"), (40, 40), "none", "a")


def test_a_test_folder_of_its_own_has_the_classes_of_the_first(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "more" / "cat").mkdir(parents=True)
    Image.new("RGB", (20, 20), (0, 0, 255)).save(tmp_path / "more" / "cat" / "a.png")
    data = folder(photos, test_path=str(tmp_path / "more"), classes=3)
    assert data.split("test").condition["label"].tolist() == [2] and len(data.split("train").x) == 31
    (tmp_path / "more" / "cat").rename(tmp_path / "more" / "cow")
    with pytest.raises(UserError, match="in no folder of a class, expected one of ant, bee, cat"):
        folder(photos, test_path=str(tmp_path / "more"), classes=3).split("test")


def test_images_are_decoded_once(photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = folder(photos, classes=3)
    prints = {name: fingerprint_of(first.split(name)) for name in ("train", "val", "test")}
    monkeypatch.setattr(image_folder, "open_upright", None)  # decodes
    again = folder(photos, classes=3)
    assert {name: again.fingerprint(name) for name in prints} == prints
    assert again.split("train").x.equal(first.split("train").x) and again.split("train").condition["label"].equal(
        first.split("train").condition["label"]
    )
    monkeypatch.undo()
    monkeypatch.setenv("GENMODELS_CACHE", str(cache.parent))
    for changes in ({"resize": "box"}, {"split_seed": 1}, {"n_test": 7}, {"shape": [3, 8, 8]}, {"classes": None}):
        assert folder(photos, **({"classes": 3} | changes)).fingerprint("train") != prints["train"]
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 6


def test_prepared_images_are_known_by_content(photos: Path, tmp_path: Path) -> None:
    first = folder(photos)
    for file in photos.rglob("*.*"):
        os.utime(file, (1, 1))
    assert folder(photos).folder == first.folder  # only the times are others
    shutil.copytree(photos, tmp_path / "copy")  # with the times
    assert folder(tmp_path / "copy").folder == first.folder
    file = next((tmp_path / "copy").rglob("*.png"))
    size = file.stat().st_size
    Image.new("RGB", Image.open(file).size).save(file)
    file.write_bytes(file.read_bytes().ljust(size, b"\0"))  # other pixels; name, size and time are as before
    os.utime(file, (1, 1))
    prints = [[of.fingerprint(name) for name in mapped.SPLITS] for of in (first, folder(tmp_path / "copy"))]
    assert sum(before != now for before, now in zip(*prints, strict=True)) == 1


def test_every_image_in_a_folder_is_found(tmp_path: Path) -> None:
    """Behind links to folders and files, of every kind; a link to where it lies leads nowhere."""
    elsewhere, here = tmp_path / "elsewhere", tmp_path / "here"
    for place in (elsewhere, here, here / ".hidden"):
        place.mkdir()
    for suffix in ("png", "bmp", "tif", "jpg", "webp", "ppm"):
        Image.new("RGB", (9, 9)).save(elsewhere / f"a.{suffix}")
    Image.new("RGB", (9, 9)).save(here / ".hidden" / "b.png")
    (here / "cat").symlink_to(elsewhere)
    (here / "dog.png").symlink_to(elsewhere / "a.png")
    (elsewhere / "up").symlink_to(elsewhere)
    wanted = [f"cat/a.{suffix}" for suffix in ("bmp", "jpg", "png", "ppm", "tif", "webp")] + ["dog.png"]
    assert [file.relative_to(here).as_posix() for file in images_in(here)] == wanted
    (elsewhere / "c.gif").touch()
    with pytest.raises(UserError, match=r"cat/c.gif is an image of an unsupported kind; convert it"):
        images_in(here)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_photographs_are_turned_upright(tmp_path: Path, suffix: str) -> None:
    x = np.zeros((8, 16, 3), np.uint8)
    x[:, :8] = 200  # the left half is bright
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # to be turned by a quarter, clockwise: the left becomes the top
    Image.fromarray(x).save(tmp_path / f"a.{suffix}", exif=exif)
    assert header(tmp_path / f"a.{suffix}") == (16, 8, 3)
    upright = decode(tmp_path / f"a.{suffix}", 3)
    assert upright.shape == (3, 16, 8) and upright[:, :7].min() > 180 and upright[:, 9:].max() < 20


def test_a_damaged_note_of_orientation_does_no_harm(tmp_path: Path) -> None:
    Image.new("RGB", (8, 4)).save(tmp_path / "a.jpg", exif=b"Exif\0\0no TIFF")
    assert decode(tmp_path / "a.jpg", 3).shape == (3, 4, 8)


def test_of_what_a_camera_keeps_in_one_file_the_photograph_is_taken(tmp_path: Path) -> None:
    photo, preview = Image.new("RGB", (16, 8), "white"), Image.new("RGB", (4, 2))
    photo.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[preview])
    assert header(tmp_path / "a.jpg") == (8, 16, 3) and decode(tmp_path / "a.jpg", 1).min() > 250


def png_of_16_bits(file: Path) -> None:
    """Two pixels in colours, written by hand: Pillow writes none."""
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(13))),
        (b"IEND", b""),
    ]
    chunks = (struct.pack(">I", len(x)) + name + x + struct.pack(">I", zlib.crc32(name + x)) for name, x in parts)
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def test_colours_of_16_bits_are_refused(tmp_path: Path) -> None:
    png_of_16_bits(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").mode == "RGB"  # Pillow drops half of the bits
    for read in (header, lambda file: decode(file, 3)):
        with pytest.raises(UserError, match="a.png has values of mode RGB;16, expected 8 bits a channel"):
            read(tmp_path / "a.png")


def test_batches_out_of_a_file_are_those_out_of_memory(photos: Path) -> None:
    data = folder(photos, flip=True)
    split = data.training_split()
    ours = {"visit": data.visit, "batch_size": 8, "seed": 0, "rank": 0, "world_size": 1}
    loader = Loader(split=split, device=torch.device("cpu"), **ours)
    in_memory = Loader(split=labelled(split.x.clone(), None), device=torch.device("cpu"), **ours)
    for (x, _), (wanted, _) in zip(epoch(loader), epoch(in_memory), strict=True):
        assert x.equal(wanted)
        x.zero_()  # a batch is a copy
    assert fingerprint_of(split) == data.fingerprint("train")


def test_a_dataset_larger_than_memory(tmp_path: Path) -> None:
    """Twice the machine's memory, in a file with a hole: nothing reads it as a whole."""
    shape = (3, 256, 256)
    n = 2 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // int(np.prod(shape))
    with (tmp_path / "train.npy").open("wb") as file:
        mapped.write_header(file, (n, *shape))
        file.truncate(file.tell() + n * int(np.prod(shape)))
    split = mapped.load_split(tmp_path, "train")
    check_values(split.x, Field("image", shape, 256), "large")
    loader = Loader(
        split=split,
        visit=lambda x, condition, generator: (x, condition),
        batch_size=8,
        seed=0,
        rank=0,
        world_size=1,
        device=torch.device("cpu"),
    )
    assert len(loader) == n // 8 and not loader.batch(len(loader) - 1)[0].any()


def read_in_a_process(path: Path, wait: object, queue: object) -> None:
    wait.wait()  # type: ignore[attr-defined]
    queue.put(folder(path, n_test=0).fingerprint("train"))  # type: ignore[attr-defined]


def test_two_processes_prepare_it_once(photos: Path, cache: Path, capfd: pytest.CaptureFixture) -> None:
    context = multiprocessing.get_context("fork")
    barrier, queue = context.Barrier(2), context.Queue()
    both = [context.Process(target=read_in_a_process, args=(photos, barrier, queue)) for _ in range(2)]
    for process in both:
        process.start()
    assert queue.get(timeout=60) == queue.get(timeout=60) == folder(photos, n_test=0).fingerprint("train")
    assert capfd.readouterr().err.count("preparing 36 images, once") == 1
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 1
    for process in both:
        process.join()


def test_what_fails_or_is_killed_half_way_leaves_nothing_that_is_believed(photos: Path, cache: Path) -> None:
    broken = next(photos.rglob("*.png"))
    whole = broken.read_bytes()
    broken.write_bytes(whole[:-40])
    with pytest.raises(UserError, match=f"{broken.name} cannot be read"):
        folder(photos).split("train")
    assert not [path for path in cache.iterdir() if path.is_dir()]
    broken.write_bytes(whole)
    data = folder(photos)
    place = data.folder
    place.rename(place.with_suffix(".unfinished"))  # as if it had been killed before it was whole
    (place.with_suffix(".unfinished") / "train.npy").write_bytes(b"")
    assert folder(photos).split("train").x.float().mean() > 20
    assert [path for path in cache.iterdir() if path.is_dir()] == [place]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"path": "nowhere"}, "nowhere is not a folder, expected one with images; correct data.path"),
        ({"test_path": "nowhere"}, "nowhere is not a folder"),
        ({"n_test": 30, "n_validation": 6}, "cannot hold out 30 and 6 of the 36 images"),
        ({"n_validation": -1}, "cannot hold out 6 and -1"),
        ({"classes": 4}, "in 3 sub-folders, expected one for each of 4 classes"),
        ({"levels": 17}, "levels 17, expected .* 256"),
        ({"shape": [2, 8, 8]}, r"shape \[2, 8, 8\]"),
        ({"crop": "none"}, "expected 16x16 .height x width. or its proportions"),
        ({"crop": "none", "resize": "none"}, "expected 16x16"),
        ({"resize": "none", "shape": [3, 24, 24]}, "smaller than the 24x24"),
    ],
)
def test_wrong_settings_of_a_folder(photos: Path, changes: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        folder(photos, **changes).split("train")


def test_a_bomb_and_other_images_that_are_none(photos: Path) -> None:
    Image.new("1", (16000, 12000)).save(photos / "bomb.png")
    with pytest.raises(UserError, match="bomb.png has more than 89478485 pixels"):
        folder(photos).split("train")
    (photos / "bomb.png").write_bytes(b"no image")
    with pytest.raises(UserError, match="bomb.png cannot be read"):
        folder(photos).split("train")
    with pytest.raises(UserError, match="bomb.png is in no folder of a class"):
        folder(photos, classes=3).split("train")


def test_a_cache_that_cannot_be_written(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GENMODELS_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"cannot write .*expected room for 0 MB; set GENMODELS_CACHE"):
        folder(photos).split("train")


def test_the_rules_are_part_of_every_results_protocol(photos: Path, genmodels: Callable, tmp_path: Path) -> None:
    words = [f"data.path={photos}", "data.shape=[3,16,16]", "data.classes=3", "data.n_test=6", "data.n_validation=5"]
    quick = ["trainer=smoke", "logger=csv", "callbacks=none", "data.batch_size=8", "evaluator=[likelihood,fid]"]
    small = ["features.steps=5", "features.width=4", "features.dim=8", "evaluator.fid.n=9"]
    status, err = genmodels("train", "data=image_folder", *words, *quick, *small, "hydra.run.dir=run")
    assert status == 0, err
    results = json.loads((tmp_path / "run" / "results.json").read_text())["results"]
    assert {result["protocol"]["reference_prepared"] for result in results} == {"crop center, resize lanczos to 16x16"}
    assert {result["metric"] for result in results} >= {"bits_per_dim", "fid_classifier_9"}


# CelebA


@pytest.fixture
def celeba(tmp_path: Path) -> Path:
    """A root with the aligned images of a very small CelebA, unpacked."""
    images = tmp_path / "celeba" / "img_align_celeba"
    images.mkdir(parents=True)
    lines = []
    for i in range(3 * ROOM):
        x = np.repeat(np.repeat(noise(11, 9), 20, 0), 20, 1)[:218, :178]
        Image.fromarray(x).save(images / f"{i + 1:06}.jpg", quality=95)
        lines.append(f"{i + 1:06}.jpg {i // ROOM}\n")
    (images.parent / "list_eval_partition.txt").write_text("".join(lines))
    return tmp_path


def pack(root: Path) -> Path:
    """The unpacked folder turned into the official archive."""
    images = root / "celeba" / "img_align_celeba"
    with zipfile.ZipFile(images.with_suffix(".zip"), "w") as archive:
        for file in sorted(images.iterdir()):
            archive.write(file, f"img_align_celeba/{file.name}")
    images.rename(root / "elsewhere")
    return images.with_suffix(".zip")


def faces(root: Path, **changes: object) -> Data:
    return make("celeba", root=str(root), **({"verify": False} | changes))


def test_celeba_is_read_unpacked_or_from_the_archive(celeba: Path) -> None:
    data = faces(celeba)
    assert [len(data.split(name).x) for name in ("train", "val", "test")] == [ROOM] * 3
    assert data.split("test").x.shape == (ROOM, 3, 64, 64) and data.split("test").condition == {}
    assert data.prepared == "crop center140, resize bilinear to 64x64"
    wanted = [data.fingerprint(name) for name in ("train", "val", "test")]
    archive = pack(celeba)
    assert [faces(celeba).fingerprint(name) for name in ("train", "val", "test")] == wanted
    md5 = [hashlib.md5(path.read_bytes()).hexdigest() for path in (archive.parent / "list_eval_partition.txt", archive)]
    os.utime(archive, (1, 1))
    assert faces(celeba, verify=True, md5=md5).fingerprint("val") == wanted[1]
    assert not (celeba / "celeba" / "img_align_celeba").exists()


@pytest.mark.parametrize(
    ("crop", "rows", "columns"),
    [
        ("none", (0, 218), (0, 178)),
        ("center140", (39, 179), (19, 159)),
        ("top40_148", (40, 188), (15, 163)),
        ("eyes128", (57, 185), (25, 153)),
    ],
)
def test_crops_of_celeba(celeba: Path, crop: str, rows: tuple[int, int], columns: tuple[int, int]) -> None:
    with Image.open(celeba / "celeba" / "img_align_celeba" / "000005.jpg") as image:
        wanted = np.asarray(image)[slice(*rows), slice(*columns)].transpose(2, 0, 1)
    data = faces(celeba, crop=crop, resize="none", shape=list(wanted.shape))
    assert (data.split("val").x[0].numpy() == wanted).all()


def test_wrong_files_of_celeba(celeba: Path) -> None:
    partition = celeba / "celeba" / "list_eval_partition.txt"
    with pytest.raises(UserError, match="list_eval_partition.txt has md5 .* expected d32c9cbf.*data.verify=false"):
        faces(celeba, verify=True).split("train")
    whole = partition.read_text()
    partition.write_text(whole + "000013.jpg 3\n")
    with pytest.raises(UserError, match="list_eval_partition.txt cannot be read .it has lines unlike"):
        faces(celeba).split("train")
    partition.write_text(whole.replace("000001", "../000001"))
    with pytest.raises(UserError, match="lines unlike"):
        faces(celeba).split("train")
    partition.write_text(whole + "000013.jpg 2\n")
    with pytest.raises(UserError, match="000013.jpg is not there"):
        faces(celeba).split("train")
    pack(celeba)
    with pytest.raises(UserError, match="zip cannot be read .000013.jpg is missing or larger"):
        faces(celeba).split("train")
    partition.write_text(whole)
    with pytest.raises(UserError, match="img_align_celeba.zip has md5 .* expected 00d2c5bc"):
        faces(celeba, verify=True, md5=[hashlib.md5(whole.encode()).hexdigest(), make("celeba").md5[1]]).split("train")
    (celeba / "celeba" / "img_align_celeba.zip").write_bytes(b"PK broken")
    with pytest.raises(UserError, match="img_align_celeba.zip cannot be read"):
        faces(celeba).split("train")
    partition.unlink()
    with pytest.raises(UserError, match=f"put the official list_eval_partition.txt into the folder {celeba}"):
        faces(celeba).split("train")


def test_a_member_that_claims_to_be_huge_is_not_read(celeba: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = pack(celeba)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("img_align_celeba/000001.jpg", bytes(2**21))
    monkeypatch.setattr(zipfile.ZipFile, "read", None)
    with pytest.raises(UserError, match="000001.jpg is missing or larger than 1048576 bytes"):
        faces(celeba).split("train")


def test_celeba_has_aligned_images(celeba: Path) -> None:
    Image.new("RGB", (218, 178)).save(celeba / "celeba" / "img_align_celeba" / "000002.jpg")
    with pytest.raises(UserError, match="000002.jpg is 178x218, expected the aligned images of 218x178"):
        faces(celeba).split("train")


# ImageNet

BATCHES = (30, 20, 10)  # images in train_data_batch_1.npz, ... here


def write_batch(path: Path, n: int, side: int, first: int) -> np.ndarray:
    """An npz as published; image i has the label i % 1000 + 1, and is filled with i in its first row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number = np.arange(first, first + n)
    x = RNG.integers(256, size=(n, 3, side, side), dtype=np.uint8)
    x[:, :, 0] = number[:, None, None]
    np.savez(path, data=x.reshape(n, -1), labels=number % 1000 + 1, mean=np.zeros(3 * side**2))
    return x


@pytest.fixture
def small_imagenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, np.ndarray]:
    """A root with ImageNet 32x32 unpacked, small, and its training images in order; the tenth batch comes last."""
    monkeypatch.setattr(imagenet, "COPIED_AT_ONCE", 7)
    at = tmp_path / "imagenet32"
    names = ["train_data_batch_1", "train_data_batch_2", "train_data_batch_10"]
    x = [
        write_batch(at / "Imagenet32_train_npz" / f"{name}.npz", n, 32, sum(BATCHES[:i]))
        for i, (name, n) in enumerate(zip(names, BATCHES, strict=True))
    ]
    write_batch(at / "Imagenet32_val_npz" / "val_data.npz", 12, 32, 200)
    return tmp_path, np.concatenate(x)


def photographs(root: Path, **changes: object) -> Data:
    return make("imagenet32", root=str(root), **({"verify": False, "n_validation": 9} | changes))


def test_imagenet_is_read_unpacked_or_from_the_archives(small_imagenet: tuple[Path, np.ndarray]) -> None:
    root, x = small_imagenet
    data = photographs(root)
    train, val, test = (data.split(name) for name in ("train", "val", "test"))
    assert [len(split.x) for split in (train, val, test)] == [51, 9, 12]
    for split in (train, val, test):
        assert split.x[:, 0, 0, 0].long().equal(split.condition["label"])
    assert train.condition["label"].equal(train.condition["label"].sort().values) and sorted(
        [*train.condition["label"].tolist(), *val.condition["label"].tolist()]
    ) == list(range(60))
    assert (val.x.numpy() == x[val.condition["label"].numpy()]).all() and test.condition["label"].tolist() == list(
        range(200, 212)
    )
    assert photographs(root, classes=None).split("val").condition == {}
    prints = [data.fingerprint(name) for name in ("train", "val", "test")]
    sha256 = []
    for unpacked in sorted((root / "imagenet32").iterdir()):
        with zipfile.ZipFile(f"{unpacked}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for file in unpacked.iterdir():
                archive.write(file, f"{unpacked.name}/{file.name}")
        unpacked.rename(root / unpacked.name)
        sha256.append(hashlib.sha256(Path(f"{unpacked}.zip").read_bytes()).hexdigest())
    with pytest.raises(UserError, match="train_npz.zip has sha256 .* expected 94226337"):
        photographs(root, verify=True).split("train")
    assert [photographs(root).fingerprint(name) for name in ("train", "val", "test")] == prints
    with pytest.raises(UserError, match="has 60|have 60 images, expected the official 1281167"):
        photographs(root, verify=True, sha256=sha256, n_validation=8).split("train")


def test_imagenet64_in_two_archives(tmp_path: Path) -> None:
    at = tmp_path / "imagenet64"
    for part, first in ((1, 0), (2, 5)):
        write_batch(at / f"Imagenet64_train_part{part}_npz" / f"train_data_batch_{5 * part}.npz", 5, 64, first)
    write_batch(at / "Imagenet64_val_npz" / "val_data.npz", 4, 64, 10)
    data = make("imagenet64", root=str(tmp_path), verify=False, n_validation=1)
    assert data.split("train").x.shape == (9, 3, 64, 64) and len(data.split("test").x) == 4


def claims(path: Path, key: str, shape: tuple[int, ...]) -> None:
    """An .npz whose only array says it has this shape, and has not."""
    header = io.BytesIO()
    npy.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{key}.npy", header.getvalue() + bytes(100))


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda file: file.unlink(), "has no .npz files"),
        (lambda file: file.write_bytes(b"PK broken"), "cannot be read"),
        (lambda file: np.savez(file, data=np.zeros((3, 3072), np.uint8)), "cannot be read .*labels"),
        (lambda file: np.savez(file, data=np.zeros((3, 3072), int), labels=[1, 2, 3]), "it has int64 data"),
        (lambda file: np.savez(file, data=np.zeros((3, 192), np.uint8), labels=[1, 2, 3]), r"of shape \(3, 192\)"),
        (lambda file: np.savez(file, data=np.array([{}]), labels=[1]), "cannot be read .*allow_pickle"),
        (lambda file: np.savez(file, data=np.zeros((3, 3072), np.uint8), labels=[0, 2, 3]), "labels -1..2"),
        (lambda file: claims(file, "labels", (10**12,)), "cannot be read"),
    ],
)
def test_wrong_files_of_imagenet(
    small_imagenet: tuple[Path, np.ndarray], write: Callable[[Path], None], says: str
) -> None:
    root, _ = small_imagenet
    write(root / "imagenet32" / "Imagenet32_val_npz" / "val_data.npz")
    with pytest.raises(UserError, match=says):
        photographs(root).split("train")


def test_imagenet_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Imagenet32_train_npz.zip is not there.*image-net.org.*data.root"):
        photographs(tmp_path).split("train")


# Arrays


@pytest.mark.parametrize("shape", [(10**12,), (10**6, 3, 1000, 1000), (2**62, 4)])
def test_an_array_that_claims_to_be_huge(tmp_path: Path, shape: tuple[int, ...]) -> None:
    claims(tmp_path / "a.npz", "images", shape)
    with pytest.raises(UserError, match="a.npz cannot be read"):
        read_npz(tmp_path / "a.npz")


def test_an_archive_that_unpacks_to_far_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "a.npz", images=np.zeros((2**20,), np.uint8))
    assert read_npz(tmp_path / "a.npz")["images"].size == 2**20
    monkeypatch.setattr(archives, "HARMLESS", 2**10)
    with pytest.raises(UserError, match="a.npz is refused: its [0-9]+ bytes would unpack to 104[0-9]+"):
        read_npz(tmp_path / "a.npz")
