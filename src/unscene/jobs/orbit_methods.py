"""How each method sees the object of a photo from a pose: its model and the photo made ready, once for all views."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from unscene.geometry.masks import over_background
from unscene.geometry.splatting import SurfacePoints, lifted, unproject
from unscene.geometry.symmetry import symmetry_of
from unscene.geometry.turntable import RelativePose
from unscene.jobs.orbit_options import GUESSED_ELEVATION, OrbitOptions
from unscene.methods.invs import invs_turn, invs_view
from unscene.methods.shap_e import DISTANCE, FIELD_OF_VIEW, shap_e_mesh
from unscene.methods.zero123 import zero123_view
from unscene.objects.photo import ObjectPhoto, exif_field_of_view, read_object_photo
from unscene.priors.depth.completion import Estimate
from unscene.priors.depth.outline import outline_depth
from unscene.priors.prior_error import PriorError
from unscene.stages.novel_view import NovelView
from unscene.stages.object_source import place_object

GUESSED_FIELD_OF_VIEW = 45.0  # degrees
OUTLINE = "outline"  # what --depth calls a depth made of nothing else
NETWORK_CONTAMINATION = 0.3  # the share that iNVS's release lineage drops of a monocular depth
NETWORK_ORDER = ("zoedepth", "depth-anything-v2")  # the paper's first
NETWORK_SIDE = 512  # pixels of the photo's crop that a depth network sees: about what they are trained at


@dataclass(frozen=True)
class Prepared:
    """A method with its photo: the views of some poses, each with its place among them, as they are made; the photo as
    the model sees it, the model's name, further facts for the record, and what the user should know; known: the points
    that the photo shows, if views add to them."""

    views: Callable[[list[RelativePose]], Iterator[tuple[int, NovelView]]]
    photo: Tensor
    model: str
    facts: dict[str, Any]
    notes: tuple[str, ...]
    known: SurfacePoints | None = None


def prepare(photo: Path, options: OrbitOptions) -> Prepared:
    """Read photo and model, once for all views."""
    methods = {"invs": _prepare_invs, "zero123": _prepare_zero123, "shap-e": _prepare_shap_e}
    return methods[options.method](photo, options)


def _prepare_invs(photo: Path, options: OrbitOptions) -> Prepared:
    from unscene.priors.novel_views.view_inpainter import BUNDLED, load_view_inpainter  # loads diffusers: seconds

    file = _depth_image(photo, options.depth)
    model = load_view_inpainter(Path(options.weights) if options.weights else BUNDLED).to(options.device)
    lens, lens_note = _field_of_view(photo, options)
    read = _read_photo(photo, options, model.size, field_of_view=lens, depth=file)
    if file is not None and read.depth is not None:
        estimate, contamination = Estimate(read.depth, False, file.name), 0.0
    elif options.depth == OUTLINE:
        estimate, contamination = outline_depth(read.alpha, read.focal), 0.0
    else:
        estimate, contamination = _network_depth(photo, options, model.size, lens), NETWORK_CONTAMINATION
    if options.contamination is not None:
        contamination = options.contamination
    source = place_object(read, estimate, elevation=options.known_elevation, contamination=contamination)
    noise = _noise(model.latent_shape, options)
    notes = [*read.notes, lens_note, *_elevation_note(options), f"depth: {estimate.name}"]
    if estimate.relative_disparity:
        notes.append("depth is known up to scale and offset: the object is taken to be as deep as wide")
    if source.replaced > 0:
        notes.append(
            f"depth of {source.replaced:.1%} of the object's pixels: unknown or an outlier, a neighbour's instead"
        )
    if options.invs.strength < 1 or model.told_symmetry:
        front = unproject(source.depth, source.camera)[source.depth > 0]
        symmetry = symmetry_of(front, source.depth, source.camera).name
        notes.append(f"what the photo does not show is guessed by symmetry: {symmetry}")
    facts = {"depth": estimate.name, "field_of_view": lens, "contamination": contamination}

    def view(pose: RelativePose) -> NovelView:
        return invs_view(source, source.target(pose), model, options.invs, noise=noise)

    def turn(poses: list[RelativePose]) -> Iterator[tuple[int, NovelView]]:
        for pose in poses:
            source.target(pose)  # refused before any view is made
        return invs_turn(source, poses, model, options.invs, noise=noise)

    agrees = options.turn == "agreeing" and not options.pose
    known = lifted(source.color, source.depth, source.camera) if agrees else None
    views = turn if agrees else one_by_one(view)
    return Prepared(views, source.on_background, model.name, facts, tuple(notes), known)


def _prepare_zero123(photo: Path, options: OrbitOptions) -> Prepared:
    from unscene.priors.novel_views.zero123 import load_zero123  # loads diffusers: seconds

    model = load_zero123(options.weights or "zero123").to(options.device)
    read = _read_photo(photo, options, model.size)
    source, noise = over_background(read.color, read.alpha), _noise(model.latent_shape, options)

    def view(pose: RelativePose) -> NovelView:
        return zero123_view(source, pose, model, options.zero123, noise=noise)

    return Prepared(one_by_one(view), source, model.name, {}, read.notes)


def _prepare_shap_e(photo: Path, options: OrbitOptions) -> Prepared:
    from unscene.priors.novel_views.shap_e import SIZE, load_shap_e  # loads diffusers: seconds

    model = load_shap_e(options.weights or "openai/shap-e-img2img", device=options.device)
    read = _read_photo(photo, options, SIZE)
    source = over_background(read.color, read.alpha)
    generator = torch.Generator().manual_seed(options.seed)
    mesh = shap_e_mesh(source, model, options.shap_e, elevation=options.known_elevation, generator=generator)
    notes = (
        *read.notes,
        *_elevation_note(options),
        f"the photo was matched to the mesh at an azimuth of {mesh.azimuth:g} degrees",
        f"the mesh is seen from {DISTANCE:g} radii with {FIELD_OF_VIEW:g} degrees of view, whatever the photo's lens",
    )
    return Prepared(one_by_one(lambda pose: mesh.view(pose, SIZE)), source, model.name, {}, notes)


def one_by_one(
    view: Callable[[RelativePose], NovelView],
) -> Callable[[list[RelativePose]], Iterator[tuple[int, NovelView]]]:
    """Views that know nothing of each other, in order."""
    return lambda poses: ((index, view(pose)) for index, pose in enumerate(poses))


def _noise(shape: tuple[int, int, int], options: OrbitOptions) -> Tensor:
    """The initial latent, one for all views, so that they differ by what they show only."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(options.seed))


