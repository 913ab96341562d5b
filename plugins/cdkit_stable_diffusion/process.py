"""The diffusion process and the sampler, as diffusers' scheduler configurations and our specs say them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdkit.parts import UsageError

PREDICTIONS = {"epsilon": "epsilon", "v_prediction": "v", "sample": "sample"}
SCHEDULES = {"scaled_linear": "scaled_linear", "linear": "linear", "squaredcos_cap_v2": "cosine", "sigmoid": "sigmoid"}
SAMPLERS = {
    "DDIMScheduler": "ddim",
    "DDPMScheduler": "ddpm",
    "PNDMScheduler": "pndm",
    "LMSDiscreteScheduler": "lms",
    "EulerDiscreteScheduler": "euler",
    "EulerAncestralDiscreteScheduler": "euler_ancestral",
    "HeunDiscreteScheduler": "heun",
    "DPMSolverMultistepScheduler": "dpmpp_2m",
    "UniPCMultistepScheduler": "unipc",
    "LCMScheduler": "lcm",
}
# Where an option is left out of a scheduler's configuration, diffusers takes these.
BETAS = {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear"}
SPACING = {"DDPMScheduler": "leading", "DDIMScheduler": "leading", "PNDMScheduler": "leading", "LCMScheduler": "leading"}
ONE = {"DDIMScheduler": True, "PNDMScheduler": False}  # set_alpha_to_one where it is left out
WITH_ONE_MORE = ("DPMSolverMultistepScheduler", "UniPCMultistepScheduler")  # step, of which they leave out the last
CLIPPING = ("DDIMScheduler", "DDPMScheduler")  # which clamp the clean picture unless they are told not to


def diffusion_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """A scheduler's configuration -> the `diffusion` section. UsageError for a process that ours cannot follow."""
    told = {**BETAS, **config}
    name = str(told.get("_class_name", ""))
    schedule = SCHEDULES.get(str(told["beta_schedule"]))
    prediction = PREDICTIONS.get(str(told.get("prediction_type", "epsilon")))
    if schedule is None or prediction is None or told.get("trained_betas") is not None:
        asked = {key: told.get(key) for key in ("beta_schedule", "prediction_type", "trained_betas")}
        raise UsageError(f"the scheduler {name} says {asked}, which no schedule of ours follows")
    section: dict[str, Any] = {
        "schedule": schedule,
        "prediction": prediction,
        "steps": int(told.get("num_train_timesteps", 1000)),
        "beta_start": float(told["beta_start"]),
        "beta_end": float(told["beta_end"]),
        "zero_terminal_snr": bool(told.get("rescale_betas_zero_snr", False)),
    }
    if name in CLIPPING and told.get("clip_sample", True):
        section["clip"] = float(told.get("clip_sample_range", 1.0))
    return section


def sampler_of(config: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A scheduler's configuration -> the `sampler` section, and notes on what it does differently."""
    name = str(config.get("_class_name", ""))
    use = SAMPLERS.get(name)
    notes = () if use else (f"sampler: the scheduler {name or 'is not named'}, which has no namesake here; ddim instead",)
    spacing = str(config.get("timestep_spacing") or SPACING.get(name, "linspace"))
    if config.get("use_karras_sigmas"):
        spacing = "karras"
    if (name in WITH_ONE_MORE and spacing in ("leading", "linspace")) or (
        spacing == "leading" and int(config.get("steps_offset", 0)) != 1
    ):
        notes += (f"sampler: {name} lays its {spacing} steps a little otherwise than ours lie, so pictures differ slightly",)
    return {"use": use or "ddim", "steps": 50, "spacing": spacing, "ends": ends_of(name, config)}, notes


def ends_of(name: str, config: Mapping[str, Any]) -> str:
    """Where sampling ends: `first` is alpha_cumprod[0], a little before the clean picture."""
    if name in ONE:
        return "clean" if config.get("set_alpha_to_one", ONE[name]) else "first"
    return "first" if config.get("final_sigmas_type") == "sigma_min" else "clean"


def scheduler_of(diffusion: Mapping[str, Any], sampler: Mapping[str, Any] | None) -> dict[str, Any]:
    """Our sections -> a scheduler's configuration. UsageError for what diffusers cannot say."""
    schedules = {ours: theirs for theirs, ours in SCHEDULES.items()}
    predictions = {ours: theirs for theirs, ours in PREDICTIONS.items()}
    classes = {ours: theirs for theirs, ours in SAMPLERS.items()}
    schedule, prediction = str(diffusion["schedule"]), str(diffusion["prediction"])
    if schedule not in schedules or prediction not in predictions:
        raise UsageError(f"a process of schedule {schedule!r} and prediction {prediction!r} is none that this pipeline can say")
    use = str((sampler or {}).get("use", "ddim")).rpartition("/")[2]
    spacing = str((sampler or {}).get("spacing", "leading"))
    ends = str((sampler or {}).get("ends", "clean"))
    clip = diffusion.get("clip")
    return {
        "_class_name": classes.get(use, "DDIMScheduler"),
        "num_train_timesteps": int(diffusion.get("steps", 1000)),
        "beta_schedule": schedules[schedule],
        "beta_start": float(diffusion.get("beta_start", 0.00085)),
        "beta_end": float(diffusion.get("beta_end", 0.012)),
        "prediction_type": predictions[prediction],
        "rescale_betas_zero_snr": bool(diffusion.get("zero_terminal_snr", False)),
        "timestep_spacing": "linspace" if spacing == "karras" else spacing,
        "use_karras_sigmas": spacing == "karras",
        "steps_offset": 1,
        "set_alpha_to_one": ends == "clean",
        **({} if ends == "clean" or use in ("ddim", "pndm") else {"final_sigmas_type": "sigma_min"}),
        "clip_sample": clip is not None,
        "clip_sample_range": float(clip or 1.0),
        "skip_prk_steps": True,
    }
