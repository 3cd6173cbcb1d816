"""Taming a latent inpainter to one scene: LoRA on U-Net and text encoders, and a token that stands for the scene.

The self-supervised customisation of MALD-NeRF (Lin et al., ECCV 2024, section 3.3): the model learns to inpaint random
rectangles of the scene's own photos; nothing is learnt from inside the object mask. What is learnt is saved in the
formats that diffusers' `load_lora_weights` and `load_textual_inversion` read.
"""

# diffusers annotates many arguments and results more narrowly than it behaves
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unscene.device import is_quick_in_bfloat16
from unscene.files import atomic_write
from unscene.geometry.randomness import sent
from unscene.priors.diffusion.checkpoints import training_scheduler
from unscene.priors.diffusion.config import CustomizeConfig
from unscene.priors.diffusion.latent_diffusion import LatentDiffusionInpainter
from unscene.priors.diffusion.mask_blending import mask_to_latent, masked_pixels, smooth_fill
from unscene.priors.diffusion.noise_levels import even_levels
from unscene.priors.diffusion.text_condition import text_condition
from unscene.priors.prior_error import PriorError

SCENE_TOKEN = "<scene>"
SCENE_PROMPT = f"a photo of {SCENE_TOKEN}"
TOKEN_FILE = "scene_token.safetensors"
ENCODERS = {"text_encoder": "clip_l", "text_encoder_2": "clip_g"}  # diffusers' names for SDXL's two embeddings
UNET_LAYERS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "conv1", "conv2"]
TEXT_LAYERS = ["q_proj", "k_proj", "v_proj", "out_proj"]