def _read_photo(
    photo: Path, options: OrbitOptions, size: int, *, field_of_view: float = GUESSED_FIELD_OF_VIEW,
    depth: Path | None = None,
) -> ObjectPhoto:  # fmt: skip
    return read_object_photo(
        photo, size=size, field_of_view=field_of_view, depth=depth, box=options.box, largest=options.largest
    )


def _field_of_view(photo: Path, options: OrbitOptions) -> tuple[float, str]:
    """Degrees, and where they come from."""
    if options.field_of_view is not None:
        return options.field_of_view, f"field of view: {options.field_of_view:g} degrees"
    from_exif = exif_field_of_view(photo)
    if from_exif is not None:
        return from_exif, f"field of view: {from_exif:.1f} degrees, from the photo's EXIF"
    return GUESSED_FIELD_OF_VIEW, f"field of view: {GUESSED_FIELD_OF_VIEW:g} degrees, a guess; --field-of-view sets it"


def _elevation_note(options: OrbitOptions) -> tuple[str, ...]:
    guess = f"elevation of the photo's camera: {GUESSED_ELEVATION:g} degrees, a guess; --elevation sets it"
    return () if options.elevation is not None else (guess,)


def _depth_image(photo: Path, asked: str | None) -> Path | None:
    """The image of the photo's depth, if one was given or lies beside it. Raises PriorError."""
    from unscene.priors.depth.network import NETWORKS  # loads transformers: seconds

    if asked is None:
        beside = photo.with_name(f"{photo.stem}.depth.png")
        return beside if beside.is_file() else None
    if asked in (*NETWORKS, OUTLINE) or Path(asked).is_dir():
        return None
    if not Path(asked).is_file():
        raise PriorError(
            f"--depth: expected an image, {', '.join(NETWORKS)}, {OUTLINE} or a network's folder, but there is no "
            f"'{asked}'."
        )
    return Path(asked)


def _network_depth(photo: Path, options: OrbitOptions, size: int, field_of_view: float) -> Estimate:
    """What a depth network makes of the photo at its own resolution, size size. Nothing is downloaded unless asked for.

    Raises PriorError.
    """
    from unscene.priors.depth.network import DepthNetwork  # loads transformers: seconds

    folder, name = _located_network(options.depth)
    large = _read_photo(photo, options, max(size, NETWORK_SIDE), field_of_view=field_of_view)
    network = DepthNetwork.load(str(folder), device=options.device)
    estimate = network.estimate(over_background(large.color, large.alpha))
    # the nearest pixel's: a mean of object and background lies on neither
    values = F.interpolate(estimate.values[None, None], (size, size), mode="nearest-exact")[0, 0]
    return dataclasses.replace(estimate, values=values, name=name)


def _located_network(asked: str | None) -> tuple[Path, str]:
    """Folder of the network and its name with its revision. Raises PriorError."""
    from unscene.priors.depth.network import NETWORKS, locate_depth_network

    if asked is not None:
        return locate_depth_network(asked)
    for network in NETWORK_ORDER:
        try:
            return locate_depth_network(network, offline=True)
        except PriorError:
            continue
    raise PriorError(
        "depth: iNVS needs the photo's depth, and this machine has neither an image of it beside the photo "
        "(NAME.depth.png) nor a depth network. Four ways forward: fetch a network once, with `hf download "
        f"{NETWORKS['zoedepth'][0]}` or `--depth depth-anything-v2`; give a depth image or a network's folder with "
        "--depth; take a method without depth, --method zero123; or guess depth from the outline, as if the object "
        f"were blown up: --depth {OUTLINE}."
    )
