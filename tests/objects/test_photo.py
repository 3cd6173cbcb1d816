"""Photos of one object: each way to cut it out, each error, and the geometry of the crop."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from unscene.objects.object_error import ObjectError
from unscene.objects.photo import ObjectPhoto, exif_field_of_view, read_object_photo

RED, GREEN, CREAM = (180, 40, 30), (40, 150, 60), (242, 240, 238)


def ellipse(
    width: int, height: int, center: tuple[float, float], radii: tuple[float, float], samples: int = 4
) -> np.ndarray:
    """Coverage of an ellipse, H W float32 in [0, 1], anti-aliased."""
    y, x = (np.arange(length * samples, dtype=np.float32) / samples for length in (height, width))
    inside = ((x[None] - center[0]) / radii[0]) ** 2 + ((y[:, None] - center[1]) / radii[1]) ** 2 < 1
    return cv2.resize(inside.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)


def over(coverage: np.ndarray, color: tuple[int, int, int], behind: np.ndarray | tuple[int, int, int]) -> np.ndarray:
    """H W 3 float32: a colour in front of another, or of a picture."""
    return coverage[..., None] * np.float32(color) + (1 - coverage[..., None]) * np.float32(behind)


def save(path: Path, pixels: np.ndarray, alpha: np.ndarray | None = None, **options: object) -> Path:
    pixels = pixels.clip(0, 255).round().astype(np.uint8)
    if alpha is not None:
        pixels = np.dstack([pixels, (alpha * 255).round().astype(np.uint8)])
    Image.fromarray(pixels).save(path, **options)
    return path


def read(path: Path, size: int = 64, **options: object) -> ObjectPhoto:
    return read_object_photo(path, **{"size": size, "field_of_view": 50.0, **options})


def photo_coordinates(photo: ObjectPhoto, width: int, height: int, field_of_view: float = 50.0) -> np.ndarray:
    """x and y in the whole photo of the crop's pixel centres, S S 2, by the two pinhole cameras alone."""
    focal = 0.5 * max(width, height) / math.tan(math.radians(field_of_view) / 2)
    centers = np.arange(photo.alpha.shape[0]) + 0.5
    x = (centers - photo.principal[0]) / photo.focal * focal + width / 2
    y = (centers - photo.principal[1]) / photo.focal * focal + height / 2
    return np.stack(np.meshgrid(x, y), -1)


def overlap(photo: ObjectPhoto, truth: np.ndarray) -> float:
    """Intersection over union of the photo's object and the truth, H W coverage of the whole photo."""
    where = photo_coordinates(photo, truth.shape[1], truth.shape[0]).astype(np.float32) - 0.5
    expected = cv2.remap(truth, where[..., 0], where[..., 1], cv2.INTER_LINEAR) > 0.5
    found = photo.alpha.numpy() > 0.5
    return (expected & found).sum() / (expected | found).sum()


