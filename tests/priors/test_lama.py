"""LaMa's two file formats, with a stand-in network of its interface."""

from __future__ import annotations

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from unscene.priors import lama
from unscene.priors.inpainter import Inpainter
from unscene.priors.lama import LamaInpainter
from unscene.priors.prior_error import PriorError


class HalfGrey(torch.nn.Module):
    """What LaMa's export is to the outside: (image, mask) -> image, the hole filled (here with the mask's half)."""

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        assert image.shape[2] % 8 == 0 and image.shape[3] % 8 == 0
        return image + 0.5 * mask


def views():
    generator = torch.Generator().manual_seed(0)
    masks = torch.zeros(2, 21, 34, dtype=torch.bool)
    masks[:, 4:15, 10:26] = True
    return torch.rand(2, 21, 34, 3, generator=generator), masks


@pytest.fixture
def torchscript(tmp_path):
    torch.jit.script(HalfGrey()).save(str(tmp_path / "big-lama.pt"))
    return tmp_path / "big-lama.pt"


def write_onnx(file, *, sides, scale=1.0):
    """image * scale + mask * scale / 2, for any size or for one."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, channels, *sides])
              for name, channels in (("image", 3), ("mask", 1), ("output", 3))]  # fmt: skip
    constants = [helper.make_tensor(n, TensorProto.FLOAT, [1], [v]) for n, v in (("scale", scale), ("half", 0.5))]
    nodes = [helper.make_node("Mul", ["mask", "half"], ["grey"]), helper.make_node("Add", ["image", "grey"], ["sum"]),
             helper.make_node("Mul", ["sum", "scale"], ["output"])]  # fmt: skip
    graph = helper.make_graph(nodes, "lama", values[:2], values[2:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(file))
    return file


def check(inpainter):
    images, masks = views()
    filled = inpainter.inpaint(images, masks, generator=torch.Generator())
    assert isinstance(inpainter, Inpainter)
    assert torch.equal(filled[~masks], images[~masks])
    torch.testing.assert_close(filled[masks], torch.full_like(filled[masks], 0.5), rtol=0, atol=0.02)


def test_torchscript_is_padded_to_its_multiple(torchscript):
    check(LamaInpainter(torchscript))


@pytest.mark.parametrize("sides", [("h", "w"), (32, 32)], ids=["any size", "one size"])
@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_onnx_of_any_size_or_one_in_either_range(tmp_path, sides, scale):
    file = write_onnx(tmp_path / "lama_fp32.onnx", sides=sides, scale=scale)
    inpainter = LamaInpainter(file)
    assert inpainter.size == (None if sides == ("h", "w") else (32, 32))
    if sides == ("h", "w"):
        check(inpainter)
    else:  # resized, so a seam of the hole's border may show
        images, masks = views()
        inside = torch.zeros_like(masks)
        inside[:, 7:12, 14:22] = True
        filled = inpainter.inpaint(images, masks, generator=torch.Generator())
        torch.testing.assert_close(filled[inside], torch.full_like(filled[inside], 0.5), rtol=0, atol=0.05)


def test_it_is_found_in_the_caches(monkeypatch, tmp_path, torchscript):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    assert lama.find_lama() is None
    with pytest.raises(PriorError, match=r"found none; give the file, --prior lama:"):
        LamaInpainter()
    snapshot = tmp_path / "hf" / "models--Carve--LaMa-ONNX" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    write_onnx(snapshot / "lama_fp32.onnx", sides=(32, 32))
    assert lama.find_lama() == snapshot / "lama_fp32.onnx"
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torchscript.rename(tmp_path / "hub" / "checkpoints" / "big-lama.pt")
    assert LamaInpainter().name == "lama:big-lama.pt"


@pytest.mark.parametrize("name", ["big-lama.pt", "lama.onnx"])
def test_a_damaged_file_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\x03\x04 not much of an archive")
    with pytest.raises(PriorError, match=rf"{name}: expected"):
        LamaInpainter(tmp_path / name)
    with pytest.raises(PriorError, match=r"nowhere\.pt, found none"):
        LamaInpainter(tmp_path / "nowhere.pt")


def test_pickled_weights_are_not_unpickled(tmp_path):
    """A checkpoint of torch.save is no TorchScript archive: it is refused, not run."""
    torch.save({"weight": torch.zeros(3)}, tmp_path / "lama.pt")
    with pytest.raises(PriorError, match="TorchScript"):
        LamaInpainter(tmp_path / "lama.pt")
