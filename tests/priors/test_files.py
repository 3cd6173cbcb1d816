"""Inpaintings made elsewhere."""

import cv2
import numpy as np
import pytest
import torch

from unscene.priors.files import FilesInpainter
from unscene.priors.prior_error import PriorError


@pytest.fixture
def folder(tmp_path):
    for name, value in (("a.png", 200), ("b.JPG", 60)):
        cv2.imwrite(str(tmp_path / name), np.full((40, 60, 3), value, np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def view():
    mask = torch.zeros(1, 20, 30, dtype=torch.bool)
    mask[:, 5:12, 8:20] = True
    return torch.rand(1, 20, 30, 3, generator=torch.Generator().manual_seed(0)), mask


def test_the_photo_s_name_decides_and_the_photo_stays_outside_the_mask(folder):
    prior, (image, mask) = FilesInpainter(folder), view()
    filled = prior.inpaint_named(["photos/a.jpg"], image, mask)  # larger than the photo: shrunk
    assert torch.equal(filled[~mask], image[~mask])
    torch.testing.assert_close(filled[mask], torch.full_like(filled[mask], 200 / 255))
    assert prior.has("b.png") and not prior.has("c.png") and prior.name.startswith("files:")


def test_errors_say_what_was_expected(folder, tmp_path):
    prior, (image, mask) = FilesInpainter(folder), view()
    with pytest.raises(PriorError, match=r"called c\.png or \.jpg"):
        prior.inpaint_named(["c.png"], image, mask)
    with pytest.raises(PriorError, match="photos with names"):
        prior.inpaint(image, mask, generator=torch.Generator())
    cv2.imwrite(str(folder / "d.png"), np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(PriorError, match="30x20 or a multiple, got 40x40"):
        FilesInpainter(folder).inpaint_named(["d"], image, mask)
    (folder / "e.png").write_bytes(b"no")
    with pytest.raises(PriorError, match="cannot be decoded"):
        FilesInpainter(folder).inpaint_named(["e"], image, mask)
    with pytest.raises(PriorError, match="expected a folder"):
        FilesInpainter(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PriorError, match="found no images"):
        FilesInpainter(tmp_path / "empty")


def test_folders_tell_photos_of_one_name_apart(tmp_path):
    for side, value in (("left", 200), ("right", 60)):
        (tmp_path / side).mkdir()
        cv2.imwrite(str(tmp_path / side / "1.png"), np.full((40, 60, 3), value, np.uint8))
    prior, (image, mask) = FilesInpainter(tmp_path), view()
    for name, value in (("photos/left/1.jpg", 200), ("right/1.jpg", 60)):
        filled = prior.inpaint_named([name], image, mask)
        torch.testing.assert_close(filled[mask], torch.full_like(filled[mask], value / 255))
    prior.check_names(["left/1.jpg", "right/1.jpg"])
    with pytest.raises(PriorError, match=r"one inpainting of 1\.jpg, got .*left/1\.png, .*right/1\.png"):
        prior.has("1.jpg")


def test_a_file_is_not_shared(folder):
    prior = FilesInpainter(folder)
    prior.check_names(["left/a.jpg", "right/b.jpg", "right/c.jpg"])
    with pytest.raises(PriorError, match=r"each of left/a\.jpg and right/a\.jpg, found only .*a\.png"):
        prior.check_names(["left/a.jpg", "right/a.jpg"])
    cv2.imwrite(str(folder / "a.jpg"), np.zeros((40, 60, 3), np.uint8))
    with pytest.raises(PriorError, match="one inpainting a photo"):
        FilesInpainter(folder)
