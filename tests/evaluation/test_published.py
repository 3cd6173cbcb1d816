"""Loading published weights: found, read as tensors only, told when missing. Checkpoints are random, of true layout;
torch-fidelity and pyiqa, which few machines have, are played by modules with their signatures."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.losses.lpips_checkpoints import random_lpips
from unscene.evaluation import published
from unscene.evaluation.metric_error import MetricError
from unscene.evaluation.published import BACKBONES, INCEPTION, MUSIQ, load_inception, load_lpips, load_musiq
from unscene.losses.perceptual import perceptual_distance


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty caches, no network, none of the packages."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(published, "HEADS", {})
    for name in ("torch_fidelity", "torch_fidelity.feature_extractor_inceptionv3", "pyiqa"):
        monkeypatch.setitem(sys.modules, name, None)  # pyright: ignore[reportArgumentType]


def write_lpips(folder: Path, network: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    folder.mkdir(parents=True, exist_ok=True)
    backbone, heads = random_lpips(network)
    torch.save(backbone, folder / BACKBONES[network].file)
    torch.save(heads, folder / f"lpips_{network}.pth")
    return backbone, heads


def images(seed: int) -> Tensor:
    return torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("network", ["alex", "vgg"])
def test_lpips_from_a_folder_given(tmp_path: Path, network) -> None:
    backbone, heads = write_lpips(tmp_path, network)
    features = load_lpips(network, tmp_path)
    direct = published.lpips_features(network, backbone, heads)
    wanted = perceptual_distance(direct, images(0), images(1))
    torch.testing.assert_close(perceptual_distance(features, images(0), images(1)), wanted)
    save_file(backbone, tmp_path / "other.safetensors")
    (tmp_path / BACKBONES[network].file).unlink()
    (tmp_path / "other.safetensors").rename((tmp_path / BACKBONES[network].file).with_suffix(".safetensors"))
    torch.testing.assert_close(perceptual_distance(load_lpips(network, tmp_path), images(0), images(1)), wanted)


def test_lpips_from_the_cache_and_a_package_that_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lpips(tmp_path / "hub" / "checkpoints", "alex")
    with pytest.raises(MetricError, match=r"expected LPIPS's linear layers.*pip install torchmetrics"):
        load_lpips("alex")
    package = tmp_path / "site" / "headsofmine"
    (package / "weights").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "hub" / "checkpoints" / "lpips_alex.pth").rename(package / "weights" / "alex.pth")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setattr(published, "HEADS", {"notthere": "weights", "headsofmine": "weights"})
    assert len(load_lpips("alex").weights) == 5 and "headsofmine" not in sys.modules


def test_missing_weights_are_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MetricError) as error:
        load_lpips("vgg", tmp_path)
    assert str(error.value).replace(str(tmp_path), "HERE") == (
        "lpips-vgg: expected the published weights vgg16-397923af.pth, found none in HERE, HERE/hub/checkpoints, "
        "HERE/hub/pyiqa, and cannot fetch them (HF_HUB_OFFLINE is set); fetch "
        "https://download.pytorch.org/models/vgg16-397923af.pth elsewhere and give its folder with --weights, or "
        "measure in the bundled features: --metrics perceptual frechet kernel."
    )


@pytest.mark.parametrize("sound", [True, False])
def test_a_fetched_file_is_kept_if_its_digits_are_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sound: bool
) -> None:
    """The real downloader, from a file of this machine."""
    import hashlib

    monkeypatch.delenv("HF_HUB_OFFLINE")
    write_lpips(tmp_path / "far", "alex")
    source = tmp_path / "far" / BACKBONES["alex"].file
    digits = hashlib.sha256(source.read_bytes()).hexdigest()[:8] if sound else "00000000"
    published_file = published.Weights(f"alexnet-{digits}.pth", source.as_uri())
    monkeypatch.setitem(BACKBONES, "alex", published_file)
    (tmp_path / "own").mkdir()
    torch.save(random_lpips("alex")[1], tmp_path / "own" / "lpips_alex.pth")
    kept = tmp_path / "hub" / "checkpoints" / published_file.file
    if sound:
        assert len(load_lpips("alex", tmp_path / "own").weights) == 5 and kept.is_file()
    else:
        with pytest.raises(MetricError, match=r"cannot fetch them .*invalid hash value"):
            load_lpips("alex", tmp_path / "own")
        assert not kept.exists()


class Malicious:
    def __reduce__(self):
        return (pytest.fail, ("code from a file has run",))


def test_files_that_are_no_such_weights(tmp_path: Path) -> None:
    write_lpips(tmp_path, "alex")
    file = tmp_path / BACKBONES["alex"].file
    for content, words in (
        (b"", "expected the published weights, got something else"),
        (b"<html>not found</html>", "expected tensors and nothing else"),
        (pickle.dumps(Malicious()), "expected tensors and nothing else"),
    ):
        file.write_bytes(content)
        with pytest.raises(MetricError, match=words):
            load_lpips("alex", tmp_path)
    torch.save({"params": {"a": torch.zeros(1)}}, file)
    with pytest.raises(MetricError, match="expected a table of named tensors"):
        load_lpips("alex", tmp_path)
    torch.save(random_lpips("vgg")[0], file)
    with pytest.raises(MetricError, match=r"alexnet.*expected a tensor features\.3\.weight.*linear layers came from"):
        load_lpips("alex", tmp_path)


class Extractor(nn.Module):
    """torch-fidelity's FeatureExtractorInceptionV3, but for the network: it unpickles whatever it is given."""

    def __init__(self, name, features_list, feature_extractor_weights_path=None):
        super().__init__()
        assert features_list == ["2048"]
        self.scale = nn.Parameter(torch.zeros(3))
        self.load_state_dict(torch.load(feature_extractor_weights_path, weights_only=False))

    def forward(self, x: Tensor) -> tuple[Tensor]:
        assert x.dtype == torch.uint8 and x.shape[1] == 3
        return (x.float().mean((2, 3)) * self.scale,)


