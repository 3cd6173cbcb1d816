"""Take the teapot out of the bundled still life and score the result against the truth.

python examples/02_remove_an_object.py runs/still-life
"""

import sys

import unscene


def main(out: str, effort: float = 1.0) -> None:
    scene = unscene.still_life()
    options = unscene.RemoveOptions(prior="exemplar", effort=effort, video_frames=0)
    run = unscene.remove(scene, out, options, truth=unscene.scene_truth(scene))
    print(run.metrics["removal"])


if __name__ == "__main__":
    main(sys.argv[1])