class SceneCustomization:
    """LoRA and scene token of one model while they learn; the model is changed in place.

    strongest: the strongest noise that the model will be sampled from, as a share of the schedule. ``learnt``: the only
    parameters that learn, for an optimiser. Raises PriorError if the model has been customised, or for a share that is
    none.
    """

    def __init__(
        self, model: LatentDiffusionInpainter, config: CustomizeConfig, generator: torch.Generator, *,
        strongest: float = 1.0,
    ):  # fmt: skip
        pipeline = model.pipeline
        if not 0 < strongest <= 1:
            raise PriorError(
                f"customisation: expected the strongest noise as a share of the schedule, above 0 and at most 1, got "
                f"{strongest:g}; see --customization.model.strongest."
            )
        if SCENE_TOKEN in pipeline.tokenizer.get_vocab():
            raise PriorError(f"{model.name}: expected a model as it was published, got one that knows {SCENE_TOKEN}.")
        self.model, self.config, self.strongest = model, config, strongest
        self.crop = config.crop or (96 if model.is_bundled else pipeline.unet.config.sample_size * model.downscale)
        self.scheduler = training_scheduler(pipeline)
        self.encoders = [name for name in ENCODERS if getattr(pipeline, name, None) is not None]
        self.tokens: dict[str, nn.Parameter] = {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))  # peft draws from the global state
            pipeline.unet.add_adapter(_lora(config.rank, UNET_LAYERS))
            for name in self.encoders:
                getattr(pipeline, name).add_adapter(_lora(config.rank, TEXT_LAYERS))
                self.tokens[name] = _add_token(pipeline, name)
        networks = [pipeline.unet, *(getattr(pipeline, name) for name in self.encoders)]
        adapters = [parameter for network in networks for parameter in network.parameters() if parameter.requires_grad]
        for parameter in adapters:
            parameter.data = parameter.data.float()
        self.learnt = nn.ParameterList([*adapters, *self.tokens.values()])

    def loss(self, photos: Tensor, objects: Tensor, holes: Tensor, generator: torch.Generator) -> Tensor:
        """The denoising error of inpainting ``holes``, zero inside ``objects`` and in the cells around them; scalar.

        photos: B H W 3 in [0, 1], of which nothing is seen inside the objects; objects, holes: B H W bool. Sides must
        be multiples of the model's.
        """
        with self._running() as pipeline, torch.autocast(
            pipeline.unet.device.type, torch.bfloat16, enabled=self.in_bfloat16
        ):  # fmt: skip
            error, hole, excluded = self._errors(pipeline, photos, objects, holes, generator)
            weight = (self.config.known_weight + (1 - self.config.known_weight) * hole) * (1 - excluded)
            return (weight * error).sum() / weight.sum().clamp_min(1)

    @property
    def in_bfloat16(self) -> bool:
        """Whether the networks compute in bfloat16 while they learn."""
        return self.config.mixed_precision and is_quick_in_bfloat16(self.model.pipeline.unet.device)

    @torch.no_grad()
    def validation_loss(self, photos: Tensor, objects: Tensor, holes: Tensor, generator: torch.Generator) -> float:
        """The same error inside the holes alone, in the model's own precision."""
        with self._running() as pipeline:
            error, hole, excluded = self._errors(pipeline, photos, objects, holes, generator)
        weight = hole * (1 - excluded)
        return float((weight * error).sum() / weight.sum().clamp_min(1))

    def _errors(
        self, pipeline: Any, photos: Tensor, objects: Tensor, holes: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Squared errors, holes and what is excluded on the latent grid: three of B 1 h w.

        An autoencoder's attention and normalisation carry what it sees to every cell: the object is filled before
        anything is encoded, and cells that touch the fill, or lie beside those, are excluded.
        """
        model, device = self.model, pipeline.unet.device
        pixels = photos.permute(0, 3, 1, 2).float().to(device)
        objects, holes = sent(objects, device), sent(holes, device)
        hidden, hole = (m[:, None].float() for m in (objects, holes | objects))
        with torch.no_grad():
            latents, known = model.encode(smooth_fill(pixels, hidden)), model.encode(masked_pixels(pixels, hole))
            hidden, hole = (mask_to_latent(m, model.downscale) for m in (hidden, hole))
            excluded = F.max_pool2d(hidden, 3, stride=1, padding=1)
            noise = sent(torch.randn(latents.shape, generator=generator), device)
            times = sent(self.draw_times(len(pixels), generator), device)
            noisy = self.scheduler.add_noise(latents, noise, times)
            velocity = self.scheduler.config.prediction_type == "v_prediction"
            target = self.scheduler.get_velocity(latents, noise, times) if velocity else noise
        text = text_condition(pipeline, SCENE_PROMPT, "", len(pixels), (pixels.shape[2], pixels.shape[3]), guided=False)
        inputs = torch.cat([noisy, hole, known], 1).to(pipeline.unet.dtype)
        predicted = pipeline.unet(inputs, times, text.states, added_cond_kwargs=text.added).sample.float()
        return (predicted - target).square().mean(1, keepdim=True), hole, excluded

    def draw_times(self, count: int, generator: torch.Generator) -> Tensor:
        """Timesteps at which the model will be asked, count: evenly those of its sampler.

        Every second one is the last if the model also says what it expects, which it does from pure noise.
        """
        steps = self.scheduler.config.num_train_timesteps
        times = (even_levels(torch.rand(count, generator=generator)) * self.strongest * steps).long()
        if self.model.guide is not None:
            times[1::2] = steps - 1
        return times

    @contextmanager
    def _running(self):
        """The pipeline with the tokens that learn in their places."""
        pipeline = self.model.pipeline
        hooks = [_inject(pipeline, name, token) for name, token in self.tokens.items()]
        try:
            yield pipeline
        finally:
            for hook in hooks:
                hook.remove()

    def finish(self) -> LatentDiffusionInpainter:
        """The model with everything in its place, and a prompt that names the scene."""
        for name, token in self.tokens.items():
            embedding, index = _embedding(self.model.pipeline, name)
            embedding.weight.data[index] = token.detach().to(embedding.weight)
        self.learnt.requires_grad_(False)
        return with_scene_prompt(self.model)

    def save(self, folder: Path) -> None:
        """Write LoRA and tokens to a new folder, for `load_customization` and for diffusers itself."""
        pipeline = self.model.pipeline
        layers = {"unet_lora_layers": get_peft_model_state_dict(pipeline.unet, save_embedding_layers=False)}
        for name in self.encoders:
            layers[f"{name}_lora_layers"] = get_peft_model_state_dict(
                getattr(pipeline, name), save_embedding_layers=False
            )
        with atomic_write(folder) as temporary:
            temporary.mkdir()
            type(pipeline).save_lora_weights(temporary, safe_serialization=True, **layers)
            tokens = {ENCODERS[name]: token.detach().float().cpu() for name, token in self.tokens.items()}
            if len(tokens) == 1:
                tokens = {SCENE_TOKEN: tokens["clip_l"]}
            save_file(tokens, str(temporary / TOKEN_FILE))


def load_customization(model: LatentDiffusionInpainter, folder: Path) -> LatentDiffusionInpainter:
    """Put a saved customisation on top of the model it was made for, in place. Raises PriorError."""
    if not (folder / TOKEN_FILE).is_file():
        raise PriorError(f"{folder}: expected the folder of a per-scene customisation, found no {TOKEN_FILE} in it.")
    pipeline, tokens = model.pipeline, load_file(str(folder / TOKEN_FILE))
    try:
        pipeline.load_lora_weights(folder, weight_name="pytorch_lora_weights.safetensors")
        for name, key in ENCODERS.items():
            if (encoder := getattr(pipeline, name, None)) is not None:
                tokenizer = getattr(pipeline, name.replace("text_encoder", "tokenizer"))
                state = {SCENE_TOKEN: tokens[key if len(tokens) > 1 else SCENE_TOKEN]}
                pipeline.load_textual_inversion(state, token=SCENE_TOKEN, text_encoder=encoder, tokenizer=tokenizer)
    except (KeyError, ValueError, RuntimeError) as error:
        raise PriorError(f"{folder}: made for another model than {model.name}: {error}") from error
    return with_scene_prompt(model)


def with_scene_prompt(model: LatentDiffusionInpainter) -> LatentDiffusionInpainter:
    """Name the scene in the prompt, unless the user's own does."""
    prompt = model.config.prompt or ""  # none of the user: what was taught, not what the family is asked by default
    if SCENE_TOKEN in prompt:
        return model
    return model.with_settings(prompt=f"{prompt}, {SCENE_PROMPT}" if prompt else SCENE_PROMPT)


def draw_rectangles(count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """One or two random rectangles an image, each a quarter to two thirds of its sides: count H W bool."""
    holes = torch.zeros(count, height, width, dtype=torch.bool)
    for hole in holes:
        for _ in range(1 + int(torch.randint(2, (), generator=generator))):
            rows, columns = (
                max(1, round(side * (0.25 + 0.42 * float(torch.rand((), generator=generator)))))
                for side in (height, width)
            )
            top = int(torch.randint(height - rows + 1, (), generator=generator))
            left = int(torch.randint(width - columns + 1, (), generator=generator))
            hole[top : top + rows, left : left + columns] = True
    return holes


def draw_crops(
    photo: Callable[[int], tuple[Tensor, Tensor]], count: int, views: list[int], side: int, smallest_scale: float,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Square crops of random views at random scales: photos B S S 3 and the object's masks B S S bool.

    photo: view -> H W 3 in [0, 1], and the object's mask there, H W bool. smallest_scale: how far photos may shrink
    before they are cropped; those smaller than ``side`` are enlarged.
    """
    crops, objects = [], []
    for _ in range(count):
        image, mask = photo(views[int(torch.randint(len(views), (), generator=generator))])
        height, width = mask.shape
        least = side / min(height, width)
        scale = max(least, 1 - (1 - smallest_scale) * float(torch.rand((), generator=generator)))
        size = (max(side, round(height * scale)), max(side, round(width * scale)))
        top, left = (int(torch.randint(length - side + 1, (), generator=generator)) for length in size)
        window = (slice(top, top + side), slice(left, left + side))
        pixels = F.interpolate(image.permute(2, 0, 1)[None], size, mode="bilinear", antialias=True)[0].permute(1, 2, 0)
        # by the filter that shrinks the photo, so that no pixel outside holds any of the object
        hidden = F.interpolate(mask[None, None].float(), size, mode="bilinear", antialias=True)[0, 0] > 0
        crops.append(pixels[window])
        objects.append(hidden[window])
    return torch.stack(crops), torch.stack(objects)


def _lora(rank: int, layers: list[str]) -> LoraConfig:
    return LoraConfig(r=rank, lora_alpha=rank, init_lora_weights=True, target_modules=layers)


def _add_token(pipeline: Any, encoder_name: str) -> nn.Parameter:
    """Make room for the scene token; it starts as the mean of the words it will stand among."""
    tokenizer = getattr(pipeline, encoder_name.replace("text_encoder", "tokenizer"))
    encoder = getattr(pipeline, encoder_name)
    tokenizer.add_tokens(SCENE_TOKEN)
    encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    words = tokenizer("scene photo", add_special_tokens=False, return_tensors="pt").input_ids[0]
    embedding, index = _embedding(pipeline, encoder_name)
    start = embedding.weight.data[words].float().mean(0)
    embedding.weight.requires_grad_(False)
    embedding.weight.data[index] = start.to(embedding.weight)
    return nn.Parameter(start)


def _embedding(pipeline: Any, encoder_name: str) -> tuple[nn.Embedding, int]:
    tokenizer = getattr(pipeline, encoder_name.replace("text_encoder", "tokenizer"))
    return getattr(pipeline, encoder_name).get_input_embeddings(), tokenizer.convert_tokens_to_ids(SCENE_TOKEN)


def _inject(pipeline: Any, encoder_name: str, token: Tensor) -> Any:
    """Let the embedding layer answer with ``token`` where it is asked for the scene."""
    embedding, index = _embedding(pipeline, encoder_name)

    def replace(_module, inputs, output: Tensor) -> Tensor:
        return torch.where((inputs[0] == index)[..., None], token.to(output), output)

    return embedding.register_forward_hook(replace)