def cluttered(width: int, height: int, seed: int = 0) -> np.ndarray:
    """A textured background of greens and blues, H W 3 float32."""
    rng = np.random.default_rng(seed)
    blotches = cv2.resize(rng.uniform(0, 1, (height // 8, width // 8, 3)).astype(np.float32), (width, height))
    fine = rng.normal(0, 12, (height, width, 1))
    return (blotches * (60, 150, 150) + (10, 50, 60) + fine).astype(np.float32)


@pytest.fixture
def ball(tmp_path: Path) -> Path:
    """A red ball of radius 40 at (130, 70) of a transparent 200 x 150 photo."""
    coverage = ellipse(200, 150, (130, 70), (40, 40))
    return save(tmp_path / "ball.png", np.full((150, 200, 3), RED, np.float32), coverage)


def test_alpha_channel(ball: Path) -> None:
    photo = read(ball)
    assert photo.notes == ("cut out by its alpha channel",)
    assert photo.color.shape == (64, 64, 3) and photo.alpha.shape == (64, 64) and photo.depth is None
    assert photo.color.dtype == photo.alpha.dtype == torch.float32
    assert photo.alpha[32, 32] == 1 and photo.alpha[0].max() == 0
    assert (photo.color[photo.alpha == 0] == 1).all()
    torch.testing.assert_close(photo.color[32, 32], torch.tensor(RED) / 255)


def test_margin_is_free_on_each_side(ball: Path) -> None:
    columns = torch.nonzero(read(ball, 100, margin=0.2).alpha.amax(0) > 0.5).flatten()
    assert abs(int(columns[0]) - 20) <= 1 and abs(int(columns[-1]) - 79) <= 1


def test_box_is_not_needed_with_an_alpha_channel(ball: Path) -> None:
    assert "ignored" in read(ball, box=(1, 1, 50, 50)).notes[1]


@pytest.mark.parametrize("size", [48, 61, 300])
def test_points_project_where_the_photo_shows_them(tmp_path: Path, size: int) -> None:
    focal = 160 / math.tan(math.radians(40) / 2)
    points = np.array([[0.11, 0.04, 1.0], [0.21, 0.16, 1.3], [0.07, 0.17, 1.1]])
    seen = points[:, :2] / points[:, 2:] * focal + (160, 120)
    pixels, alpha = np.full((240, 320, 3), 255, np.float32), ellipse(320, 240, (215, 160), (70, 60))
    for channel, (x, y) in enumerate(seen):
        pixels[..., channel] -= 255 * ellipse(320, 240, (x, y), (5, 5))
    photo = read(save(tmp_path / "points.png", pixels, alpha), size, field_of_view=40)
    projected = points[:, :2] / points[:, 2:] * photo.focal + np.array(photo.principal)
    dark = (1 - photo.color).numpy() * photo.alpha.numpy()[..., None]
    centers = np.arange(size) + 0.5
    for channel in range(3):
        spot = dark[..., channel] / dark[..., channel].sum()
        found = (spot.sum(0) @ centers, spot.sum(1) @ centers)
        np.testing.assert_allclose(found, projected[channel], atol=0.05 * size / 48)


def test_shrinking_leaves_no_halo(tmp_path: Path) -> None:
    coverage = ellipse(800, 800, (400, 400), (280, 280))
    plain = save(tmp_path / "plain.png", over(coverage, (20, 20, 30), (250, 250, 250)))
    hidden = np.where(coverage[..., None] > 0, np.float32((20, 20, 30)), np.float32((255, 0, 255)))
    for path in (plain, save(tmp_path / "hidden.png", hidden, coverage)):
        photo = read(path, 100)
        seen = photo.alpha > 0.02
        assert ((photo.alpha > 0.02) & (photo.alpha < 0.98)).any()
        assert (photo.color[seen] * 255 - torch.tensor([20, 20, 30])).abs().max() < 6


def test_crop_beyond_the_photo_is_transparent(tmp_path: Path) -> None:
    coverage = ellipse(120, 120, (0, 60), (50, 50))
    photo = read(save(tmp_path / "left.png", np.full((120, 120, 3), RED, np.float32), coverage))
    assert "what is cut off stays cut off" in photo.notes[1]
    outside = photo_coordinates(photo, 120, 120)[..., 0] < -1
    assert outside.any()
    assert (photo.alpha[torch.from_numpy(outside)] == 0).all() and (photo.color[torch.from_numpy(outside)] == 1).all()
    assert overlap(photo, coverage) > 0.97


@pytest.mark.parametrize("quality", [60, 90])
def test_plain_background_with_jpeg_noise_and_vignetting(tmp_path: Path, quality: int) -> None:
    coverage = ellipse(400, 300, (180, 150), (90, 70))
    y, x = np.mgrid[-1:1:300j, -1:1:400j]
    vignetting = 1 - 0.08 * (x**2 + y**2)
    noise = np.random.default_rng(0).normal(0, 2, (300, 400, 1))
    pixels = over(coverage, GREEN, CREAM) * vignetting[..., None] + noise
    photo = read(save(tmp_path / "plain.jpg", pixels, quality=quality), 160)
    assert overlap(photo, coverage) > 0.97
    assert photo.notes[0].startswith("cut out by a plain background of colour #d") and len(photo.notes) == 1


def test_plain_background_is_named(tmp_path: Path) -> None:
    pixels = over(ellipse(100, 100, (50, 50), (30, 30)), RED, CREAM)
    assert read(save(tmp_path / "ball.png", pixels)).notes == ("cut out by a plain background of colour #f2f0ee",)


def test_edge_in_front_of_plain_background_is_soft(tmp_path: Path) -> None:
    coverage = ellipse(200, 200, (100, 100), (70, 70))
    photo = read(save(tmp_path / "ball.png", over(coverage, RED, CREAM)), 200, margin=0.15)
    where = photo_coordinates(photo, 200, 200).astype(np.float32) - 0.5
    truth = cv2.remap(coverage, where[..., 0], where[..., 1], cv2.INTER_LINEAR)
    assert np.abs(photo.alpha.numpy() - truth).max() < 0.05


def test_inside_of_background_colour_stays(tmp_path: Path) -> None:
    ball, label = ellipse(200, 200, (100, 100), (70, 70)), ellipse(200, 200, (100, 100), (30, 20))
    photo = read(save(tmp_path / "label.png", over(label, (255, 255, 255), over(ball, RED, (255, 255, 255)))), 100)
    assert (photo.alpha[45:55, 45:55] == 1).all() and overlap(photo, ball) > 0.97


def test_object_at_the_border_of_a_plain_background(tmp_path: Path) -> None:
    coverage = ellipse(200, 200, (100, 200), (60, 90))
    photo = read(save(tmp_path / "standing.png", over(coverage, RED, CREAM)), 100)
    assert overlap(photo, coverage) > 0.97 and "border" in photo.notes[1]


@pytest.mark.parametrize("scale", [1, 4])
def test_grabcut_finds_an_ellipse_in_clutter(tmp_path: Path, scale: int) -> None:
    coverage = ellipse(300 * scale, 240 * scale, (160 * scale, 110 * scale), (60 * scale, 45 * scale), 2)
    background = cv2.resize(cluttered(300, 240), (300 * scale, 240 * scale))
    path = save(tmp_path / "clutter.png", over(coverage, RED, background))
    box = (90 * scale, 55 * scale, 140 * scale, 110 * scale)
    photo = read(path, 128, box=box)
    assert overlap(photo, coverage) > 0.9
    assert photo.notes == (f"cut out by GrabCut inside {box[2]} x {box[3]} pixels at ({box[0]}, {box[1]})",)
    edge = (photo.alpha > 0.05) & (photo.alpha < 0.95)
    assert edge.any() and (photo.color[edge] * 255 - torch.tensor(RED)).abs().max() < 30  # no green
    assert torch.equal(read(path, 128, box=box).alpha, photo.alpha)


def test_narrow_box_is_noted(tmp_path: Path) -> None:
    path = save(tmp_path / "clutter.png", over(ellipse(300, 240, (160, 110), (60, 45)), RED, cluttered(300, 240)))
    assert "box wider" in read(path, box=(110, 55, 110, 110)).notes[1]


def test_exif_orientation_is_respected(tmp_path: Path) -> None:
    upright = over(ellipse(120, 200, (60, 60), (30, 40)), RED, CREAM)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned a quarter to the left, as phones do
    turned = save(tmp_path / "turned.png", np.rot90(upright), exif=exif)
    straight = read(save(tmp_path / "upright.png", upright))
    photo = read(turned)
    torch.testing.assert_close(photo.color, straight.color)
    assert photo.principal == straight.principal and photo.principal[1] > photo.principal[0]


def test_field_of_view_of_exif(tmp_path: Path, ball: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0xA405] = 18
    path = save(tmp_path / "phone.jpg", np.zeros((40, 60, 3)), exif=exif)
    assert exif_field_of_view(path) == pytest.approx(90)
    assert exif_field_of_view(ball) is None


def save_depth(path: Path, depth: np.ndarray) -> Path:
    Image.fromarray(depth).save(path)
    return path


def test_depth_is_never_mixed(tmp_path: Path) -> None:
    coverage = ellipse(400, 400, (200, 200), (130, 90))
    pixels = save(tmp_path / "ball.png", np.full((400, 400, 3), RED, np.float32), coverage)
    halves = np.where(np.arange(400) < 190, 1000, 1200)[None].repeat(400, 0)
    depth = np.where(coverage >= 0.5, halves, 9000).astype(np.uint16)
    for size in (37, 500):
        photo = read(pixels, size, depth=save_depth(tmp_path / "depth.png", depth))
        assert photo.depth is not None and photo.depth.dtype == torch.float32
        assert set(photo.depth.unique().tolist()) == {0, 1000, 1200}
        assert ((photo.depth > 0) == (photo.alpha >= 0.5)).all()


def test_unknown_depth_stays_unknown(tmp_path: Path) -> None:
    coverage = ellipse(200, 200, (100, 100), (70, 70))
    depth = np.full((200, 200), 2.5, np.float32)
    depth[:100], depth[100:120] = np.nan, np.inf
    photo = read(
        save(tmp_path / "ball.png", over(coverage, RED, CREAM)), 64, depth=save_depth(tmp_path / "d.tiff", depth)
    )
    assert photo.depth is not None and set(photo.depth.unique().tolist()) == {0, 2.5}
    assert (photo.depth[:30] == 0).all() and photo.depth[40, 32] == 2.5
    assert photo.notes[-1] == "depth is known for 32% of the object"


def test_specks_go_and_loose_parts_stay(tmp_path: Path) -> None:
    chief, part = ellipse(300, 200, (110, 100), (70, 70)), ellipse(300, 200, (230, 100), (20, 20))
    speck = ellipse(300, 200, (280, 20), (6, 6))
    path = save(tmp_path / "parts.png", over(chief + part + speck, RED, CREAM))
    photo = read(path, 128)
    assert overlap(photo, chief + part) > 0.98 and photo.notes[1] == "with 1 loose part beside it"
    assert overlap(read(path, 128, largest=True), chief) > 0.98


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    both = ellipse(300, 200, (90, 100), (70, 70)) + ellipse(300, 200, (230, 100), (50, 50))
    return save(tmp_path / "pair.png", over(both, RED, CREAM))


def test_largest_of_several(pair: Path) -> None:
    photo = read(pair, largest=True)
    assert (
        overlap(photo, ellipse(300, 200, (90, 100), (70, 70))) > 0.97 and photo.notes[1] == "the largest of 2 objects"
    )


def test_several_objects(pair: Path) -> None:
    with pytest.raises(ObjectError, match=r"one object, got 2 .* 51% .* --largest"):
        read(pair)


def test_no_way_to_tell_the_object(tmp_path: Path) -> None:
    rough = np.random.default_rng(0).uniform(90, 150, (99, 99, 3))  # near one colour, but no plain one
    for name, pixels in (("clutter.png", cluttered(200, 200)), ("noise.png", rough)):
        with pytest.raises(ObjectError) as caught:
            read(save(tmp_path / name, pixels))
        for part in ("alpha channel", "plain background", "PNG with transparency", "--box X Y WIDTH HEIGHT", "GrabCut"):
            assert part in str(caught.value)


def test_files_that_are_no_photos(tmp_path: Path, ball: Path) -> None:
    text, cut, damaged, bomb = (tmp_path / name for name in ("text.png", "cut.png", "damaged.png", "bomb.png"))
    text.write_text("no image")
    cut.write_bytes(ball.read_bytes()[:300])
    damaged.write_bytes(ball.read_bytes()[:60] + bytes(200) + ball.read_bytes()[260:])
    header = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    checksum = struct.pack(">I", zlib.crc32(header))
    bomb.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + checksum + ball.read_bytes()[33:])
    expected = {
        tmp_path / "none.png": "no such file",
        tmp_path: "no such file",
        text: "no image that can be read",
        cut: "truncated or damaged",
        damaged: "truncated or damaged",
        bomb: "million pixels at most",
    }
    for path, words in expected.items():
        with pytest.raises(ObjectError, match=words):
            read(path)
        if path != damaged:
            with pytest.raises(ObjectError):
                exif_field_of_view(path)


def test_objects_and_photos_that_are_too_small(tmp_path: Path) -> None:
    blank = np.full((100, 100, 3), RED, np.float32)
    with pytest.raises(ObjectError, match="more than half opaque"):
        read(save(tmp_path / "empty.png", blank, np.zeros((100, 100))))
    with pytest.raises(ObjectError, match="more than half opaque"):
        read(save(tmp_path / "one_color.png", blank))
    with pytest.raises(ObjectError, match="tiny one of 20 x 20"):
        read(save(tmp_path / "tiny.png", blank, ellipse(100, 100, (50, 50), (10, 10))))
    with pytest.raises(ObjectError, match=r"32 pixels at least .* got 20 x 30"):
        read(save(tmp_path / "thumbnail.png", blank[:30, :20]))


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((0, 0, 0, 50), "one of 0 x 50"),
        ((10, 10, 30, -5), "one of 30 x -5"),
        ((150, 20, 60, 60), "partly or wholly outside"),
        ((-5, 20, 60, 60), "partly or wholly outside"),
        ((0, 0, 200, 150), "leaves nothing around it"),
    ],
)
def test_boxes_that_cannot_be(tmp_path: Path, box: tuple[int, int, int, int], words: str) -> None:
    path = save(tmp_path / "clutter.png", cluttered(200, 150))
    with pytest.raises(ObjectError, match=words):
        read(path, box=box)


