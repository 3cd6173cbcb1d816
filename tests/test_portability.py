"""Nothing keeps Windows or macOS users out, as far as Linux can tell."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import unscene
from tests.box_scene import BoxScene
from tests.conftest import TINY_NERF
from tests.priors.tiny_checkpoints import tiny_checkpoint
from tests.sphere_views import cameras, sphere_view
from unscene.file_names import distinct, portable, view_files
from unscene.files import read_pixels, write_png
from unscene.geometry.masks import dilate
from unscene.jobs.export import export
from unscene.jobs.orbit import orbit
from unscene.methods import InNOutConfig, MaldNerfConfig
from unscene.priors.diffusion.config import DiffusionConfig
from unscene.priors.novel_views.view_inpainter import initial_view_inpainter
from unscene.results.export import write_points
from unscene.results.run import Run
from unscene.results.truth import Truth, read_truth
from unscene.scenes.scene import Scene
from unscene.stages.customization import CustomizationConfig, CustomizeConfig
from unscene.stages.dataset_update import UpdateConfig
from unscene.stages.patches import PatchConfig
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Picture
from unscene.training.run import RunFolder

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "unscene").rglob("*.py"))

# A system without what Unix has


def without_unix(*arguments: str) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "without_unix.py"), *arguments],
        env=environment, capture_output=True, text=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_every_module_imports_and_help_and_doctor_run_without_what_only_unix_has() -> None:
    imported, described, examined = without_unix("import", "--help", "doctor").split("\f\n")
    assert imported.endswith("imported\n")
    assert "remove" in described
    assert re.search(r"^memory +[\d.]+ GB, [\d.]+ GB free$", examined, re.MULTILINE)


# Text files


def test_every_text_file_is_opened_as_utf_8() -> None:
    """Windows would take the encoding of its language."""
    assert len(SOURCES) > 100
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and is_text(node) and not any(word.arg == "encoding" for word in node.keywords)
    ]
    assert not silent, f'say encoding="utf-8" in {", ".join(silent)}'


def is_text(call: ast.Call) -> bool:
    """Whether a call opens, reads or writes a text file; opening with more than a mode is some other library's."""
    function = call.func
    if isinstance(function, ast.Attribute) and function.attr in ("read_text", "write_text"):
        return True
    if isinstance(function, ast.Name) and function.id in ("open", "fdopen"):
        mode = call.args[1] if len(call.args) > 1 else None
    elif isinstance(function, ast.Attribute) and function.attr in ("open", "fdopen"):
        owner = getattr(function.value, "id", getattr(function.value, "attr", ""))
        if owner in ("Database", "Image", "os", "tarfile", "RunFolder", "webbrowser"):
            return False
        mode = call.args[0] if call.args else None
    else:
        return False
    mode = next((word.value for word in call.keywords if word.arg == "mode"), mode)
    return mode is None or not (isinstance(mode, ast.Constant) and "b" in str(mode.value))


@pytest.mark.parametrize("name", ["façade.png", "日本.png"])
def test_pictures_are_read_whatever_the_alphabet_of_their_path(tmp_path: Path, name: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    write_png(tmp_path / name, pixels)
    read = read_pixels(tmp_path / name)
    assert read is not None and np.array_equal(read[..., ::-1], pixels)
    for content in (b"", b"text"):
        (tmp_path / "none.png").write_bytes(content)
        assert read_pixels(tmp_path / "none.png") is None


def test_the_source_opens_pictures_in_no_other_way() -> None:
    assert not [path for path in SOURCES if re.search(r"cv2\.im(read|write)\(", path.read_text(encoding="utf-8"))]


# Files that are replaced while what was read from them is in use


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="needs Linux's list of mapped files")
def test_nothing_read_from_a_checkpoint_stands_in_the_way_of_the_next(tmp_path: Path) -> None:
    """Windows replaces no file that is mapped into memory, as safetensors does."""
    checkpoints = Checkpoints(tmp_path, seed=0)
    checkpoints.save("fit", {"weights": torch.rand(100_000)}, finished=False)
    loaded = checkpoints.load("fit")
    assert loaded is not None and not is_mapped(tmp_path)


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="needs Linux's list of mapped files")
def test_an_opened_run_can_be_written_again(runs: dict[str, Run]) -> None:
    opened = unscene.open_run(runs["fit"].folder)
    assert opened and not is_mapped(opened.folder)
    kept = load_file(opened.folder / "field.safetensors")
    assert kept and is_mapped(opened.folder)  # this is how it would show


def is_mapped(folder: Path) -> bool:
    return str(folder) in Path("/proc/self/maps").read_text(encoding="utf-8")


# Names of files

NAMES = (  # of photos, as Linux allows them
    "IMG:1.png", "IMG?1.png", "IMG_1.png", "img_1.JPG", "a<b>|*\"\\c.png", "con.png", "left/nul.b.png",
    "dots. ./e\u0301.png",
)  # fmt: skip
STEMS = ("IMG_1-3", "IMG_1-4", "IMG_1", "img_1-2", "a_b_____c", "_con", "left-nul.b", "dots. .-e\u0301")
REFUSED = re.compile(r'[<>:"|?*\\\x00-\x1f]|[. ]$')
RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{digit}" for port in ("COM", "LPT") for digit in range(10))}


