from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image
from trimesh.visual.material import PBRMaterial, SimpleMaterial
from trimesh.visual.texture import TextureVisuals

from tests.objects.object_cameras import camera_at, halves, holed
from unscene.objects.mesh import TexturedMesh
from unscene.objects.mesh_files import find_meshes, load_mesh
from unscene.objects.object_error import ObjectError
from unscene.objects.ray_tracer import Lighting, RayTracer

CORNERS = np.array([(-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)], float)  # a picture in the file's x y plane
UV = (CORNERS[:, :2] + 1) / 2


def sheet(material) -> trimesh.Trimesh:
    visual = TextureVisuals(uv=UV, material=material)
    return trimesh.Trimesh(CORNERS, [[0, 1, 2], [0, 2, 3]], visual=visual, process=False)


def picture() -> Image.Image:
    return Image.fromarray(halves((255, 0, 0), (0, 0, 255)))


@pytest.mark.parametrize("suffix", [".glb", ".gltf", ".obj"])
def test_a_textured_sheet_comes_back_upright_and_unmirrored(tmp_path: Path, suffix: str) -> None:
    material = SimpleMaterial(image=picture()) if suffix == ".obj" else PBRMaterial(baseColorTexture=picture())
    path = tmp_path / f"sheet{suffix}"
    sheet(material).export(path)
    mesh = load_mesh(path)
    np.testing.assert_array_equal(mesh.textures[0], np.asarray(picture()))
    np.testing.assert_allclose(mesh.vertices[:, 1], 0, atol=1e-6)  # y up became z up: it stands
    color = RayTracer(mesh, Lighting((0.0, 0.0, 1.0), 1.0, 0.0)).render(camera_at(-90, 0), 0).color
    assert color[16, 8].argmax() == 0
    assert color[16, 24].argmax() == 2


def test_factors_multiply_textures_in_linear_light(tmp_path: Path) -> None:
    path = tmp_path / "sheet.glb"
    sheet(PBRMaterial(baseColorTexture=picture(), baseColorFactor=[128, 255, 0, 255])).export(path)
    texture = load_mesh(path).textures[0]
    assert abs(int(texture[0, 0, 0]) - 255 * (128 / 255) ** (1 / 2.2)) <= 1
    assert texture[0, -1].tolist() == [0, 0, 0]


def test_a_material_without_texture_gives_its_factor(tmp_path: Path) -> None:
    path = tmp_path / "sheet.glb"
    sheet(PBRMaterial(baseColorFactor=[255, 0, 255, 255])).export(path)
    assert load_mesh(path).textures[0].reshape(-1, 3).tolist() == [[255, 0, 255]] * 4


def test_no_colour_at_all_is_grey(tmp_path: Path) -> None:
    path = tmp_path / "box.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    texture = load_mesh(path).textures[0]
    assert texture.min() == texture.max() == 160


@pytest.mark.parametrize(("suffix", "gamma"), [(".glb", 2.2), (".obj", 1.0)])
def test_vertex_colours_are_interpolated_within_faces(tmp_path: Path, suffix: str, gamma: float) -> None:
    colors = np.array([(255, 90, 80), (150, 200, 90), (120, 100, 200), (200, 180, 100)], np.uint8)
    path = tmp_path / f"sheet{suffix}"
    trimesh.Trimesh(CORNERS, [[0, 1, 2], [0, 2, 3]], vertex_colors=colors, process=False).export(path)
    mesh = load_mesh(path)
    tracer = RayTracer(mesh, Lighting((0.0, -1.0, 0.0), 1.0, 0.0))
    color = tracer.render(camera_at(-90, 0, size=64, distance=2.5), 0, samples=1).color.numpy() / 0.75 ** (1 / 2.2)
    encoded = (colors / 255) ** (1 / gamma)
    for weights, corners in ((np.array([0.5, 0.25, 0.25]), [0, 1, 2]), (np.array([0.2, 0.3, 0.5]), [0, 2, 3])):
        x, y, _ = weights @ CORNERS[corners]
        focal = 32 / np.tan(np.radians(22.5))
        pixel = int(32 - focal * y / 2.5), int(32 + focal * x / 2.5)
        np.testing.assert_allclose(color[pixel], weights @ encoded[corners], atol=0.05)


def test_nodes_put_geometries_where_they_belong(tmp_path: Path) -> None:
    scene, cube = trimesh.Scene(), trimesh.creation.box(extents=(1, 1, 1))
    raised = trimesh.transformations.rotation_matrix(np.pi / 2, [0, 0, 1])
    raised[:3, 3] = 0, 5, 0
    scene.add_geometry(cube, geom_name="cube", node_name="low")
    scene.graph.update(frame_to="high", matrix=raised, geometry="cube")
    scene.export(tmp_path / "scene.glb")
    mesh = load_mesh(tmp_path / "scene.glb")
    assert len(mesh.faces) == 24
    np.testing.assert_allclose(mesh.vertices.min(0), [-0.5, -0.5, -0.5], atol=1e-5)
    np.testing.assert_allclose(mesh.vertices.max(0), [0.5, 0.5, 5.5], atol=1e-5)  # the file's y is our z
    assert len(mesh.textures) == 1, "one geometry in two places has one texture"


def test_large_textures_are_reduced(tmp_path: Path) -> None:
    image = picture().resize((1024, 512))
    sheet(PBRMaterial(baseColorTexture=image)).export(tmp_path / "sheet.glb")
    assert load_mesh(tmp_path / "sheet.glb", texture_size=64).textures[0].shape == (32, 64, 3)


def glass(**options: object) -> PBRMaterial:
    return PBRMaterial(baseColorTexture=Image.fromarray(holed((255, 0, 0))), **options)


