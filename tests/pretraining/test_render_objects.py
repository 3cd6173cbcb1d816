"""Rendering objects into shards: resumable, the same for the same seed, patient with meshes that cannot be read."""

from __future__ import annotations

import dataclasses
import itertools
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trimesh

from unscene.geometry.turntable import object_poses
from unscene.objects.object_error import ObjectError
from unscene.pretraining import render_objects as module
from unscene.pretraining.object_shards import decode_view, read_cameras, read_index, stream_views
from unscene.pretraining.render_objects import ObjectRendering, render_objects
from unscene.training.events import Event, ItemDone, Note, StageDone, StageStarted

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting a process takes longer than rendering objects as small as these."""
    monkeypatch.setattr(module, "ProcessPoolExecutor", lambda workers, mp_context: ThreadPoolExecutor(workers))


def tiny(out: Path, **changes) -> ObjectRendering:
    return dataclasses.replace(ObjectRendering(out, objects=2, views=3, size=24, per_shard=1, workers=1), **changes)


def samples(folder: Path) -> dict[str, dict[str, bytes]]:
    """An epoch of undecoded samples by key."""
    count = sum(read_index(folder).values())
    read = [sample for _, sample in itertools.islice(stream_views(folder, seed=0, skip=0), count)]
    return {str(sample.pop("__key__")): sample for sample in read}


def contents(sample: dict[str, bytes]) -> dict[str, bytes]:
    """Without what webdataset adds."""
    return {name: value for name, value in sample.items() if not name.startswith("__")}


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.tar")}


def test_objects_become_shards_that_stream(tmp_path: Path) -> None:
    """With the real worker process."""
    events: list[Event] = []
    assert render_objects(tiny(tmp_path), events.append) == tmp_path
    assert read_index(tmp_path) == {"objects-0-00000.tar": 1, "objects-0-00001.tar": 1}
    read = samples(tmp_path)
    assert sorted(read) == ["object-0-0000000", "object-0-0000001"]
    for sample in read.values():
        cameras = read_cameras(sample)
        azimuth, elevation, distance = object_poses(cameras)
        assert len(cameras) == 3 and len(set(azimuth.tolist())) == 3
        assert ((elevation > -10.01) & (elevation < 50.01)).all() and ((distance > 2.69) & (distance < 3.31)).all()
        for view in range(3):
            color, depth, _ = decode_view(sample, view)
            assert color.shape == (24, 24, 4) and 0.02 < (depth > 0).float().mean() < 0.9
            opaque = color[..., 3] == 255
            assert (depth[opaque] > 0).all() and color[..., :3][opaque].float().std() > 1
            inside = depth[depth > 0]
            assert inside.min() > distance[view] - 1.01 and inside.max() < distance[view] + 1.01
    assert not list(tmp_path.glob(".*"))
    assert isinstance(events[0], StageStarted) and isinstance(events[-1], StageDone)
    assert [(event.done, event.total) for event in events if isinstance(event, ItemDone)] == [(1, 2), (2, 2)]


@pytest.mark.usefixtures("in_this_process")
def test_a_second_call_renders_only_what_is_missing(tmp_path: Path) -> None:
    render_objects(tiny(tmp_path))
    before, index, first = stamps(tmp_path), read_index(tmp_path), samples(tmp_path)
    render_objects(tiny(tmp_path))
    assert stamps(tmp_path) == before and len(before) == 2
    (tmp_path / "objects-0-00001.tar").unlink()
    render_objects(tiny(tmp_path))
    after = stamps(tmp_path)
    assert after["objects-0-00000.tar"] == before["objects-0-00000.tar"]
    assert after["objects-0-00001.tar"] > before["objects-0-00001.tar"]
    assert read_index(tmp_path) == index
    again = samples(tmp_path)
    assert all(contents(again[key]) == contents(first[key]) for key in first)


@pytest.mark.usefixtures("in_this_process")
def test_a_shard_whose_writing_was_not_tallied_is_rendered_again(tmp_path: Path) -> None:
    render_objects(tiny(tmp_path, objects=1))
    (before,) = stamps(tmp_path).values()
    (tmp_path / "objects-0-00000.count").unlink()
    render_objects(tiny(tmp_path, objects=1))
    (after,) = stamps(tmp_path).values()
    assert after > before and read_index(tmp_path) == {"objects-0-00000.tar": 1}


@pytest.mark.usefixtures("in_this_process")
def test_a_last_shard_that_has_grown_is_rendered_again(tmp_path: Path) -> None:
    render_objects(tiny(tmp_path, objects=3, per_shard=2))
    before = stamps(tmp_path)
    render_objects(tiny(tmp_path, objects=6, per_shard=2))
    after = stamps(tmp_path)
    assert after["objects-0-00000.tar"] == before["objects-0-00000.tar"]
    assert after["objects-0-00001.tar"] > before["objects-0-00001.tar"]
    assert read_index(tmp_path) == {f"objects-0-{number:05}.tar": 2 for number in range(3)}
    assert sorted(samples(tmp_path)) == [f"object-0-{index:07}" for index in range(6)]


@pytest.mark.usefixtures("in_this_process")
def test_a_kill_while_a_shard_grows_does_not_leave_it_with_its_old_tally(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    render_objects(tiny(tmp_path, objects=1, per_shard=2))

    def killed(*_) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_json", lambda path, value: killed() if path.suffix == ".count" else None)
        with pytest.raises(KeyboardInterrupt):
            render_objects(tiny(tmp_path, objects=2, per_shard=2))  # the shard is written, its tally is not
    render_objects(tiny(tmp_path, objects=1, per_shard=2))
    assert read_index(tmp_path) == {"objects-0-00000.tar": 1}
    epochs = [epoch for epoch, _ in itertools.islice(stream_views(tmp_path, seed=0, skip=0), 3)]
    assert epochs == [0, 1, 2]  # one sample each


@pytest.mark.usefixtures("in_this_process")
def test_an_altered_folder_of_meshes_is_refused_in_words(tmp_path: Path) -> None:
    meshes, config = tmp_path / "meshes", tiny(tmp_path / "shards", meshes=tmp_path / "meshes", objects=1)
    (meshes / "deep").mkdir(parents=True)
    trimesh.creation.box((1, 2, 1)).export(meshes / "deep" / "box.glb")
    render_objects(config)
    before = stamps(config.out)
    trimesh.creation.box((1, 1, 1)).export(meshes / "a-cube.glb")  # would be object 0, which is rendered already
    with pytest.raises(
        ObjectError, match=r"begun with in .*meshes, got 1 more \(a-cube\.glb\); restore that folder, or"
    ):
        render_objects(config)
    (meshes / "deep" / "box.glb").unlink()
    with pytest.raises(ObjectError, match=r"got 1 more \(a-cube\.glb\) and 1 gone \(deep/box\.glb\); restore"):
        render_objects(config)
    (meshes / "a-cube.glb").rename(meshes / "deep" / "box.glb")
    render_objects(config)
    assert stamps(config.out) == before


@pytest.mark.parametrize(
    ("name", "value", "lowest"),
    [("workers", 0, 1), ("per_shard", 0, 1), ("size", 0, 1), ("samples", 0, 1), ("objects", 0, 1), ("objects", -3, 1),
     ("views", 1, 2), ("seed", -1, 0)],
)  # fmt: skip
def test_numbers_that_mean_nothing_are_refused_before_anything_is_written(
    tmp_path: Path, name: str, value: int, lowest: int
) -> None:
    option = name.replace("_", "-")
    with pytest.raises(ObjectError, match=f"^--{option}: expected {lowest} to .*, got {value}"):
        render_objects(tiny(tmp_path / "shards", **{name: value}))
    assert not (tmp_path / "shards").exists()


def die(config: ObjectRendering, files: list[Path], number: int, chunk: range) -> tuple[str, int, list[str]]:
    """As a worker does for which there is no memory left."""
    if number == 1:
        os._exit(9)
    return str(number), 1, []


@pytest.mark.parametrize("meshes", [False, True])
def test_a_killed_worker_is_told_with_what_it_was_rendering(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meshes: bool
) -> None:
    """With the real worker process."""
    changes = {}
    if meshes:
        changes["meshes"] = tmp_path / "meshes"
        changes["meshes"].mkdir()
        for name in "abcde":
            (tmp_path / "meshes" / f"{name}.obj").touch()
    monkeypatch.setattr(module, "_render_shard", die)
    named = f"at meshes {tmp_path}/meshes/c.obj to {tmp_path}/meshes/d.obj;" if meshes else "at objects 2 to 3;"
    with pytest.raises(
        ObjectError, match=f"one was killed, as when memory runs out, {named} repeat .* fewer --workers"
    ):
        render_objects(tiny(tmp_path / "shards", objects=5, per_shard=2, **changes))


@pytest.mark.usefixtures("in_this_process")
def test_the_seed_alone_decides(tmp_path: Path) -> None:
    first, again, other, together = (
        samples(render_objects(tiny(tmp_path / name, **changes)))
        for name, changes in (("a", {}), ("b", {}), ("c", {"seed": 1}), ("d", {"per_shard": 2}))
    )
    assert first.keys() == again.keys() == together.keys()
    for key, sample in first.items():
        assert contents(sample) == contents(again[key]) == contents(together[key])  # however they are dealt out
    files = {key.replace("object-1", "object-0"): sample for key, sample in other.items()}
    for key, sample in first.items():
        assert len(contents(sample)) == 7
        assert all(value != files[key][name] for name, value in contents(sample).items())
    one, two = first.values()
    assert all(value != two[name] for name, value in contents(one).items())


@pytest.mark.usefixtures("in_this_process")
def test_a_mesh_that_cannot_be_read_is_named_and_left_out(tmp_path: Path) -> None:
    meshes = tmp_path / "meshes"
    meshes.mkdir()
    trimesh.creation.box((1, 2, 1)).export(meshes / "b-box.glb")
    (meshes / "a-broken.glb").write_bytes(b"glTF and nothing more")
    events: list[Event] = []
    out = render_objects(tiny(tmp_path / "shards", meshes=meshes, per_shard=2, objects=5), events.append)
    (note,) = [event.text for event in events if isinstance(event, Note)]
    assert note.startswith("left out: ") and "a-broken.glb" in note
    assert read_index(out) == {"objects-0-00000.tar": 1}
    (key,) = samples(out)
    assert key == "object-0-0000001"


@pytest.mark.usefixtures("in_this_process")
def test_a_shard_of_nothing_but_broken_meshes_is_not_listed(tmp_path: Path) -> None:
    meshes = tmp_path / "meshes"
    meshes.mkdir()
    trimesh.creation.box((1, 2, 1)).export(meshes / "b-box.glb")
    (meshes / "a-broken.glb").write_bytes(b"glTF and nothing more")
    out = render_objects(tiny(tmp_path / "shards", meshes=meshes))
    assert read_index(out) == {"objects-0-00001.tar": 1}
    assert list(samples(out)) == ["object-0-0000001"]


@pytest.mark.usefixtures("in_this_process")
def test_no_mesh_that_can_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "broken.obj").write_text("f 1 2 3\n")
    with pytest.raises(ObjectError, match="expected at least one mesh that can be read, found none"):
        render_objects(tiny(tmp_path / "shards", meshes=tmp_path))
    assert not (tmp_path / "shards" / "shards.json").exists()


@pytest.mark.usefixtures("in_this_process")
def test_an_error_is_told_before_the_rest_is_rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def render(config: ObjectRendering, files: list[Path], number: int, chunk: range) -> tuple[str, int, list[str]]:
        started.append(number)
        if number == 0:
            raise OSError("no space left")
        time.sleep(0.05)
        return str(number), 1, []

    monkeypatch.setattr(module, "_render_shard", render)
    with pytest.raises(OSError, match="no space left"):
        render_objects(tiny(tmp_path, objects=60))
    assert len(started) < 30