def complaints(paths: list[str]) -> list[str]:
    """What Windows or macOS would have against relative paths that are to lie beside each other."""
    bad = [
        f"{path}: {part!r}"
        for path in paths
        for part in path.split("/")
        if REFUSED.search(part) or part.split(".")[0].strip().upper() in RESERVED or len(part) > 200
    ]
    seen: dict[str, str] = {}
    for path in paths:
        other = seen.setdefault(unicodedata.normalize("NFC", path).casefold(), path)
        bad += [f"{path} and {other}"] if other != path else []
    return bad


def paths_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_complaints_are_made() -> None:
    hostile = [
        "a:b",
        "x/c?",
        "d\\e",
        "f.",
        "g /h",
        "aux.txt",
        "i/LPT1",
        "J",
        "j",
        "e\u0301",
        "\u00e9",
        "fine",
        "fi ne.1",
    ]
    assert len(complaints(hostile)) == 9


def test_names_are_mended_and_stay_apart() -> None:
    assert list(view_files(NAMES)) == list(NAMES)
    assert tuple(view_files(NAMES).values()) == STEMS
    assert not complaints([f"{stem}.png" for stem in view_files(NAMES).values()])


@pytest.mark.parametrize(
    "path", ["004.png", "left/004.JPG", "photo 1 (2).v2", "été.png", "../up/./here", "console", ".hidden"]
)
def test_names_without_fault_are_kept(path: str) -> None:
    assert portable(path) == path
    assert distinct([path]) == [path]


@pytest.mark.parametrize(
    ("paths", "wanted"),
    [
        (["a:", "a_"], ["a_-2", "a_"]),  # what is fine as it is keeps its name
        (["A", "a", "a-2"], ["A", "a-2", "a-2-2"]),
        (["a. ", "a__"], ["a__-2", "a__"]),
        (["com1", "COM1.x", "com¹", "com10"], ["_com1", "_COM1.x", "_com¹", "com10"]),
        (["\u00e9", "e\u0301"], ["\u00e9", "e\u0301-2"]),
        (["x", "x", "x"], ["x", "x-2", "x-3"]),
        ([], []),
    ],
)
def test_names_that_would_meet(paths: list[str], wanted: list[str]) -> None:
    assert distinct(paths) == wanted
    assert not complaints(wanted)


QUICK = unscene.FitConfig(steps=2)
IN_N_OUT = InNOutConfig(
    nerf=TINY_NERF, reconstruction=QUICK, prior=QUICK, joint=QUICK, rays=64, prior_rays=16, joint_prior_rays=16,
    candidates=8, patch=PatchConfig(size=16),
)  # fmt: skip
MALD_NERF = MaldNerfConfig(
    nerf=TINY_NERF, reconstruction=QUICK, training=replace(QUICK, steps=12), rays=64, patch=16,
    most_views=2, update=UpdateConfig(every=4),
)  # fmt: skip
TAUGHT = CustomizationConfig(CustomizeConfig(rank=2, batch=2, crop=48), fit=QUICK)
REMOVE = unscene.RemoveOptions(
    prior="bundled", video_frames=2, fill="mask", in_n_out=IN_N_OUT, mald_nerf=MALD_NERF, customization=TAUGHT,
    diffusion=DiffusionConfig(steps=2),
)  # fmt: skip


@pytest.fixture(scope="module")
def scene(room_with_tests: BoxScene) -> Scene:
    """Its test views are the last two."""
    return replace(room_with_tests.scene, names=NAMES)


