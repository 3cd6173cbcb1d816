"""Fit a radiance field to a capture and render an orbit.

python examples/01_fit_a_scene.py captures/statue runs/statue-fit
"""

import sys

import unscene


def main(capture: str, out: str, steps: int = 1000) -> None:
    scene = unscene.load_scene(capture, scale=1, holdout=8)
    options = unscene.FitOptions(fit=unscene.FitConfig(steps=steps))
    run = unscene.fit(scene, out, options)
    print(run.metrics)
    run.render("path", f"{out}/orbit")


if __name__ == "__main__":
    main(*sys.argv[1:3])
