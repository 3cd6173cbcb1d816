"""How each method sees the object of a photo from a pose: its model and the photo made ready, once for all views."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from unscene.geometry.splatting import BACKGROUND
from unscene.geometry.turntable import RelativePose, object_cameras
from unscene.methods.invs import InvsConfig, NovelView, invs_view
from unscene.methods.object_source import place_object
from unscene.methods.result import MethodError
from unscene.objects import example
from unscene.objects.photo import ObjectPhoto, exif_field_of_view, read_object_photo
from unscene.priors.depth import Estimate
from unscene.priors.prior_error import PriorError

GUESSED_FIELD_OF_VIEW = 45.0  # degrees
NETWORK_CONTAMINATION = 0.3  # the share that iNVS's release lineage drops of a monocular depth
NETWORK_ORDER = ("zoedepth", "depth-anything-v2")  # the paper's first
PAPERS_GUIDANCE = 3.0
DISTANCE = 3.0  # of the photo's camera from the object's centre, in radii, where a method has no depth to tell


@dataclass(frozen=True)
class OrbitOptions:
    """See an object from all around."""

    method: Literal["invs", "zero123", "shap-e"] = "invs"
    """The paper to follow."""
    weights: str | None = None
    """The method's model: a folder of `unscene train`, or, but for invs, one of the hub; by default the bundled one
    (invs) or the published ones (zero123, shap-e)."""
    depth: str | None = None
    """For invs. A greyscale image of the photo's depth, zoedepth, depth-anything-v2, or a network's folder; by default
    NAME.depth.png beside the photo, else a depth network that this machine has."""
    depth_unit: float = 1 / 8192
    """What one step of a depth image stands for, in any unit of length."""
    field_of_view: float | None = None
    """Of the photo's longer side, degrees; by default what its EXIF says, else 45."""
    elevation: float = 15.0
    """Degrees of the photo's camera above the object's horizon."""
    contamination: float | None = None
    """Share of points to drop as outliers of the depth; by default 0.3 of a network's, as iNVS's release lineage, and
    none of a depth image's."""
    box: tuple[int, int, int, int] | None = None
    """X Y WIDTH HEIGHT around the object, in pixels of the photo: GrabCut cuts it out."""
    largest: bool = False
    """Of several objects take the largest."""
    pose: tuple[str, ...] = ()
    """AZIMUTH,ELEVATION,DISTANCE of single views instead of a turn: degrees to the right and upwards, and a multiple of
    the photo's distance, all relative to the photo."""
    frames: int = 24
    """Views of the turn."""
    guidance: float | None = None
    """Classifier-free guidance of zero123 and shap-e; by default each paper's, 3."""
    device: str = "cpu"
    """Where the model runs: cpu, cuda, mps."""
    seed: int = 0
    """Of all random numbers."""
    invs: InvsConfig = field(default_factory=InvsConfig)
    """Settings of iNVS."""


ViewMaker = Callable[[RelativePose], NovelView]


@dataclass(frozen=True)
class Prepared:
    """A method with its photo: the view of every pose, the photo on its background, and what to record."""

    view: ViewMaker
    photo: Tensor
    model: str
    notes: tuple[str, ...]


def with_example(photo: Path, options: OrbitOptions) -> tuple[Path, OrbitOptions]:
    """The photo and its facts; `example` is the one that travels with the package."""
    if str(photo) != "example":
        return photo, options
    facts = {"field_of_view": example.FIELD_OF_VIEW, "elevation": example.ELEVATION, "depth_unit": example.DEPTH_UNIT}
    return example.PHOTO, dataclasses.replace(options, **facts)


def check_options(options: OrbitOptions) -> None:
    """Raise MethodError for numbers that mean nothing."""
    ranges: dict[str, tuple[float | None, float, float]] = {
        "frames": (options.frames, 1, 10_000),
        "field-of-view": (options.field_of_view, 1, 150),
        "elevation": (options.elevation, -90, 90),
        "depth-unit": (options.depth_unit, 1e-12, 1e12),
        "contamination": (options.contamination, 0, 0.5),
        "guidance": (options.guidance, 0, 100),
        "invs.steps": (options.invs.steps, 1, 1000),
    }
    for name, (value, low, high) in ranges.items():
        if value is not None and not low <= value <= high:
            raise MethodError(f"--{name}: expected {low:g} to {high:g}, got {value:g}.")


def prepare(photo: Path, options: OrbitOptions) -> Prepared:
    """Read photo and model, once for all views."""
    methods = {"invs": _prepare_invs, "zero123": _prepare_zero123, "shap-e": _prepare_shap_e}
    return methods[options.method](photo, options)


def _prepare_invs(photo: Path, options: OrbitOptions) -> Prepared:
    from unscene.priors.view_inpainter import BUNDLED, load_view_inpainter  # loads diffusers: seconds

    model = load_view_inpainter(Path(options.weights) if options.weights else BUNDLED).to(options.device)
    file = _depth_image(photo, options.depth)
    read = _read_photo(photo, options, model.size, file)
    if read.depth is not None and file is not None:
        estimate, contamination = Estimate(read.depth, False, file.name), 0.0
    else:
        estimate, contamination = (
            _network_depth(_on_background(read), options.depth, options.device),
            NETWORK_CONTAMINATION,
        )
    if options.contamination is not None:
        contamination = options.contamination
    source = place_object(read, estimate, elevation=options.elevation, contamination=contamination)
    noise = torch.randn(model.latent_shape, generator=torch.Generator().manual_seed(options.seed))
    unsure = ("depth is known up to scale and offset: the object is taken to be as deep as wide",)
    notes = (*read.notes, f"depth: {estimate.name}", *(unsure if estimate.relative_disparity else ()))

    def view(pose: RelativePose) -> NovelView:
        return invs_view(source, source.target(pose), model, options.invs, noise=noise)

    return Prepared(view, source.on_background, model.name, notes)


