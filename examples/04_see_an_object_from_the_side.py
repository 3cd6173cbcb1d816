"""See the object of one photo from both sides.

python examples/04_see_an_object_from_the_side.py example runs/mug
"""

import sys
from pathlib import Path

import unscene


def main(photo: str, out: str) -> None:
    sides = unscene.OrbitOptions(pose=("-30,0,1", "30,0,1"))
    made = unscene.orbit(Path(photo), out, sides)
    print(f"{len(made.images)} views of {tuple(made.images[0].shape)} in {made.folder}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
