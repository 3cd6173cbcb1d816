"""Shap-E with random weights of its published layout, and a renderer whose surface is known: an octahedron."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from pathlib import Path

import pytest
import torch
from diffusers import HeunDiscreteScheduler, PriorTransformer
from diffusers.pipelines.shap_e import ShapERenderer
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionConfig, CLIPVisionModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from unscene.priors.diffusion import hub_parts
from unscene.priors.novel_views.shap_e import NETWORKS, ShapE, clip_pixels, linear_to_srgb, load_shap_e, signed_volume
from unscene.priors.prior_error import PriorError

WIDTH, GRID, RADIUS = 8, 22, 0.6
COLOR = (0.8, 0.5, 0.02)

pytestmark = pytest.mark.usefixtures("one_thread")


def marching_cubes(*, outwards: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """The decoder's table, for every cube that one plane cuts: triangles 256 5 3 of edges, and which are used 256 5.

    A corner's number is x + 2 y + 4 z; edges are numbered along x, y and z in turn, as the decoder does.
    """
    corners = torch.tensor([[n & 1, n >> 1 & 1, n >> 2 & 1] for n in range(8)], dtype=torch.float32)
    edges = [(n, n | 1 << axis) for axis in range(3) for n in range(8) if not n >> axis & 1]
    cases, masks = torch.zeros(256, 5, 3, dtype=torch.long), torch.zeros(256, 5, dtype=torch.bool)
    for case in range(1, 255):
        inside = torch.tensor([bool(case >> n & 1) for n in range(8)])
        axis = corners[~inside].mean(0) - corners[inside].mean(0)
        crossed = [index for index, (a, b) in enumerate(edges) if inside[a] != inside[b]]
        if len(crossed) > 6 or axis.norm() < 1e-6:
            continue  # no plane cuts a cube like this
        middles = torch.stack([(corners[edges[index][0]] + corners[edges[index][1]]) / 2 for index in crossed])
        middles = middles - middles.mean(0)
        right = torch.linalg.cross(axis, torch.tensor([0.36, 0.48, 0.8]))
        up = torch.linalg.cross(axis / axis.norm(), right)
        around = torch.atan2(middles @ up, middles @ right).argsort(descending=not outwards).tolist()
        for place in range(len(crossed) - 2):
            cases[case, place] = torch.tensor([crossed[around[n]] for n in (0, place + 1, place + 2)])
            masks[case, place] = True
    return cases, masks


def octahedron_renderer(*, outwards: bool = True) -> ShapERenderer:
    """A renderer whose signed distance is about RADIUS - |x| - |y| - |z|, and whose colour is COLOR, for any latent."""
    shapes = ((WIDTH, 93), (WIDTH, WIDTH), (WIDTH, WIDTH), (WIDTH, WIDTH))
    renderer = ShapERenderer(param_shapes=shapes, d_latent=16, d_hidden=WIDTH)
    layers = [torch.zeros(shape) for shape in shapes]
    sharp = 40.0  # makes silu(sharp x) + silu(-sharp x) about sharp |x|
    for axis, side in itertools.product(range(3), range(2)):
        layers[0][2 * axis + side, axis] = sharp * (1 - 2 * side)
    layers[1][0, :6] = layers[2][0, 0] = layers[3][0, 0] = 1
    with torch.no_grad():
        for projection, layer in zip(renderer.params_proj.projections.values(), layers, strict=True):
            projection.proj.bias.copy_(layer.flatten())
            projection.norm.weight.fill_(1e-3)  # the latent's share
        for layer in renderer.mlp.mlp:
            layer.weight.zero_()
            layer.bias.zero_()
        renderer.mlp.mlp[4].weight[0, 0] = renderer.mlp.mlp[5].weight[0, 0] = 1
        renderer.mlp.mlp[6].weight[0, 0], renderer.mlp.mlp[6].bias[0] = -1 / sharp, RADIUS
        renderer.mlp.mlp[6].bias[3:6] = torch.tensor(COLOR).logit()
        cases, masks = marching_cubes(outwards=outwards)
        renderer.mesh_decoder.cases.copy_(cases)
        renderer.mesh_decoder.masks.copy_(masks)
    return renderer


def tiny_shap_e(folder: Path, *, outwards: bool = True) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        prior = PriorTransformer(
            num_attention_heads=2, attention_head_dim=8, num_layers=1, embedding_dim=16, num_embeddings=4 * WIDTH,
            additional_embeddings=0, time_embed_act_fn="gelu", norm_in_type="layer", embedding_proj_norm_type="layer",
            encoder_hid_proj_type=None, added_emb_type=None, time_embed_dim=32, embedding_proj_dim=16,
            clip_embed_dim=32,
        )  # fmt: skip
        image_encoder = CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=32,
                patch_size=16,
            )
        )  # fmt: skip
        renderer = octahedron_renderer(outwards=outwards)
    scheduler = HeunDiscreteScheduler(
        beta_schedule="exp", num_train_timesteps=1024, prediction_type="sample", use_karras_sigmas=True,
        clip_sample=True, clip_sample_range=1.0,
    )  # fmt: skip
    parts = {"prior": prior, "image_encoder": image_encoder, "shap_e_renderer": renderer, "scheduler": scheduler}
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    return folder


@pytest.fixture
def folder(tmp_path):
    return tiny_shap_e(tmp_path / "shap-e")


@pytest.fixture
def model(folder) -> ShapE:
    model = load_shap_e(folder)
    model.grid = GRID
    return model


PHOTO = torch.rand(40, 30, 3, generator=torch.Generator().manual_seed(0))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("outwards", [True, False])
def test_the_mesh_is_closed_and_faces_outwards_whichever_way_the_decoder_s_triangles_turn(tmp_path, outwards):
    model = load_shap_e(tiny_shap_e(tmp_path / "shap-e", outwards=outwards))
    model.grid = GRID
    mesh = model.reconstruct(PHOTO, generator=seeded(), steps=2)
    assert mesh.vertices.dtype == torch.float32 and mesh.vertices.shape[1:] == (3,)
    assert mesh.faces.dtype == torch.int64 and mesh.faces.shape[1:] == (3,)
    sides = Counter((a, b) for face in mesh.faces.tolist() for a, b in zip(face, face[1:] + face[:1], strict=True))
    assert all(count == 1 and sides[b, a] == 1 for (a, b), count in sides.items())
    assert len(mesh.vertices) - len(sides) // 2 + len(mesh.faces) == 2  # Euler: a sphere
    radius = RADIUS * (GRID - 1) / (GRID + 1)  # the decoder counts the border it adds as part of the box
    torch.testing.assert_close(mesh.vertices.abs().sum(1).mean(), torch.tensor(radius), rtol=0.02, atol=0)
    assert signed_volume(mesh.vertices, mesh.faces) == pytest.approx(4 / 3 * radius**3, rel=0.1)


def test_colors_are_those_of_the_implicit_function_as_a_photo_has_them(model):
    mesh = model.reconstruct(PHOTO, generator=seeded(), steps=2)
    expected = torch.tensor(COLOR).expand(len(mesh.vertices), 3)
    torch.testing.assert_close(mesh.colors, expected, rtol=0, atol=1e-4)


def test_the_mesh_repeats_itself_and_follows_seed_and_photo(model):
    first, again, other = (model.reconstruct(PHOTO, generator=seeded(seed), steps=2).vertices for seed in (0, 0, 1))
    assert torch.equal(first, again)
    white = model.reconstruct(torch.ones(32, 32, 3), generator=seeded(), steps=2).vertices
    for changed in (other, white):
        assert changed.shape != first.shape or not torch.equal(changed, first)


def test_without_guidance_the_prior_is_asked_once_a_step(model):
    batches = []
    model.pipeline.prior.register_forward_pre_hook(lambda module, inputs: batches.append(len(inputs[0])))
    model.reconstruct(PHOTO, generator=seeded(), steps=2, guidance=1.0)
    assert batches == [1, 1, 1]  # Heun: twice a step but the last
    model.reconstruct(PHOTO, generator=seeded(), steps=2)
    assert batches[3:] == [2, 2, 2]


def test_no_surface_is_an_error_with_words(model):
    with torch.no_grad():
        model.pipeline.shap_e_renderer.mlp.mlp[6].bias[0] = -1
    with pytest.raises(PriorError, match=r"expected a surface, but .* has none; use a photo of one whole object"):
        model.reconstruct(PHOTO, generator=seeded(), steps=2)


def test_photos_reach_clip_as_its_own_processor_gives_them():
    photo = 0.2 + 0.6 * torch.rand(24, 24, 3, generator=seeded()).repeat_interleave(4, 0).repeat_interleave(4, 1)
    photo = (photo * 255).round() / 255
    processor = CLIPImageProcessorPil(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64})
    expected = processor((photo * 255).byte().numpy(), return_tensors="pt").pixel_values
    torch.testing.assert_close(clip_pixels(photo, 64), expected, rtol=0, atol=0.02)


@pytest.mark.parametrize("shape", [(8, 4), (4, 8)])
def test_a_photo_that_is_no_square_gets_white_borders(shape):
    pixels = clip_pixels(torch.zeros(*shape, 3), 8)
    white, black = clip_pixels(torch.ones(8, 8, 3), 8), clip_pixels(torch.zeros(8, 8, 3), 8)
    across = pixels[0] if shape == (8, 4) else pixels[0].transpose(1, 2)
    torch.testing.assert_close(across[:, :, [0, 1, 6, 7]], white[0, :, :, :4])
    torch.testing.assert_close(across[:, :, 2:6], black[0, :, :, :4])


def test_srgb_inverts_what_the_renderer_applies():
    encoded = torch.linspace(0, 1, 101)
    linear = torch.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    torch.testing.assert_close(linear_to_srgb(linear), encoded, rtol=0, atol=1e-4)
    assert math.isclose(float(linear_to_srgb(torch.tensor(2.0))), 1.0, abs_tol=1e-6)


def test_half_precision_alone_loads_in_single(folder):
    for part in NETWORKS:
        (file,) = (folder / part).glob("*.safetensors")
        state = {k: v.half() if v.is_floating_point() else v for k, v in load_file(str(file)).items()}
        save_file(state, str(file.with_suffix(".fp16.safetensors")), {"format": "pt"})
        file.unlink()
    model = load_shap_e(folder)
    model.grid = GRID
    assert all(p.dtype == torch.float32 for part in NETWORKS for p in getattr(model.pipeline, part).parameters())
    assert len(model.reconstruct(PHOTO, generator=seeded(), steps=1).faces) > 100


@pytest.mark.parametrize(
    ("part", "gone"),
    [
        ("prior", "proj_in.weight"),
        ("image_encoder", None),
        ("shap_e_renderer", "mesh_decoder.cases"),  # which the renderers before meshes lack
    ],
)
def test_a_missing_tensor_is_named(folder, part, gone):
    (file,) = (folder / part).glob("*.safetensors")
    state = load_file(str(file))
    gone = gone or sorted(state)[3]
    save_file({name: tensor for name, tensor in state.items() if name != gone}, str(file), {"format": "pt"})
    with pytest.raises(PriorError, match=rf"{part}/.*expected tensor '{gone}'"):
        load_shap_e(folder)


def test_pickles_are_refused(folder, tmp_path):
    (file,) = (folder / "shap_e_renderer").glob("*.safetensors")
    torch.save(load_file(str(file)), file.with_suffix(".bin"))
    file.unlink()
    with pytest.raises(PriorError, match=r"shap_e_renderer: .*only diffusion_pytorch_model\.bin, .*To convert it"):
        load_shap_e(folder)
    with pytest.raises(PriorError, match="can run code"):
        load_shap_e(tmp_path / "shap_e.pt")


def test_a_damaged_schedule_says_so(folder):
    (folder / "scheduler" / "scheduler_config.json").write_text("{")
    with pytest.raises(PriorError, match="scheduler: expected a noise schedule"):
        load_shap_e(folder)


def test_the_branch_with_safetensors_is_tried_first_and_there_are_three_ways_forward(monkeypatch, tmp_path):
    snapshot = tiny_shap_e(tmp_path / "0123456789abcdef0123")
    tried = []

    def download(repository, *, revision, local_files_only, **settings):
        tried.append((repository, revision, local_files_only))
        if local_files_only:
            raise OSError("not cached")
        return str(snapshot)

    monkeypatch.setattr(hub_parts, "snapshot_download", download)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert load_shap_e().name == "openai/shap-e-img2img@0123456789ab"
    assert tried[0] == ("openai/shap-e-img2img", "refs/pr/8", True) and tried[-1][1:] == ("refs/pr/8", False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(PriorError, match=r"not cached.*Three ways forward: .*network.*folder.*needs no weights"):
        load_shap_e()