def _prepare_zero123(photo: Path, options: OrbitOptions) -> Prepared:
    from unscene.priors.photo_token import pose_numbers
    from unscene.priors.zero123 import load_zero123  # loads diffusers: seconds

    model = load_zero123(options.weights or "zero123").to(options.device)
    read = _read_photo(photo, options, model.size, None)
    source = _on_background(read)
    noise = torch.randn(model.latent_shape, generator=torch.Generator().manual_seed(options.seed))
    guidance = PAPERS_GUIDANCE if options.guidance is None else options.guidance

    def view(pose: RelativePose) -> NovelView:
        numbers = [
            torch.tensor([n]) for n in (pose.azimuth, pose.elevation, model.camera_distance * (pose.distance - 1))
        ]
        generated = model.generate(
            source[None], pose_numbers(*numbers), noise=noise[None], steps=options.invs.steps, guidance=guidance
        )
        return NovelView(generated[0])

    return Prepared(view, source, model.name, read.notes)


def _prepare_shap_e(photo: Path, options: OrbitOptions) -> Prepared:
    """One mesh for all views. It does not know where the photo was taken from: the turn most like it is the photo's."""
    from unscene.objects.mesh import colored_mesh, normalized
    from unscene.objects.ray_tracer import Lighting, RayTracer
    from unscene.priors.shap_e import SIZE, load_shap_e  # loads diffusers: seconds

    model = load_shap_e(options.weights or "openai/shap-e-img2img", device=options.device)
    read = _read_photo(photo, options, SIZE, None)
    source = _on_background(read)
    guidance = PAPERS_GUIDANCE if options.guidance is None else options.guidance
    made = model.reconstruct(source, generator=torch.Generator().manual_seed(options.seed), guidance=guidance)
    mesh = normalized(colored_mesh(made.vertices.numpy(), made.faces.numpy(), made.colors.numpy()))
    tracer = RayTracer(mesh, Lighting((0.0, 0.0, 1.0), ambient=1.0, specular=0.0))

    def seen(azimuth: float, pose: RelativePose, size: int) -> Tensor:
        camera = object_cameras(
            torch.tensor([azimuth + pose.azimuth]), torch.tensor([options.elevation + pose.elevation]),
            torch.tensor([DISTANCE * pose.distance]), field_of_view=GUESSED_FIELD_OF_VIEW, size=size,
        )  # fmt: skip
        shown = tracer.render(camera, 0)
        return shown.color * shown.alpha[..., None] + BACKGROUND * (1 - shown.alpha[..., None])

    small = torch.nn.functional.interpolate(source.permute(2, 0, 1)[None], 64, mode="area")[0].permute(1, 2, 0)
    turns = [float(turn) for turn in range(0, 360, 10)]
    front = min(turns, key=lambda turn: float((seen(turn, RelativePose(0), 64) - small).square().mean()))
    notes = (*read.notes, f"the photo was matched to the mesh at an azimuth of {front:g} degrees")
    return Prepared(lambda pose: NovelView(seen(front, pose, SIZE)), source, model.name, notes)


def _read_photo(photo: Path, options: OrbitOptions, size: int, depth: Path | None) -> ObjectPhoto:
    """The photo and, if its lens had to be guessed, a note of that."""
    told = options.field_of_view or exif_field_of_view(photo)
    read = read_object_photo(
        photo, size=size, field_of_view=told or GUESSED_FIELD_OF_VIEW, depth=depth, depth_unit=options.depth_unit,
        box=options.box, largest=options.largest,
    )  # fmt: skip
    if told is None:
        note = f"field of view: {GUESSED_FIELD_OF_VIEW:g} degrees, a guess; --field-of-view sets it"
        return dataclasses.replace(read, notes=(*read.notes, note))
    return read


def _on_background(photo: ObjectPhoto) -> Tensor:
    return photo.color * photo.alpha[..., None] + BACKGROUND * (1 - photo.alpha[..., None])


def _depth_image(photo: Path, asked: str | None) -> Path | None:
    """The image of the photo's depth, if one was given or lies beside it."""
    if asked is not None:
        return Path(asked) if Path(asked).is_file() else None
    beside = photo.with_name(f"{photo.stem}.depth.png")
    return beside if beside.is_file() else None


def _network_depth(image: Tensor, asked: str | None, device: str) -> Estimate:
    """What a depth network makes of the photo. Nothing is downloaded unless asked for. Raises PriorError."""
    from unscene.priors.depth_network import NETWORKS, DepthNetwork, locate_depth_network  # loads transformers: seconds

    if asked is not None:
        return DepthNetwork.load(asked, device=device).estimate(image)
    for network in NETWORK_ORDER:
        try:
            folder, _ = locate_depth_network(network, offline=True)
        except PriorError:
            continue
        return dataclasses.replace(DepthNetwork.load(str(folder), device=device).estimate(image), name=network)
    raise PriorError(
        "depth: iNVS needs the photo's depth, and this machine has neither an image of it beside the photo "
        "(NAME.depth.png) nor a depth network. Three ways forward: fetch a network once, with `hf download "
        f"{NETWORKS['zoedepth'][0]}` or `--depth depth-anything-v2`; give a depth image, a network's folder or its "
        "name with --depth; or take a method without depth, --method zero123."
    )