def test_box_around_nothing(tmp_path: Path) -> None:
    path = save(tmp_path / "flat.png", np.full((150, 200, 3), CREAM, np.float32))
    with pytest.raises(ObjectError, match="GrabCut found nothing"):
        read(path, box=(50, 40, 80, 60))


def test_depth_that_cannot_be_used(tmp_path: Path, ball: Path) -> None:
    files = {
        "nearest pixel": np.ones((75, 100), np.uint16),
        "mode L": np.ones((150, 200), np.uint8),
        "0 or no number wherever": np.zeros((150, 200), np.uint16),
    }
    for words, depth in files.items():
        with pytest.raises(ObjectError, match=words):
            read(ball, depth=save_depth(tmp_path / "depth.png", depth))
    with pytest.raises(ObjectError, match=r"a depth image, but there is no such file"):
        read(ball, depth=tmp_path / "none.png")


def test_camera_that_cannot_be(ball: Path) -> None:
    with pytest.raises(ObjectError, match="between 0 and 180 degrees, got 180"):
        read(ball, field_of_view=180.0)
    with pytest.raises(ObjectError, match="margin"):
        read(ball, margin=0.5)


def test_grey_photos(tmp_path: Path) -> None:
    grey = over(ellipse(100, 100, (50, 50), (30, 30)), (50, 50, 50), (230, 230, 230))[..., 0]
    for name, pixels in (("8.png", grey.astype(np.uint8)), ("16.png", (grey * 257).astype(np.uint16))):
        Image.fromarray(pixels).save(tmp_path / name)
        photo = read(tmp_path / name)
        torch.testing.assert_close(photo.color[32, 32], torch.full((3,), 50 / 255), atol=0.01, rtol=0)


