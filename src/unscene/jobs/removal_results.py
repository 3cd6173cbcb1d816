"""What a removal leaves in its folder: renders, the cleaned data set, masks, a video, and points or splats."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from unscene.fields.splats import Splats
from unscene.file_names import view_files
from unscene.geometry.cameras import Cameras, orbit_path
from unscene.jobs.export import write_run_splats
from unscene.jobs.given_splat import GivenSplat, without_object
from unscene.jobs.remove_options import RemoveOptions
from unscene.jobs.running import drain
from unscene.results.export import write_points, write_video
from unscene.results.run import Run
from unscene.scenes.image_files import read_image
from unscene.scenes.scene import Scene
from unscene.scenes.transforms import write_transforms
from unscene.splat_files.formats import write_splats
from unscene.stages.removal import Removal
from unscene.stages.view_choice import spread
from unscene.training.events import Watch
from unscene.training.run import RunFolder

LOOKED_AT = 12  # frames of the video of which is told how much lies outside of the photos
SCENE = "scene.ply"  # points, or splats where the field is made of them


def write_results(
    run: Run, folder: RunFolder, scene: Scene, removal: Removal, options: RemoveOptions, watch: Watch,
    splat: GivenSplat | None,
) -> dict[int, Tensor]:  # fmt: skip
    """Renders, masks, cleaned data set, video and points. Returns the renders of test views, H W 3 uint8."""
    assert scene.masks is not None
    views = scene.test if len(scene.test) else scene.train
    files = run.render("test", run.folder / "renders", watch)
    cleaned, size, rendered = removal.scene, (scene.cameras.width, scene.cameras.height), dict[int, Tensor]()
    if len(scene.test):  # test photos may show the object too: inside their masks the field speaks
        for view, file in zip(views.tolist(), files, strict=True):
            rendered[view] = torch.from_numpy(read_image(file, file.name, size))
        shown = (
            torch.where(scene.masks[view][..., None].cpu(), render, scene.images[view].cpu())
            for view, render in rendered.items()
        )
        cleaned = cleaned.with_images(views, shown)
    write_transforms(run.folder / "dataset", cleaned.with_masks(None))
    files = view_files(scene.names)
    for name, mask in zip(scene.names, scene.masks, strict=True):
        folder.write_image(Path("masks") / f"{files[name]}.png", mask)
    if options.video_frames:
        drain(write_video(run.folder / "video.mp4", run.field, video_path(scene, options)), watch)
    if splat is not None and isinstance(run.field, Splats):
        assert removal.rows is not None
        write_splats(run.folder / SCENE, without_object(splat, run.field.still, removal.rows))
        return rendered
    if isinstance(run.field, Splats):
        write_run_splats(run, run.field, run.folder / SCENE, watch)
        return rendered
    generator = torch.Generator().manual_seed(options.seed)
    points = write_points(
        run.folder / SCENE, run.field, scene.cameras[scene.train], points=200_000, generator=generator,
        origin=scene.origin,
    )  # fmt: skip
    drain(points, watch)
    return rendered


def renders_beside(scene: Scene, options: RemoveOptions) -> dict[str, tuple[Cameras, list[str]]]:
    """What a run renders beside its training views, for `find_outside`: test views and some of the video."""
    renders = {}
    if len(scene.test):
        renders["the test views"] = scene.cameras[scene.test], [scene.names[view] for view in scene.test.tolist()]
    if options.video_frames:
        frames = spread(torch.arange(options.video_frames), LOOKED_AT)
        renders["the video"] = video_path(scene, options)[frames], [f"frame-{frame}" for frame in frames.tolist()]
    return renders


def video_path(scene: Scene, options: RemoveOptions) -> Cameras:
    return orbit_path(scene.cameras[scene.train], options.video_frames)


def over_photos(removal: Removal, masked: Scene, photos: Tensor) -> tuple[Removal, Scene]:
    """What was made of a splat's renders, and these, with photos (N H W 3 uint8) in their place outside the masks."""
    assert masked.masks is not None
    inside = masked.masks[..., None].to(photos.device)
    shown = torch.where(inside, removal.scene.images, photos)
    cleaned = dataclasses.replace(removal.scene, images=shown)
    return dataclasses.replace(removal, scene=cleaned), dataclasses.replace(masked, images=photos)
