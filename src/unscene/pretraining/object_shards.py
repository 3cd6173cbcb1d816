"""Training data of novel-view models as WebDataset shards: some views of one object in every sample.

A sample holds V views of one object on no background: `viewNN.png` (RGBA), `depthNN.png` (16 bit, z-depth in units of
DEPTH_UNIT, 0 off the object) and `cameras.json`. Any two of them make a pair of source and target.
"""

# webdataset finds its names at run time
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import webdataset
from PIL import Image
from torch import Tensor
from webdataset import tariterators

from unscene.files import atomic_write, write_json
from unscene.geometry.cameras import Cameras
from unscene.objects.object_error import ObjectError

DEPTH_UNIT = 1 / 8192  # the deepest depth that fits is 8 object radii
INDEX = "shards.json"
RENDER = "render objects with `unscene shards`"


@dataclass(frozen=True)
class ObjectSample:
    """Views of one object: colors V H W 4 uint8 (straight alpha), depths V H W float, 0 off the object."""

    key: str
    colors: Tensor
    depths: Tensor
    cameras: Cameras


class ShardError(ObjectError):
    """A folder of shards that cannot be used; the text says what was expected, what came and what to do."""


def write_shard(path: Path, samples: Iterable[ObjectSample]) -> int:
    """Write one shard atomically; returns the number of samples."""
    count = 0
    with atomic_write(path) as temporary, temporary.open("wb") as file, webdataset.TarWriter(file) as shard:
        for sample in samples:
            shard.write(_fields(sample))
            count += 1
    return count


def write_index(folder: Path, counts: dict[str, int]) -> None:
    """Say which shards there are and how many samples each holds, so that a resumed run can skip without reading."""
    write_json(folder / INDEX, dict(sorted(counts.items())))


def read_index(folder: Path) -> dict[str, int]:
    """Samples by shard. Raises ShardError if the folder has none."""
    index = folder / INDEX
    if not index.is_file():
        raise ShardError(f"{folder}: expected shards with a {INDEX}, found none; make them with `unscene shards`.")
    try:
        counts = {str(name): int(count) for name, count in json.loads(index.read_text(encoding="utf-8")).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ShardError(f"{index}: expected samples by shard, found something else; copy it again.") from error
    absent = [name for name in counts if Path(name).name != name or not (folder / name).is_file()]
    if absent or not counts:
        raise ShardError(
            f"{index}: expected the shards it lists beside it, found no {absent[0] if absent else 'entry'}; "
            "copy the whole folder again."
        )
    empty = [name for name, count in counts.items() if count < 1]
    if empty:
        raise ShardError(
            f"{index}: expected at least one sample in every shard, got {counts[empty[0]]} for {empty[0]}; "
            "make the shards again with `unscene shards`."
        )
    return counts


def stream_views(
    folder: Path, *, seed: int, skip: int, process: int = 0, processes: int = 1
) -> Iterator[tuple[int, dict[str, bytes]]]:
    """Endless stream of undecoded samples with their epoch, in an order that depends on the seed alone.

    Every epoch deals the shards out anew, so that processes see different objects; skip: samples of this process's
    stream to leave out, as after a resume; whole shards are skipped unread. Raises ShardError for a shard that is none,
    or holds another number of samples than the index says, on which all skipping rests.
    """
    counts = read_index(folder)
    if len(counts) < processes:
        raise ShardError(f"{folder}: expected at least one shard per process, got {len(counts)} for {processes}.")
    epoch = 0
    while True:
        order = np.random.default_rng([seed, epoch]).permutation(sorted(counts))
        for name in order[process::processes].tolist():
            if skip >= counts[name]:
                skip -= counts[name]
                continue
            for sample in _read_shard(folder / name, counts[name]):
                if skip:
                    skip -= 1
                    continue
                yield epoch, sample
        epoch += 1


def decode_view(sample: dict[str, bytes], view: int) -> tuple[Tensor, Tensor, Cameras]:
    """Colours H W 4 uint8, depth H W and camera of one view of an undecoded sample. Raises ShardError."""
    camera = read_cameras(sample)[[view]]
    try:
        with Image.open(io.BytesIO(sample[f"view{view:02}.png"])) as image:
            color = torch.from_numpy(np.array(image.convert("RGBA")))
        with Image.open(io.BytesIO(sample[f"depth{view:02}.png"])) as image:
            depth = torch.from_numpy(np.asarray(image).astype(np.float32)) * DEPTH_UNIT
    except (KeyError, OSError) as error:  # Pillow's for what is no image are OSErrors
        raise ShardError(f"{sample['__key__']}: expected images of view {view}, got {error!r}; {RENDER}.") from error
    return color, depth, camera


def read_cameras(sample: dict[str, bytes]) -> Cameras:
    """All cameras of an undecoded sample. Raises ShardError."""
    try:
        content = json.loads(sample["cameras.json"])
        poses, focal, principal = (torch.tensor(content[name]) for name in ("T_world_camera", "focal", "principal"))
        size = int(content["size"])
    except (KeyError, ValueError, TypeError) as error:
        raise ShardError(f"{sample['__key__']}: expected cameras of an object, got {error!r}; {RENDER}.") from error
    return Cameras(poses, focal, principal, torch.zeros(len(poses), 5), size, size)


def _read_shard(path: Path, expected: int) -> Iterator[dict[str, bytes]]:
    """The undecoded samples of one shard."""
    count = 0
    try:
        for sample in _samples(path):
            if "cameras.json" not in sample:
                raise ShardError(
                    f"{path}: expected views of objects with a cameras.json in every sample, found none in "
                    f"{sample['__key__']}, so this is another kind of WebDataset; {RENDER}."
                )
            count += 1
            yield sample
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise ShardError(f"{path}: expected a readable tar file, got {error}; copy or render it again.") from error
    if count != expected:
        raise ShardError(
            f"{path}: expected {expected} samples, as {INDEX} beside it says, got {count}; copy the whole folder "
            "again, or repeat the `unscene shards` that made it."
        )


def _samples(path: Path) -> Iterator[dict[str, bytes]]:
    """Of one shard. Opened here: to webdataset "pipe:..." is a command to run, and the C: of Windows a protocol."""
    with path.open("rb") as file:
        members = tariterators.tar_file_expander([{"url": path.name, "stream": file}])
        yield from tariterators.group_by_keys(members)


def _fields(sample: ObjectSample) -> dict[str, object]:
    cameras = sample.cameras
    described = {
        "T_world_camera": cameras.T_world_camera.tolist(),
        "focal": cameras.focal.tolist(),
        "principal": cameras.principal.tolist(),
        "size": cameras.width,
    }
    fields: dict[str, object] = {"__key__": sample.key, "cameras.json": json.dumps(described).encode()}
    for view in range(len(cameras)):
        fields[f"view{view:02}.png"] = _png(Image.fromarray(sample.colors[view].numpy(), "RGBA"))
        units = (sample.depths[view] / DEPTH_UNIT).round().clamp(0, 65535).numpy().astype(np.uint16)
        fields[f"depth{view:02}.png"] = _png(Image.fromarray(units))
    return fields


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()
