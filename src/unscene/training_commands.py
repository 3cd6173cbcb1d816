"""The commands that train the package's models and render what they learn from."""

from __future__ import annotations

import os

import tyro

from unscene.scenes.scene import SceneError
from unscene.screen import Screen


def shards(arguments: list[str]) -> None:
    """Render training data of the novel-view models."""
    from unscene.pretraining.render_objects import ObjectRendering, render_objects  # loads webdataset

    config = tyro.cli(ObjectRendering, args=arguments or ["--help"], prog="unscene shards")
    with Screen() as screen:
        print(render_objects(config, screen))


TRAININGS = {
    "prior": "the inpainting prior that travels with the package",
    "invs": "iNVS: completes partial novel views of an object",
    "zero123": "its peer Zero-1-to-3",
}


def train(arguments: list[str]) -> None:
    """Train one of the package's models. Loads accelerate and diffusers."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: unscene train MODEL [OPTIONS]\n")
        print("\n".join(f"  {name:<10}{summary}" for name, summary in TRAININGS.items()))
        raise SystemExit(0 if arguments else 2)
    model, rest = arguments[0], arguments[1:] or ["--help"]
    if model == "prior":
        from unscene.pretraining.inpainting_prior import PriorTraining, train_prior

        config = tyro.cli(PriorTraining, args=rest, prog="unscene train prior")
        with Screen() as screen:
            train_prior(config, screen)
    elif model in TRAININGS:
        from unscene.pretraining.launch import launch
        from unscene.pretraining.novel_views import NovelViewTraining, check_settings, train_invs, train_zero123

        config = tyro.cli(NovelViewTraining, args=rest, prog=f"unscene train {model}")
        check_settings(config)
        if not launch(config.processes, ["train", *arguments], config.device):
            with Screen() as screen:
                folder = (train_invs if model == "invs" else train_zero123)(config, screen)
            if os.environ.get("RANK", "0") == "0":
                print(folder)
    else:
        raise SceneError(f"train: expected one of {', '.join(TRAININGS)}, got '{model}'.")