def middle_alpha(mesh: TexturedMesh) -> float:
    return float(RayTracer(mesh, Lighting((0.0, 0.0, 1.0), 1.0, 0.0)).render(camera_at(-90, 0), 0).alpha[16, 16])


@pytest.mark.parametrize("mode", ["MASK", "BLEND"])
def test_gltf_alpha_makes_holes(tmp_path: Path, mode: str) -> None:
    sheet(glass(alphaMode=mode)).export(tmp_path / "sheet.glb")
    mesh = load_mesh(tmp_path / "sheet.glb")
    np.testing.assert_array_equal(mesh.textures[0], holed((255, 0, 0)))
    assert middle_alpha(mesh) == 0
    small = load_mesh(tmp_path / "sheet.glb", texture_size=20).textures[0]
    assert (small[small[..., 3] >= 128][:, 0] >= 250).all(), "the hole's black doesn't mix in"


@pytest.mark.parametrize("options", [{}, {"alphaMode": "OPAQUE"}, {"alphaMode": "MASK", "alphaCutoff": 0.0}])
def test_opaque_materials_ignore_the_texture_s_alpha(tmp_path: Path, options: dict[str, object]) -> None:
    sheet(glass(**options)).export(tmp_path / "sheet.glb")
    mesh = load_mesh(tmp_path / "sheet.glb")
    assert mesh.textures[0].shape == (32, 32, 3)
    assert middle_alpha(mesh) == 1


@pytest.mark.parametrize(
    ("mode", "cutoff", "solid"), [("MASK", 0.2, True), ("MASK", 0.7, False), ("BLEND", 0.2, False)]
)
def test_alpha_is_cut_at_the_material_s_cutoff(tmp_path: Path, mode: str, cutoff: float, solid: bool) -> None:
    """The factor's alpha, 0.4, counts as well: two sheets, one opaque."""
    scene = trimesh.Scene()
    material = PBRMaterial(baseColorFactor=[255, 0, 0, 102], alphaMode=mode, alphaCutoff=cutoff)
    for name, each in (("glass", material), ("wall", PBRMaterial(baseColorFactor=[0, 0, 255, 255]))):
        scene.add_geometry(sheet(each), geom_name=name, node_name=name)
    scene.export(tmp_path / "scene.glb")
    assert len(load_mesh(tmp_path / "scene.glb").faces) == (4 if solid else 2)
    sheet(material).export(tmp_path / "sheet.glb")
    if solid:
        assert load_mesh(tmp_path / "sheet.glb").textures[0].reshape(-1, 3).tolist() == [[255, 0, 0]] * 4
    else:
        with pytest.raises(ObjectError, match="transparent ones alone"):
            load_mesh(tmp_path / "sheet.glb")


def test_meshes_are_found_in_folders_below(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/x.GLB", "a.obj", "c.gltf", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.relative_to(tmp_path).as_posix() for path in find_meshes(tmp_path)] == ["a.obj", "b/x.GLB", "c.gltf"]
    with pytest.raises(ObjectError, match="found none"):
        find_meshes(tmp_path / "missing")


@pytest.mark.parametrize("uri", ["../secret.bin", "%2e%2e/secret.bin", "/etc/passwd", "..\\secret.bin", "link.bin"])
def test_a_gltf_that_reaches_out_of_its_folder_is_refused(tmp_path: Path, uri: str) -> None:
    folder = tmp_path / "meshes"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(4))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    path = folder / "thief.gltf"
    path.write_text(json.dumps({"asset": {"version": "2.0"}, "buffers": [{"uri": uri, "byteLength": 4}]}))
    with pytest.raises(ObjectError, match="in its own folder, it asks for"):
        load_mesh(path)


@pytest.mark.parametrize("line", ["mtllib ../stolen.mtl", "mtllib ok.mtl\nusemtl m"])
def test_an_obj_that_reaches_out_of_its_folder_is_refused(tmp_path: Path, line: str) -> None:
    folder = tmp_path / "meshes"
    folder.mkdir()
    picture().save(tmp_path / "stolen.png")
    (tmp_path / "stolen.mtl").write_text("newmtl m\n")
    (folder / "ok.mtl").write_text("newmtl m\nmap_Kd ../stolen.png\n")
    path = folder / "thief.obj"
    path.write_text(f"{line}\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nf 1/1 2/2 3/3\n")
    with pytest.raises(ObjectError, match="in its own folder, it asks for"):
        load_mesh(path)


def test_references_within_the_folder_are_followed_even_if_escaped(tmp_path: Path) -> None:
    sheet(PBRMaterial(baseColorTexture=picture())).export(tmp_path / "sheet.gltf")
    (tmp_path / "parts").mkdir()
    (tmp_path / "gltf_buffer_0.bin").rename(tmp_path / "parts" / "a b.bin")
    text = (tmp_path / "sheet.gltf").read_text().replace("gltf_buffer_0.bin", "parts/a%20b.bin")
    (tmp_path / "sheet.gltf").write_text(text)
    assert len(load_mesh(tmp_path / "sheet.gltf").faces) == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.glb", b""),
        ("empty.obj", b""),
        ("empty.gltf", b""),
        ("corrupt.glb", b"glTF\x02\x00\x00\x00" + bytes(range(64))),
        ("corrupt.gltf", b'{"asset": '),
        ("indices.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n"),
        ("nan.obj", b"v 0 0 0\nv nan 0 0\nv 0 1 0\nf 1 2 3\n"),
        ("mesh.stl", b"solid"),
    ],
)
def test_bad_files_give_an_object_error(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ObjectError, match="Expected"):
        load_mesh(tmp_path / name)
    with pytest.raises(ObjectError, match="Expected"):
        load_mesh(tmp_path / "missing.glb")
