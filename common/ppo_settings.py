"""Settings of PPO: what a run's configuration says about the updates of a policy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Width = Annotated[int, Field(ge=1, le=65_536)]


class PpoSettings(BaseModel):
    """How the policies of a run are trained.

    The defaults are those of the published attack: Gleave et al., "Adversarial Policies: Attacking
    Deep Reinforcement Learning", ICLR 2020, table of hyperparameters. A batch of 16,384 steps gives
    four minibatches of 4,096.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    minibatches: int = Field(
        4,
        ge=1,
        le=65_536,
        description="Minibatches that each pass over a batch is cut into; they differ in size by "
        "the rounding alone, so a batch may have any number of steps.",
    )
    epochs: int = Field(4, ge=1, le=1_000, description="Passes over each batch.")
    learning_rate: float = Field(3e-4, gt=0, le=1, description="Step size of Adam.")
    gamma: float = Field(0.99, ge=0, le=1, description="Discount per step.")
    lam: float = Field(
        0.95, ge=0, le=1, description="Lambda of generalised advantage estimation (GAE)."
    )
    clip: float = Field(
        0.2, gt=0, lt=1, description="The probability ratio is clipped to 1 +- this."
    )
    value_coefficient: float = Field(0.5, ge=0, description="Weight of the value loss.")
    max_gradient_norm: float = Field(
        0.5, gt=0, description="Gradients are scaled down to at most this Euclidean norm."
    )
    entropy_coefficient: float = Field(0.0, ge=0, description="Weight of the entropy bonus.")
    target_kl: float | None = Field(
        None,
        gt=0,
        description="An update ends early once a minibatch's approximate KL divergence exceeds "
        "1.5 times this; null: never.",
    )
    normalize_observations: Literal["running", "frozen", "none"] = Field(
        "running",
        description="running: the observation filter follows the observations of every batch. "
        "frozen: it stays what it was at the start (of a fresh policy: clipping alone). "
        "none: a fresh policy gets no filter; a policy trained before keeps its own, as frozen.",
    )
    normalize_rewards: bool = Field(
        True,
        description="Divide rewards by the running standard deviation of the discounted return, "
        "clipped to +-10.",
    )
    hidden: tuple[Width, ...] = Field(
        (64, 64),
        description="Widths of the hidden layers of a fresh policy, the same for its policy and "
        "its value network, which share nothing; empty: linear.",
    )
    activation: Literal["tanh", "relu"] = Field(
        "tanh", description="Activation of the hidden layers of a fresh policy."
    )
    log_std_init: float = Field(
        0.0,
        ge=-20,
        le=2,
        description="Logarithm of a fresh policy's standard deviation (continuous actions).",
    )
    observation_clip: float = Field(
        10.0,
        gt=0,
        description="A fresh policy's filtered observations are clipped to +- this.",
    )
