"""Photos by the names that files list, also where another system or another folder spelled them otherwise."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from unscene.file_names import folded
from unscene.scenes.capture import inside, is_linked_folder, listing, scene_path
from unscene.scenes.image_files import find_image
from unscene.scenes.image_formats import images_below, is_readable, name_without_suffix
from unscene.scenes.scene import SceneError

LONGEST_ENDING = 16  # folders and name of a path that are compared
PHOTO_FOLDERS = ("", "color", "colour", "frames", "image", "images", "input", "photo", "photos", "rgb")

Parts = tuple[str, ...]


class PhotoNames:
    """Looks up names that are relative to ``folder``, itself in the scene folder ``root``. Notes say what it assumed.

    A name counts as it stands, with or without an extension. On a miss the folder's images are listed, once, and a name
    may differ from its file in backslashes, case, Unicode's form of accents, %20 for spaces, and the extension. If none
    of the names has been found, they may begin with another folder's or computer's path: the longest ending that is a
    file counts. What leads out of the scene folder is refused, and so is what fits several files.
    """

    def __init__(self, root: Path, folder: Path, *, bare_in: Collection[str] = PHOTO_FOLDERS) -> None:
        """bare_in: folders, by their names, whose files may be meant by a name that has lost all of its own folders."""
        self.root, self.folder, self.bare_in = root, folder, bare_in
        self.notes: tuple[str, ...] = ()

    def find(self, names: Sequence[str]) -> list[Path]:
        """The files of ``names``; for what is nowhere the path as it would be. Raises SceneError as told above."""
        found = {name: path for name in dict.fromkeys(names) if (path := self._standing(name))}
        respelled = {name: path for name in names if name not in found and (path := self._respelled(name))}
        moved = {} if found or respelled else self._moved(names)
        self._note(respelled)
        found |= respelled | moved
        return [found[name] if name in found else self._exact(name) for name in names]

    def _standing(self, name: str) -> Path | None:
        """The file that ``name`` is as it stands; one that leads out may still begin with another computer's path."""
        try:
            path = self._exact(name)
        except SceneError:
            return None
        return path if os.path.isfile(path) else None

    def _exact(self, name: str) -> Path:
        """Where ``name`` leads as it stands, whether there is a file or not; SceneError if out of the scene folder."""
        listed = inside(self.root, self.folder / name, name)
        return inside(self.root, find_image(listed), name)  # either may be a link

    def _respelled(self, name: str) -> Path | None:
        """The file that ``name`` is but for its spelling."""
        fitting = [file for parts in _spellings(name) for file in self._by_path.get(_key(parts), ())]
        return self._only(name, fitting)

    def _moved(self, names: Sequence[str]) -> dict[str, Path]:
        """The files of ``names``, none of which is where it should be, below the one folder that has most of them."""
        for dropped in range(LONGEST_ENDING):
            votes = Counter[tuple[Parts, bool]]()
            for name in names:
                votes.update(set(self._places(name, dropped)))
            if votes:
                return self._taken_from(self._most(votes), names, dropped)
        return {}

    def _places(self, name: str, dropped: int) -> Iterator[tuple[Parts, bool]]:
        """Folders below which the name without its first parts is a file, and whether it has the same extension."""
        for parts in _spellings(name):
            ending = _key(parts[dropped:])
            for file in self._by_name.get(ending[-1], ()) if ending else ():
                place = file.parts[: -len(ending)]
                bare = len(ending) == 1
                if _key(file.parts)[-len(ending) :] == ending and not (bare and not self._may_hold(place)):
                    yield place, folded(file.suffix) == folded(PurePosixPath(parts[-1]).suffix)

    def _may_hold(self, place: Parts) -> bool:
        return folded(place[-1] if place else "") in self.bare_in

    def _most(self, votes: Counter[tuple[Parts, bool]]) -> Parts:
        """The folder with most files of the same extension, of any; of several that have as many the one for photos."""

        def rank(place: Parts) -> tuple[int, int, bool, bool]:
            images = bool(place) and folded(place[-1]) == "images"
            return votes[place, True], votes[place, False], images, self._may_hold(place)

        places = sorted({place for place, _ in votes}, key=rank, reverse=True)
        equal = ["/".join(place) or "." for place in places if rank(place) == rank(places[0])]
        if len(equal) > 1:
            raise SceneError(
                f"photos: expected them in one folder, found files of their names in {listing(sorted(equal))}; correct "
                "the listed paths, or rename the folder that is meant to images."
            )
        return places[0]

    def _taken_from(self, place: Parts, names: Sequence[str], dropped: int) -> dict[str, Path]:
        """The files of ``names`` without their first parts in one folder, and what is missing there as it would be."""
        found, missing = dict[str, Path](), dict[str, Path]()
        for name in names:
            spellings = [parts for parts in _spellings(name) if len(parts) > dropped]
            longest_first = range(dropped, max(map(len, spellings), default=0))
            files = (self._only(name, self._below(place, spellings, start)) for start in longest_first)
            if file := next((file for file in files if file), None):
                found[name] = file
            elif spellings:
                missing[name] = inside(self.root, self.folder.joinpath(*place, *spellings[0][dropped:]), name)
        self._note(found)
        return found | missing

    def _below(self, place: Parts, spellings: Sequence[Parts], start: int) -> list[PurePosixPath]:
        """The files of one folder that a name is from its part ``start`` on."""
        endings = [(*place, *parts[start:]) for parts in spellings if len(parts) > start]
        return [file for ending in endings for file in self._by_path.get(_key(ending), ())]

    def _only(self, name: str, fitting: Sequence[PurePosixPath]) -> Path | None:
        """The one file that fits best: of a kind that is readable, with the name's own extension."""
        suffix = folded(PurePosixPath(_parts(name)[-1]).suffix) if _parts(name) else ""
        ranks = defaultdict[tuple[bool, bool], list[PurePosixPath]](list)
        for file in dict.fromkeys(fitting):
            ranks[not is_readable(Path(file)), folded(file.suffix) != suffix].append(file)
        if not ranks:
            return None
        best = ranks[min(ranks)]
        if len(best) > 1:
            raise SceneError(
                f"{name}: expected one photo of that name, found {listing([file.as_posix() for file in best])}; "
                "remove or rename all but one."
            )
        return inside(self.root, self.folder / best[0], name)

    def _note(self, found: dict[str, Path]) -> None:
        for name, path in [*found.items()][:1]:
            self.notes += (
                f"{len(found)} files are listed under names of another spelling or folder: {name} is "
                f"{scene_path(self.root, path)}",
            )

    @cached_property
    def _files(self) -> list[PurePosixPath]:
        linked = [path for path in self.folder.glob("images*") if is_linked_folder(self.root, path)]
        files = [file for folder in (self.folder, *linked) for file in images_below(folder)]
        return [PurePosixPath(file.relative_to(self.folder).as_posix()) for file in files]

    @cached_property
    def _by_path(self) -> dict[Parts, list[PurePosixPath]]:
        files = defaultdict(list)
        for file in self._files:
            files[_key(file.parts)].append(file)
        return files

    @cached_property
    def _by_name(self) -> dict[str, list[PurePosixPath]]:
        files = defaultdict(list)
        for file in self._files:
            files[_key(file.parts)[-1]].append(file)
        return files


def _spellings(name: str) -> list[Parts]:
    """The parts of a name as it stands and without URL escapes."""
    return list(dict.fromkeys(_parts(spelled)[-LONGEST_ENDING:] for spelled in (name, unquote(name))))


def _parts(name: str) -> Parts:
    """Folders and name with any system's separators, without a drive, a scheme, "." and folders that are left again."""
    name = re.sub(r"^(file://(localhost)?|[A-Za-z]:(?=[\\/]))", "", name.strip().strip("\"'").replace("\\", "/"))
    kept = list[str]()
    for part in PurePosixPath(name).parts:
        if part == ".." and kept:
            kept.pop()
        elif part not in ("/", "//", ".", ".."):
            kept.append(part)
    return tuple(kept)


def _key(parts: Parts) -> Parts:
    """What is compared: parts without case and forms of accents, the last without its extension."""
    return tuple(folded(part) for part in (*parts[:-1], name_without_suffix(parts[-1]))) if parts else ()
