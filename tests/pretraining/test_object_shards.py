"""Shards of rendered objects: what is written comes back, in an order that processes and resumed runs agree on."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch

from tests.pretraining.sphere_shards import SIZE, sphere_samples, write_sphere_shards
from unscene.pretraining import object_shards
from unscene.pretraining.object_shards import (
    DEPTH_UNIT,
    INDEX,
    ShardError,
    decode_view,
    read_cameras,
    read_index,
    stream_views,
    write_index,
    write_shard,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four shards of unequal size, ten samples."""
    return write_sphere_shards(tmp_path_factory.mktemp("shards"), 3, 1, 4, 2, views=1, size=8)


def seen(folder: Path, count: int, *, seed: int = 0, skip: int = 0, **share: int) -> list[tuple[int, str]]:
    """Epoch and key of the first samples of a stream."""
    stream = stream_views(folder, seed=seed, skip=skip, **share)
    return [(epoch, str(sample["__key__"])) for epoch, sample in itertools.islice(stream, count)]


def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the shards that are opened from now on."""
    names: list[str] = []
    whole = object_shards._samples

    def recorded(path: Path):
        names.append(path.name)
        return whole(path)

    monkeypatch.setattr(object_shards, "_samples", recorded)
    return names


def test_views_survive_a_round_trip(tmp_path: Path) -> None:
    samples = sphere_samples(3, views=4)
    assert write_shard(tmp_path / "spheres.tar", samples) == 3
    write_index(tmp_path, {"spheres.tar": 3})
    read = [sample for _, sample in itertools.islice(stream_views(tmp_path, seed=0, skip=0), 3)]
    for expected, sample in zip(samples, read, strict=True):
        assert sample["__key__"] == expected.key
        cameras = read_cameras(sample)
        assert len(cameras) == 4 and (cameras.width, cameras.height) == (SIZE, SIZE)
        for view in range(4):
            color, depth, camera = decode_view(sample, view)
            assert color.dtype == torch.uint8 and torch.equal(color, expected.colors[view])
            assert (depth - expected.depths[view]).abs().max() <= DEPTH_UNIT / 2 * 1.001
            assert torch.equal(depth > 0, expected.depths[view] > 0)
            for name in ("T_world_camera", "focal", "principal", "distortion"):
                values = getattr(expected.cameras, name)
                assert torch.equal(getattr(cameras, name), values)
                assert torch.equal(getattr(camera, name), values[[view]])


def test_depths_beyond_the_deepest_that_fits_are_not_wrapped(tmp_path: Path) -> None:
    (sample,) = sphere_samples(1, views=1, size=8)
    sample.depths[0, 4, 4] = 9.0
    write_shard(tmp_path / "sphere.tar", [sample])
    write_index(tmp_path, {"sphere.tar": 1})
    _, read = next(stream_views(tmp_path, seed=0, skip=0))
    assert decode_view(read, 0)[1][4, 4] == pytest.approx(8, abs=2 * DEPTH_UNIT)


def test_the_order_depends_on_the_seed_alone(folder: Path, tmp_path: Path) -> None:
    order = seen(folder, 40)
    assert order == seen(folder, 40)
    assert order != seen(folder, 40, seed=1)
    counts = read_index(folder)
    for name in reversed(sorted(counts)):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / INDEX).write_text(json.dumps(dict(reversed(counts.items()))))
    assert seen(tmp_path, 40) == order  # nor on how the index happens to list them


def test_every_epoch_has_every_sample_once_in_another_order(folder: Path) -> None:
    order = seen(folder, 60)
    epochs = [[key for epoch, key in order if epoch == number] for number in range(6)]
    assert all(sorted(keys) == [f"sphere-{index:03}" for index in range(10)] for keys in epochs)
    assert len({tuple(keys) for keys in epochs}) > 1


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_the_processes_of_an_epoch_share_everything_out(folder: Path, processes: int) -> None:
    streams = [seen(folder, 60, seed=5, process=process, processes=processes) for process in range(processes)]
    for wanted in range(3):
        shares = [[key for epoch, key in stream if epoch == wanted] for stream in streams]
        assert all(shares)
        assert sorted(itertools.chain(*shares)) == [f"sphere-{index:03}" for index in range(10)]


@pytest.mark.parametrize("share", [{}, {"process": 0, "processes": 2}, {"process": 1, "processes": 2}])
def test_skipping_leaves_what_a_resumed_run_would_see(folder: Path, share: dict[str, int]) -> None:
    whole = seen(folder, 35, seed=3, **share)
    assert whole[-1][0] >= 2  # across epochs
    for skip in range(30):
        assert seen(folder, 5, seed=3, skip=skip, **share) == whole[skip : skip + 5]


def test_whole_shards_are_skipped_unread(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = opened(monkeypatch)
    seen(folder, 20)
    order, counts = names[:8], read_index(folder)
    assert sorted(order[:4]) == sorted(order[4:]) == sorted(counts)
    names.clear()
    seen(folder, 1, skip=10 + counts[order[4]])  # an epoch and a shard
    assert names == [order[5]]
    names.clear()
    seen(folder, 1, skip=10_000)
    assert len(names) == 1


def test_a_folder_without_an_index_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"expected shards with a shards\.json, found none; make them with `unscene s"):
        next(stream_views(tmp_path, seed=0, skip=0))


def test_a_listed_shard_that_is_missing_is_named(tmp_path: Path) -> None:
    write_sphere_shards(tmp_path, 1, 1, views=1, size=8)
    (tmp_path / "spheres-1.tar").unlink()
    with pytest.raises(ShardError, match=r"found no spheres-1\.tar; copy the whole folder again"):
        read_index(tmp_path)


def test_an_index_without_shards_is_an_error(tmp_path: Path) -> None:
    write_index(tmp_path, {})
    with pytest.raises(ShardError, match="found no entry"):
        read_index(tmp_path)


@pytest.mark.parametrize("count", [0, -1])
def test_an_index_of_empty_shards_is_an_error_not_an_endless_search(tmp_path: Path, count: int) -> None:
    write_sphere_shards(tmp_path, 1, 1, views=1, size=8)
    write_index(tmp_path, {"spheres-0.tar": 1, "spheres-1.tar": count})
    with pytest.raises(ShardError, match=rf"at least one sample in every shard, got {count} for spheres-1\.tar"):
        next(stream_views(tmp_path, seed=0, skip=0))


@pytest.mark.parametrize("listed", [1, 3])
def test_a_shard_of_another_number_of_samples_than_listed_is_named(tmp_path: Path, listed: int) -> None:
    write_sphere_shards(tmp_path, 2, views=1, size=8)
    write_index(tmp_path, {"spheres-0.tar": listed})
    with pytest.raises(ShardError, match=rf"spheres-0\.tar: expected {listed} samples, as shards.json .* got 2; copy"):
        list(itertools.islice(stream_views(tmp_path, seed=0, skip=0), 5))


def test_a_shard_without_samples_is_an_error_not_an_endless_search(tmp_path: Path) -> None:
    write_shard(tmp_path / "spheres.tar", [])
    write_index(tmp_path, {"spheres.tar": 2})
    with pytest.raises(ShardError, match=r"expected 2 samples.* got 0"):
        next(stream_views(tmp_path, seed=0, skip=0))


@pytest.mark.parametrize("kept", [0, 300, 1000])
def test_a_shard_that_is_no_whole_tar_is_named(tmp_path: Path, kept: int) -> None:
    write_sphere_shards(tmp_path, 1, views=1, size=8)
    shard = tmp_path / "spheres-0.tar"
    shard.write_bytes(shard.read_bytes()[:kept] or b"no tar at all" * 100)
    with pytest.raises(ShardError, match=r"spheres-0\.tar: expected a readable tar file, got .*; copy or render it"):
        next(stream_views(tmp_path, seed=0, skip=0))


def test_another_kind_of_webdataset_is_told_from_views_of_objects(tmp_path: Path) -> None:
    with object_shards.webdataset.TarWriter(str(tmp_path / "photos.tar")) as shard:
        shard.write({"__key__": "photo-0", "jpg": b"a photo", "txt": b"its caption"})
    write_index(tmp_path, {"photos.tar": 1})
    with pytest.raises(ShardError, match=r"photos\.tar: expected views of objects with a cameras\.json.* in photo-0"):
        next(stream_views(tmp_path, seed=0, skip=0))


@pytest.mark.parametrize("name", ["view00.png", "depth00.png"])
@pytest.mark.parametrize("content", [None, b"no image"])
def test_a_sample_without_its_images_is_named(folder: Path, name: str, content: bytes | None) -> None:
    _, sample = next(stream_views(folder, seed=0, skip=0))
    del sample[name]
    changed = sample if content is None else sample | {name: content}
    with pytest.raises(ShardError, match=f"{sample['__key__']}: expected images of view 0, got .*; render objects"):
        decode_view(changed, 0)


@pytest.mark.parametrize("content", [b"{}", b"[1]", b"no json"])
def test_a_sample_without_its_cameras_is_named(folder: Path, content: bytes) -> None:
    _, sample = next(stream_views(folder, seed=0, skip=0))
    with pytest.raises(ShardError, match=f"{sample['__key__']}: expected cameras of an object, got .*; render objects"):
        read_cameras(sample | {"cameras.json": content})


def test_an_index_does_not_lead_out_of_its_folder(tmp_path: Path) -> None:
    write_sphere_shards(tmp_path / "elsewhere", 1, views=1, size=8)
    write_index(tmp_path / "here", {"../elsewhere/spheres-0.tar": 1})
    with pytest.raises(ShardError, match=r"found no \.\./elsewhere/spheres-0\.tar"):
        read_index(tmp_path / "here")


def test_a_shard_s_name_is_never_run_as_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "pipe:touch ran; cat spheres.tar"  # webdataset's way of naming a command
    monkeypatch.chdir(tmp_path)
    for shard in (name, "spheres.tar"):
        write_shard(Path(shard), sphere_samples(1, views=1, size=8))
    write_index(Path(), {name: 1})
    assert seen(Path(), 1) == [(0, "sphere-000")]
    assert not (tmp_path / "ran").exists()


def test_more_processes_than_shards_are_an_error(folder: Path) -> None:
    with pytest.raises(ShardError, match="expected at least one shard per process, got 4 for 5"):
        next(stream_views(folder, seed=0, skip=0, process=4, processes=5))


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_interrupted_writing_leaves_no_shard(tmp_path: Path, error: type[BaseException]) -> None:
    def samples():
        yield from sphere_samples(2, views=1, size=8)
        assert list(tmp_path.iterdir())  # it was being written
        raise error

    with pytest.raises(error):
        write_shard(tmp_path / "spheres.tar", samples())
    assert list(tmp_path.iterdir()) == []
