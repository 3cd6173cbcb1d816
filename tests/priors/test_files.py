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