@pytest.fixture(scope="module")
def runs(one_thread: None, scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """A run of each kind about photos with hostile names."""
    out = tmp_path_factory.mktemp("runs")
    fit = unscene.FitOptions(nerf=TINY_NERF, fit=QUICK, rays=64)
    with pytest.MonkeyPatch.context() as patch:
        few = lambda *a, **more: write_points(*a, **more | {"points": 100})  # noqa: E731
        patch.setattr("unscene.jobs.removal_results.write_points", few)
        made = {"fit": unscene.fit(scene, out / "fit", fit)}
        for method in ("in-n-out", "mald-nerf"):
            made[method] = unscene.remove(scene, out / method, replace(REMOVE, method=method))
    return made


@pytest.mark.parametrize("kind", ["fit", "in-n-out", "mald-nerf"])
def test_no_file_of_a_run_has_a_name_that_some_system_refuses(runs: dict[str, Run], scene: Scene, kind: str) -> None:
    run = runs[kind]
    paths = paths_below(run.folder)
    assert not complaints(paths)
    tests = {f"renders/{stem}.png" for stem in STEMS[-2:]}
    assert tests <= set(paths)
    if kind != "fit":
        assert {f"masks/{stem}.png" for stem in STEMS} <= set(paths)
        assert len([path for path in paths if path.startswith("dataset/images/") and path.endswith(".png")]) == 8
    previews = {Path(path).name for path in paths if path.startswith("previews/")}
    trained = [STEMS[view] for view in scene.train.tolist()]
    if kind == "in-n-out":
        assert {f"candidate-{stem}.png" for stem in trained} <= previews
    if kind == "mald-nerf":
        assert any(f"update-{stem}-00.png" in previews for stem in trained)


def test_the_data_set_of_such_a_run_loads_again(runs: dict[str, Run], scene: Scene, tmp_path: Path) -> None:
    exported = export(unscene.open_run(runs["in-n-out"].folder), "dataset", tmp_path / "exported")
    cleaned = unscene.load_scene(exported)
    assert len(cleaned) == len(scene) and not complaints(paths_below(tmp_path))
    assert scene.masks is not None
    outside = ~dilate(scene.masks, REMOVE.mask_margin)
    assert torch.equal(cleaned.images[outside], scene.images[outside])  # each under its own name


def test_such_a_run_is_evaluated_by_the_names_of_photos_and_by_its_own(
    runs: dict[str, Run], scene: Scene, tmp_path: Path
) -> None:
    run = unscene.open_run(runs["in-n-out"].folder)
    assert run.names == scene.names
    by_scene = unscene.evaluate(run, unscene.scene_truth(scene))
    assert by_scene.views == 2 and by_scene.psnr_masked is not None
    views = [0, 1, 2, 4, 7]
    for folder, stems in (("photos", [name.split(".png")[0].replace("/", "-") for name in NAMES]), ("files", STEMS)):
        for view in views:
            write_png(tmp_path / folder / f"{stems[view]}.png", scene.images[view].numpy())
    scores = [unscene.evaluate(run, read_truth(tmp_path / folder, run.folder)) for folder in ("photos", "files")]
    assert scores[0] == scores[1] and scores[0].views == 5 and scores[0].psnr_masked is not None


def test_truth_of_one_view_is_not_taken_for_another_s(runs: dict[str, Run], scene: Scene) -> None:
    """Without its extension, the second photo is called what files about the first are."""
    run = replace(runs["fit"], names=("a.jpg", "a.png", *NAMES[2:]))
    assert unscene.evaluate(run, Truth({"a": scene.image(0)}, {})).views == 1


def test_runs_from_before_keep_their_names(runs: dict[str, Run], tmp_path: Path) -> None:
    run = replace(runs["fit"], names=tuple(f"left/{view:03}.JPG" for view in range(8)))
    written = run.render("test", tmp_path)
    assert [path.name for path in written] == ["left-006.png", "left-007.png"]


def test_no_file_of_an_orbit_has_a_name_that_some_system_refuses(tmp_path: Path) -> None:
    color, depth = sphere_view(cameras(0.0, size=96))
    pixels = torch.cat([color, (depth > 0).float()[..., None]], -1)
    Image.fromarray((pixels * 255).round().byte().numpy(), "RGBA").save(tmp_path / "a?b.png")
    cv2.imwrite(str(tmp_path / "a?b.depth.png"), (depth * 8192).round().numpy().astype(np.uint16))
    initial_view_inpainter(tiny_checkpoint("sd-1.5", tmp_path / "sd"), size=32, seed=0, told_photo=True).save(
        tmp_path / "invs"
    )
    options = unscene.OrbitOptions(
        weights=str(tmp_path / "invs"), field_of_view=45.0, pose=("30,10,1.25", "30,10,1.5", "-45,0,1")
    )
    made = orbit(tmp_path / "a?b.png", tmp_path / "run", options)
    paths = paths_below(made.folder)
    assert not complaints(paths)
    assert "previews/view 000 +30_+10_1.25.png" in paths and len([p for p in paths if p.startswith("views/")]) == 3


def test_pictures_and_stages_of_any_name_become_files(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.log(Picture("x: y?", torch.rand(4, 6, 3)))
    run.log(Picture("candidate", torch.rand(4, 6, 3), "left/IMG:1.v2.png"))
    run.checkpoints(0).save("inpaint: every view", {"a": torch.zeros(1)}, finished=True)
    files = [path for path in paths_below(tmp_path) if "." in path]
    assert files == [
        "checkpoint/inpaint_-every-view.safetensors", "previews/candidate-left-IMG_1.v2.png", "previews/x_ y_.png",
    ]  # fmt: skip
    assert run.checkpoints(0).product("inpaint: every view") is not None


# A program without a terminal

START = """
import os, sys
{before}
from unscene.warp_runtime import start_warp
start_warp()
{after}
print("started")
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("os.close(2)", ""),
        ("os.close(2); sys.stderr = None", ""),
        ("sys.stderr.close()", ""),
        ("import io; sys.stderr = io.StringIO()", ""),  # a notebook's
        ("", "print('still here', file=sys.stderr)"),
    ],
    ids=["no descriptor", "pythonw", "closed", "notebook", "terminal"],
)
def test_warp_starts_without_a_terminal(before: str, after: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    script = START.format(before=before, after=after)
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "started\n"), done.stderr[-2000:]
    assert ("still here" in done.stderr) == bool(after)
