"""Learning rates, parameter groups, precision and random seeds of training steps."""

import math

import numpy as np
import torch
from torch import nn

from tasks.config.train import TrainConfig


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """Return the learning rate of a step: a linear warm-up, then the schedule.

    Args:
        config: The peak rate, the share of warm-up steps, and the schedule.
        step: Number of the step, from 0.
        steps: Number of planned steps.
    """
    warmup = math.ceil(config.warmup_ratio * steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "constant":
        return config.learning_rate
    progress = (step - warmup) / max(steps - warmup, 1)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def make_scheduler(
    optimizer: torch.optim.Optimizer, config: TrainConfig, steps: int, done: int = 0
) -> torch.optim.lr_scheduler.LambdaLR:
    """Make a scheduler that sets the optimizer to the learning rate of the next step.

    Args:
        optimizer: Optimizer that was made with a learning rate of 1.
        config: As for `learning_rate`.
        steps: Number of planned steps.
        done: Number of finished steps.
    """
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: learning_rate(config, step, steps),
        last_epoch=done - 1,
    )


def linear_weights(model: nn.Module) -> list[nn.Parameter]:
    """Return the weights of linear maps, without biases and embedding tables."""
    return [p for n, p in model.named_parameters() if n.endswith("weight")]


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Return the parameter groups of the optimizer; only linear weights decay.

    Args:
        model: The model.
        weight_decay: Weight decay of the linear weights.
    """
    others = [p for n, p in model.named_parameters() if not n.endswith("weight")]
    return [
        {"params": linear_weights(model), "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """Return the type of matrix products, or None for the type of the weights.

    Args:
        precision: fp32, bf16, or auto: bfloat16 where the hardware multiplies it
            faster, on GPUs that support it and CPUs with AMX or AVX-512 BF16 (measured:
            whole steps 2.6 times faster).
        device: Where training runs.
    """
    if precision == "fp32":
        return None
    if precision == "bf16":
        return torch.bfloat16
    if device.type == "cuda":
        faster = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        cpu = torch.cpu.get_capabilities()
        faster = cpu.get("amx_bf16", False) or cpu.get("avx512_bf16", False)
    return torch.bfloat16 if faster else None


def seed_step(seed: int, step: int, rank: int, device: torch.device) -> None:
    """Seed torch's generator of a device for one training step.

    Args:
        seed: Seed of the training run.
        step: Number of the step.
        rank: Rank of this process.
        device: Where training runs.
    """
    mixed = np.random.SeedSequence([seed % 2**64, step, rank])
    # 32 bits are all that the CPU generator takes.
    state = int(mixed.generate_state(1)[0])
    if device.type == "cuda":
        torch.cuda.manual_seed(state)
    else:
        torch.default_generator.manual_seed(state)
