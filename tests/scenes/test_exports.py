"""Exports of Polycam, Record3D, RealityCapture, Metashape: geometry against OpenCV's projection, what is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tests.scenes import exports
from tests.scenes.test_formats import LENS, assert_projects
from tests.scenes.tiny_scenes import FOCAL, PRINCIPAL, SIZE, TinyScene
from unscene.scenes.load import load_scene
from unscene.scenes.scene import SceneError

NO_LENS = [0.0] * 5


def error(path: Path) -> str:
    with pytest.raises(SceneError) as raised:
        load_scene(path)
    return str(raised.value)


def edit(file: Path, old: str, new: str, count: int = -1) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, count))


def test_polycam(tiny: TinyScene, points: np.ndarray) -> None:
    exports.write_polycam(tiny)
    exports.write_polycam(tiny, "cameras", "images")  # both are exported; the optimised ones win
    for file in (tiny.root / "keyframes/cameras").iterdir():
        edit(file, '"t_03"', '"t_03_as_tracked"')
    scene = load_scene(tiny.root)
    assert_projects(scene, tiny, points, NO_LENS)
    assert scene.names == tuple(tiny.names)
    assert scene.notes == (
        "Polycam: keyframes/corrected_cameras/ and keyframes/corrected_images/ are used, optimised and undistorted; "
        "their borders may be black",
    )
    pixels = cv2.imread(str(tiny.root / "keyframes/corrected_images/002.png"))[..., ::-1]
    np.testing.assert_array_equal(scene.images[2].numpy(), pixels)


def test_polycam_as_tracked(tiny: TinyScene, points: np.ndarray) -> None:
    """A session too large to optimise on the phone has no corrected folders."""
    exports.write_polycam(tiny, "cameras", "images")
    (tiny.root / "keyframes/cameras/001.json").unlink()
    scene = load_scene(tiny.root)
    tiny.poses = np.delete(tiny.poses, 1, 0)
    assert_projects(scene, tiny, points, NO_LENS)
    assert "not optimised" in scene.notes[0]
    assert scene.notes[1] == "1 photos of keyframes/images/ have no camera and are left out: 001.png"


def test_polycam_cameras_that_are_none(tiny: TinyScene) -> None:
    exports.write_polycam(tiny)
    file = tiny.root / "keyframes/corrected_cameras/000.json"
    edit(file, '"t_00": ', '"t_00": "a", "was": ')
    assert error(tiny.root) == "000.json: expected a number as t_00, got 'a'; correct it."
    file.write_text("[]")
    assert error(tiny.root).startswith("000.json: expected the camera of a photo")
    for file in (tiny.root / "keyframes/corrected_cameras").iterdir():
        file.unlink()
    assert error(tiny.root).startswith("keyframes/corrected_cameras/: expected one JSON file per photo, found none")


@pytest.mark.parametrize(("folder", "photos", "file"), [
    ("EXR_RGBD", "rgb", "metadata.json"), (".", "rgb", "metadata.json"), (".", "rgbd", "metadata")
])  # fmt: skip
def test_record3d(tiny: TinyScene, points: np.ndarray, folder: str, photos: str, file: str) -> None:
    exports.write_record3d(tiny, folder, photos, file)
    scene = load_scene(tiny.root)
    assert_projects(scene, tiny, points, NO_LENS)
    assert scene.notes == (
        "Record3D: the poses are ARKit's, not optimised; one lens, free of distortion, for all photos",
    )


def test_record3d_photos_are_numbered(tmp_path: Path, points: np.ndarray) -> None:
    """Photo 10 belongs to pose 10, not to pose 2; a photo that was taken out takes no other pose with it."""
    tiny = TinyScene(tmp_path / "scene", views=12)
    exports.write_record3d(tiny)
    (tiny.root / "EXR_RGBD/rgb/3.png").unlink()
    scene = load_scene(tiny.root)
    assert scene.names == tuple(name for name in tiny.names if name != "3.png")
    tiny.poses = np.delete(tiny.poses, 3, 0)
    assert_projects(scene, tiny, points, NO_LENS)
    assert scene.notes[1] == "12 poses and 11 numbered photos: the 11 that belong together"


def test_record3d_intrinsics_per_photo(tiny: TinyScene) -> None:
    exports.write_record3d(tiny)
    content = exports.record3d_metadata(tiny)
    content["perFrameIntrinsicCoeffs"] = [[*FOCAL, *PRINCIPAL]] * 5 + [[50, 51, *PRINCIPAL]]
    content["K"] = [1] * 9
    tiny.json(content, "EXR_RGBD/metadata.json")
    scene = load_scene(tiny.root)
    assert scene.cameras.focal[5].tolist() == [50, 51]
    assert scene.cameras.focal[4].tolist() == list(FOCAL) and "per photo" in scene.notes[0]


@pytest.mark.parametrize(("change", "words"), [
    ({"poses": [[0, 0, 0, 0, 1, 2, 3]] * 6}, "pose 0: expected a quaternion of length 1, got 0"),
    ({"poses": [[0, 0, 0, float("nan"), 1, 2, 3]] * 6}, "expected a quaternion of length 1, got nan"),
    ({"poses": [[1, 0, 0, 0]]}, "expected poses with 7 numbers each"),
    ({"poses": "none"}, "expected poses with 7 numbers each"),
    ({"K": None}, "expected K with 9 numbers each"),
    ({"w": "32"}, "expected a number as w, got '32'"),
])  # fmt: skip
def test_record3d_metadata_that_is_wrong(tiny: TinyScene, change: dict, words: str) -> None:
    exports.write_record3d(tiny)
    tiny.json(exports.record3d_metadata(tiny) | change, "EXR_RGBD/metadata.json")
    assert words in error(tiny.root)


@pytest.mark.parametrize(("header", "photos"), [
    (exports.RC_HEADER, "images"),
    (exports.RC_NEWER_HEADER, "undistorted"),
    ("#cameras 6\n" + exports.RC_HEADER, "."),
    ("\ufeff" + exports.RC_HEADER, "images"),
])  # fmt: skip
def test_realitycapture(tiny: TinyScene, points: np.ndarray, header: str, photos: str) -> None:
    exports.write_realitycapture(tiny, header, photos)
    for path in (tiny.root, tiny.root / "cameras.csv"):
        scene = load_scene(path)
        assert_projects(scene, tiny, points, LENS, (FOCAL[0], FOCAL[0]))
        assert scene.notes == (
            "cameras.csv: read as RealityCapture's: z up, angles in degrees, f in mm of a 36 mm sensor",
        )


def test_realitycapture_angles_are_those_of_its_own_matrix(tiny: TinyScene) -> None:
    """Rotation and angles of one camera as the program wrote them to XMP and to CSV (forum of Epic Games, 710449)."""
    exports.write_realitycapture(tiny)
    angles = "163.736597399311,83.4154313461628,174.386496244756"
    lines = [f"{name},1,2,{3 + i},{angles},30" for i, name in enumerate(tiny.names)]
    (tiny.root / "cameras.csv").write_text("\n".join([exports.RC_POSES_HEADER, *lines]))
    world_to_camera = [
        [0.982594073038806, 0.185426733553445, -0.0112166890261935],
        [-0.032113633044729, 0.11008102707942, -0.993403685341366],
        [-0.18296885582437, 0.976472781986697, 0.114],
    ]
    scene = load_scene(tiny.root)
    np.testing.assert_allclose(scene.cameras.T_world_camera[0, :, :3].T, world_to_camera, atol=2e-4)
    assert scene.cameras.positions[0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(("angles", "right", "down", "forward"), [
    ((0, 0, 0), (1, 0, 0), (0, -1, 0), (0, 0, -1)),  # looks down, the top of the image to the north
    ((0, 90, 0), (1, 0, 0), (0, 0, -1), (0, 1, 0)),  # level, to the north
    ((90, 90, 0), (0, -1, 0), (0, 0, -1), (1, 0, 0)),  # level, to the east
    ((0, 0, 90), (0, 0, -1), (0, -1, 0), (-1, 0, 0)),
])  # fmt: skip
def test_realitycapture_axes(tiny: TinyScene, angles: tuple, right: tuple, down: tuple, forward: tuple) -> None:
    exports.write_realitycapture(tiny)
    lines = [",".join([name, f"{i},0,0", *map(str, angles), "30"]) for i, name in enumerate(tiny.names)]
    (tiny.root / "cameras.csv").write_text("\n".join([exports.RC_POSES_HEADER, *lines]))
    rotation = load_scene(tiny.root).cameras.T_world_camera[0, :, :3].numpy()
    np.testing.assert_allclose(rotation, np.stack([right, down, forward], 1), atol=1e-6)


def test_realitycapture_photos_of_any_resolution(tiny: TinyScene) -> None:
    """Its intrinsics are fractions of the longer side, here of portraits at half the resolution."""
    exports.write_realitycapture(tiny)
    tiny.photos(size=(12, 16))
    cameras = load_scene(tiny.root).cameras
    np.testing.assert_allclose(cameras.focal[0], [FOCAL[0] / 2] * 2, rtol=1e-6)
    offset = (np.array(PRINCIPAL) - np.array(SIZE) / 2) / 2
    np.testing.assert_allclose(cameras.principal[0], np.array([6, 8]) + offset, rtol=1e-6)


@pytest.mark.parametrize(("old", "new", "words"), [
    ("000.png,", "000.png,north,", "expected a number as x, got 'north'"),
    (f",{LENS[4]},0.0,", f",{LENS[4]},0.5,", "got k4 = 0.5; choose the distortion model Brown3"),
    ("roll", "rolling", "expected the columns name, x, y, alt, heading, pitch, roll and f"),
    ("000.png", "", "expected the name of a photo for each camera, got ''"),
    ("000.png", "../..", "expected the name of a photo for each camera, got '../..'"),
    ("000.png", "0\n000.png", "expected 16 columns in row 2, got 1"),
])  # fmt: skip
def test_realitycapture_tables_that_are_wrong(tiny: TinyScene, old: str, new: str, words: str) -> None:
    exports.write_realitycapture(tiny)
    edit(tiny.root / "cameras.csv", old, new, 1)
    assert words in error(tiny.root / "cameras.csv")


def test_names_are_paths_of_another_computer(tiny: TinyScene, points: np.ndarray) -> None:
    exports.write_realitycapture(tiny)
    edit(tiny.root / "cameras.csv", "\n00", "\nC:\\captures\\statue\\00")
    scene = load_scene(tiny.root)
    assert_projects(scene, tiny, points, LENS, (FOCAL[0], FOCAL[0]))


def test_the_longest_ending_of_a_path_counts(tiny: TinyScene) -> None:
    tiny.names = ["left/0.png", "left/1.png", "right/0.png", "right/1.png"]
    tiny.poses = tiny.poses[:4]
    exports.write_realitycapture(tiny)
    for side in ("left", "right"):
        edit(tiny.root / "cameras.csv", f"\n{side}", f"\n/home/me/{side}")
    assert load_scene(tiny.root).names == tuple(tiny.names)


def test_a_name_of_thousands_of_folders_is_looked_for_at_once(tiny: TinyScene) -> None:
    exports.write_realitycapture(tiny)
    edit(tiny.root / "cameras.csv", "000.png", "d/" * 50_000 + "000.png")
    assert load_scene(tiny.root).names == tuple(tiny.names)


def test_masks_are_not_taken_for_photos(tiny: TinyScene) -> None:
    """A photo that is missing stays missing, though a mask has its name."""
    exports.write_realitycapture(tiny, photos="shots")
    tiny.masks()
    (tiny.root / "shots/002.png").unlink()
    scene = load_scene(tiny.root)
    assert "002.png" not in scene.names and scene.masks is not None
    assert "1 of 6 frames have no image file and are skipped: shots/002.png" in scene.notes


def test_two_tables_are_not_chosen_from(tiny: TinyScene) -> None:
    exports.write_realitycapture(tiny)
    (tiny.root / "other.csv").write_text("a,b\n1,2\n")  # not one of them
    load_scene(tiny.root)
    (tiny.root / "again.csv").write_bytes((tiny.root / "cameras.csv").read_bytes())
    assert "found again.csv, cameras.csv; point to the one to use" in error(tiny.root)
    load_scene(tiny.root / "again.csv")


def test_metashape(tiny: TinyScene, points: np.ndarray) -> None:
    exports.write_metashape(tiny)
    for path in (tiny.root, tiny.root / "cameras.xml"):
        scene = load_scene(path)
        assert_projects(scene, tiny, points, LENS)
        assert scene.notes == ("cameras.xml: read as Metashape's cameras, in the world of their chunk",)


SIMILARITY = (Rotation.from_euler("xyz", [20, -130, 75], degrees=True).as_matrix(), np.array([3.0, -20.0, 7.0]), 2.5)


def chunk_cameras(tiny: TinyScene, similarity: tuple, attributes: str = 'sensor_id="0"') -> list[str]:
    return [
        exports.metashape_camera(i, name.removesuffix(".png"), exports.in_chunk(pose, *similarity), attributes)
        for i, (name, pose) in enumerate(zip(tiny.names, tiny.poses, strict=True))
    ]


def test_metashape_chunk_transform(tiny: TinyScene, points: np.ndarray) -> None:
    """The truth is in world coordinates; cameras are in groups, their labels without extension."""
    cameras = chunk_cameras(tiny, SIMILARITY)
    text = f'<group id="0" label="a" type="folder">{"".join(cameras[:3])}</group>{"".join(cameras[3:])}'
    exports.write_metashape(tiny, exports.metashape_document(text, exports.metashape_transform(*SIMILARITY)))
    assert_projects(load_scene(tiny.root), tiny, points, LENS)


def test_metashape_components_with_transforms(tiny: TinyScene, points: np.ndarray) -> None:
    other = (SIMILARITY[0].T, -SIMILARITY[1], 0.3)
    cameras = chunk_cameras(tiny, SIMILARITY, 'sensor_id="0" component_id="0"')[:4]
    cameras += chunk_cameras(tiny, other, 'sensor_id="0" component_id="1"')[4:]
    components = "".join(
        f'<component id="{id}" label="c">{exports.metashape_transform(*similarity)}</component>'
        for id, similarity in enumerate((SIMILARITY, other))
    )
    text = exports.metashape_document("".join(cameras), exports.metashape_transform(*SIMILARITY), components)
    exports.write_metashape(tiny, text)
    scene = load_scene(tiny.root)
    assert_projects(scene, tiny, points, LENS)
    assert "cameras.xml: components with 4, 2 cameras, each placed by its own transform" in scene.notes


def test_metashape_components_without_transforms(tiny: TinyScene, points: np.ndarray) -> None:
    """Each has coordinates of its own: only the largest makes a scene."""
    cameras = chunk_cameras(tiny, SIMILARITY, 'sensor_id="0" component_id="0"')[:2]
    tiny.photos()
    same = (np.eye(3), np.zeros(3), 1.0)
    cameras += chunk_cameras(tiny, same, 'sensor_id="0" component_id="1"')[2:]
    components = '<component id="0" label="a"/><component id="1" label="b"/>'
    exports.write_metashape(tiny, exports.metashape_document("".join(cameras), components=components))
    scene = load_scene(tiny.root)
    tiny.poses = tiny.poses[2:]
    assert_projects(scene, tiny, points, LENS)
    assert "cameras.xml: of components with 4, 2 cameras, not aligned to each other, the largest is used" in scene.notes


def test_metashape_sensors_chunks_and_cameras_left_out(tiny: TinyScene) -> None:
    cameras = chunk_cameras(tiny, (np.eye(3), np.zeros(3), 1.0))
    cameras[5] = cameras[5].replace('sensor_id="0"', 'sensor_id="7"')
    cameras.append(exports.metashape_camera(6, "not_aligned", None))
    cameras.append(cameras[4].replace("<camera ", '<camera enabled="false" ').replace("004", "000"))
    sensors = exports.metashape_sensor() + exports.metashape_sensor(7, f=50.0)
    text = exports.metashape_document("".join(cameras), sensors=sensors)
    text = text.replace("</document>", '<chunk label="empty" enabled="true"/></document>')
    exports.write_metashape(tiny, text)
    scene = load_scene(tiny.root)
    assert scene.cameras.focal[4:].tolist() == [list(FOCAL), [50 + FOCAL[0] - FOCAL[1], 50]]
    assert scene.notes[1:] == (
        "cameras.xml: of chunks with 6, 0 cameras the largest is used",
        "cameras.xml: 2 cameras are not aligned, or switched off, and are skipped",
    )


@pytest.mark.parametrize(("sensor", "words"), [
    (exports.metashape_sensor(k4=0.1), "got k4 = 0.1; fix these at 0"),
    (exports.metashape_sensor(b2=-0.5, p3=2.0), "got p3 = 2, b2 = -0.5; fix these at 0"),
    (exports.metashape_sensor(type="fisheye"), "expected the calibration of a frame camera, got fisheye"),
    (exports.metashape_sensor(type="spherical"), "expected the calibration of a frame camera, got spherical"),
    ('<sensor id="0" type="frame"/>', "expected the calibration of a frame camera, got one without f"),
    ('<sensor id="1" type="frame"/>', "expected the calibration of a frame camera, got one without f"),
    (exports.metashape_sensor().replace('width="32"', ""), "expected a number as width, got None"),
    (exports.metashape_sensor().replace("<k1>0.05<", "<k1>5%<"), "expected a number as k1, got '5%'"),
])  # fmt: skip
def test_metashape_lenses_that_are_not_ours(tiny: TinyScene, sensor: str, words: str) -> None:
    cameras = chunk_cameras(tiny, SIMILARITY)
    exports.write_metashape(tiny, exports.metashape_document("".join(cameras), sensors=sensor))
    assert words in error(tiny.root)


@pytest.mark.parametrize(("old", "new", "words"), [
    ("<transform>", "<transform>1 ", "expected 16 numbers as transform"),
    ("</document>", "", "expected valid XML, got an error"),
    ("UTF-8", "EBCDIC-9", "expected valid XML, got an error"),
    ("<transform>", "<other>", "expected valid XML, got an error"),
    ("<document", '<!DOCTYPE d [<!ENTITY a "b">]><document', "expected XML without a DOCTYPE"),
    ("</chunk>", "<transform><scale>-1</scale></transform></chunk>", "expected a chunk with a scale above 0, got -1"),
    ("</chunk>", "<transform><rotation>1 0</rotation></transform></chunk>", "expected 9 numbers as rotation"),
])  # fmt: skip
def test_metashape_files_that_are_wrong(tiny: TinyScene, old: str, new: str, words: str) -> None:
    exports.write_metashape(tiny)
    edit(tiny.root / "cameras.xml", old, new, 1)
    assert words in error(tiny.root)


def test_metashape_entities_are_not_expanded(tiny: TinyScene) -> None:
    """Ten levels of ten entities each would be 10 GB; the file is turned away at the first."""
    exports.write_metashape(tiny)
    levels = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10 if i else "aaaaaaaaaa"}">' for i in range(10))
    edit(tiny.root / "cameras.xml", "<document", f"<!DOCTYPE d [{levels}]><document", 1)
    edit(tiny.root / "cameras.xml", "Chunk 1", "&a9;")
    assert "expected XML without a DOCTYPE" in error(tiny.root)


def test_metashape_without_aligned_cameras(tiny: TinyScene) -> None:
    exports.write_metashape(tiny, exports.metashape_document(exports.metashape_camera(0, "000", None)))
    assert error(tiny.root).startswith("cameras.xml: expected aligned cameras, found none")