@pytest.mark.parametrize("way", ["alpha", "box", "plain"])
def test_large_photos_are_worked_on_reduced_with_the_same_geometry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """A photo of 2047 x 1535 pixels gives what its half does, within half a pixel, and speaks of its own pixels."""
    monkeypatch.setattr("unscene.objects.photo.LARGEST_WORKED_ON", 1280)
    center, radii, size = np.array((1150, 700)), np.array((300, 210)), 128
    photos, depth = [], np.full((1535, 2047), 2000, np.uint16)
    depth[:, :1150] = 1000
    for scale in (1, 2):
        width, height = 2047 // scale, 1535 // scale
        coverage = ellipse(width, height, tuple(center / scale), tuple(radii / scale), 1)
        behind = cv2.resize(cluttered(800, 600), (width, height)) if way == "box" else CREAM
        path = tmp_path / f"{scale}.png"
        save(path, over(coverage, RED, behind), coverage if way == "alpha" else None, compress_level=1)
        save_depth(
            tmp_path / "depth.png", np.ascontiguousarray(depth[: height * scale : scale, : width * scale : scale])
        )
        box = tuple(round(value / scale) for value in (750, 400, 800, 600)) if way == "box" else None
        photos.append(read(path, size, box=box, depth=tmp_path / "depth.png"))
    large, small = photos
    assert large.focal == pytest.approx(small.focal, rel=0.5 / size)
    np.testing.assert_allclose(large.principal, small.principal, atol=0.5)
    assert (large.alpha - small.alpha).abs().mean() < 0.01
    assert large.depth is not None and small.depth is not None
    assert set(large.depth.unique().tolist()) == {0, 1000, 2000}
    assert (large.depth != small.depth).float().mean() < 0.02
    if way == "box":
        assert large.notes == ("cut out by GrabCut inside 800 x 600 pixels at (750, 400)",)
    extent = torch.nonzero(large.alpha.amax(0) > 0.5).flatten()
    truth = (np.array([-300, 300]) + center[0] - 2047 / 2) / (2047 / 2) * math.tan(math.radians(25))
    seen = truth * large.focal + large.principal[0]
    np.testing.assert_allclose([int(extent[0]), int(extent[-1]) + 1], seen, atol=1)


def test_boxes_in_large_photos_are_told_in_their_own_pixels(tmp_path: Path) -> None:
    path = save(tmp_path / "wide.png", np.full((200, 6000, 3), CREAM, np.float32))
    with pytest.raises(ObjectError, match="24 x 24 pixels at least within the photo's 6000 x 200, got one of 20 x 90"):
        read(path, box=(10, 10, 20, 90))
    with pytest.raises(ObjectError, match=r"the box of 700 x 90 pixels at \(5000, 50\), but GrabCut"):
        read(path, box=(5000, 50, 700, 90))