def test_inception_gets_bytes_and_weights_that_were_read_safely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fidelity, module = ModuleType("torch_fidelity"), ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    module.FeatureExtractorInceptionV3 = Extractor  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "torch_fidelity", fidelity)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    file = tmp_path / INCEPTION.file
    torch.save({"scale": torch.tensor([1.0, 2, 3])}, file)
    embed = load_inception(tmp_path)
    torch.testing.assert_close(embed(torch.full((2, 3, 4, 5), 0.5)), torch.tensor([[128.0, 256, 384]] * 2))
    torch.testing.assert_close(embed(torch.full((1, 3, 4, 5), 1.3)), torch.tensor([[255.0, 510, 765]]))
    torch.save({"other": torch.zeros(1)}, file)
    with pytest.raises(MetricError, match=r"got something else .*Missing key"):
        load_inception(tmp_path)
    file.write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(MetricError, match="expected tensors and nothing else"):
        load_inception(tmp_path)


def test_musiq_is_asked_for_an_opinion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Iqa(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(3, 1)

        def forward(self, image: Tensor) -> Tensor:
            assert image.min() >= 0 and image.max() <= 1  # pyiqa refuses others
            return self.net(image.mean((2, 3)))

    def create_metric(name: str, device: torch.device, pretrained: bool) -> Iqa:
        assert name == "musiq" and not pretrained  # else it would fetch weights of its own accord
        return Iqa()

    pyiqa = ModuleType("pyiqa")
    pyiqa.create_metric = create_metric  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "pyiqa", pyiqa)
    state = {"module.weight": torch.tensor([[1.0, 2, 3]]), "module.bias": torch.tensor([0.5])}
    torch.save(state, tmp_path / MUSIQ.file)
    assert float(load_musiq(tmp_path)(torch.full((1, 3, 8, 8), 1.01)).detach()) == pytest.approx(6.5)
    torch.save({"module.weight": torch.zeros(1, 4)}, tmp_path / MUSIQ.file)
    with pytest.raises(MetricError, match="got something else"):
        load_musiq(tmp_path)


@pytest.mark.parametrize(("load", "package"), [(load_inception, "torch-fidelity"), (load_musiq, "pyiqa")])
def test_a_package_that_is_missing_or_broken_is_told_with_its_command(
    load, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MetricError, match=rf"{package}, which cannot be imported .*pip install 'unscene\[metrics\]'"):
        load(tmp_path)
    root = "pyiqa" if package == "pyiqa" else "torch_fidelity"
    broken = tmp_path / "site" / root
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path / "site")
    for name in [name for name in sys.modules if name.split(".")[0] == root]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MetricError, match=r"\(operator torchvision::nms does not exist\).*of the same index"):
        load(tmp_path)
