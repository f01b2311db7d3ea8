"""The training loop: what it optimises, and what it makes of a recipe."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.train import toy
from visionlab.train.loop import Fit, Momentum, Recipe, Stepped, fit, start
from visionlab.train.stream import Fresh


def weights(model: nn.Module) -> list[Tensor]:
    return list(model.state_dict().values())


def train(model: nn.Module, draw: object, loss: object, **recipe: object) -> Fit:
    settings = {"steps": 1, "batch": 1, "learning_rate": 0.1, "weight_decay": 0.0} | recipe
    fabric = start(settings.get("precision", "32-true"), "cpu")
    return fit(model, Fresh(draw), loss, Recipe(**settings), seed=0, fabric=fabric)


def test_the_loss_falls() -> None:
    done = toy.run(400, dropout=0.0, jitter=0.0, learning_rate=3e-2)
    rows = [row["loss"] for row in done.history]
    assert sum(rows[-20:]) < 0.5 * sum(rows[:20])
    assert {"step", "loss", "absolute"} == set(done.history[0])
    assert done.seconds > 0


def test_one_seed_gives_the_same_bits_twice_and_another_seed_does_not() -> None:
    first, second = toy.run(), toy.run()
    assert first.history == second.history
    assert all(torch.equal(a, b) for a, b in zip(weights(first.model), weights(second.model), strict=True))
    model = toy.network(0.25)
    recipe = Recipe(steps=120, batch=24, learning_rate=1e-2, warmup=5, ema=0.9)
    other = fit(model, Fresh(toy.draw), toy.squared_error, recipe, seed=12, fabric=start("32-true", "cpu"))
    assert other.history[0] != first.history[0]


@pytest.mark.parametrize("kind", ["fresh", "shuffled"])
@pytest.mark.usefixtures("as_users_run_it")  # the checker of types draws from Python's generator
def test_the_callers_random_state_is_left_alone(kind: str) -> None:
    before = torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    toy.run(10, kind=kind)
    with pytest.raises(StopIteration):
        toy.run(10, kind=kind, stop=4)
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert before[1] == random.getstate()
    assert before[2] == np.random.get_state()[1].tolist()  # noqa: NPY002


def test_each_step_has_dropout_and_augmentation_of_its_own() -> None:
    masks, noises = [], []

    def augment(batch: tuple[Tensor, ...], rng: torch.Generator) -> tuple[Tensor, ...]:
        noises.append(torch.rand(4, generator=rng).tolist())
        return batch

    for _ in range(2):
        model = toy.network(0.5)
        model[2].register_forward_hook(
            lambda _module, inputs, output: masks.append((output == 0)[inputs[0] > 0][:20].tolist())
        )
        recipe = Recipe(steps=5, batch=8, learning_rate=0.1)
        fit(model, Fresh(toy.draw), toy.squared_error, recipe, seed=3, fabric=start("32-true", "cpu"), augment=augment)
    for seen in (masks, noises):
        assert seen[:5] == seen[5:]
        assert len({tuple(one) for one in seen}) == 5


@pytest.mark.parametrize("parts", [2, 3, 24])
def test_accumulated_parts_give_the_step_of_the_whole_batch(parts: int) -> None:
    whole, split = toy.run(30, dropout=0.0), toy.run(30, dropout=0.0, accumulate=parts)
    for a, b in zip(weights(whole.model), weights(split.model), strict=True):
        assert torch.allclose(a, b, atol=1e-5)
    for name in ("loss", "absolute"):
        assert [row[name] for row in split.history] == pytest.approx([row[name] for row in whole.history], rel=1e-4)


def test_a_step_is_adamws_with_the_rate_of_the_schedule() -> None:
    ours, theirs = toy.network(0.0), toy.network(0.0)
    recipe = {"learning_rate": 0.05, "warmup": 2, "floor": 0.01, "betas": (0.8, 0.95), "weight_decay": 0.2}
    batches: list[tuple[Tensor, ...]] = []

    def draw(n: int, rng: torch.Generator) -> tuple[Tensor, ...]:
        batches.append(toy.draw(n, rng))
        return batches[-1]

    train(ours, draw, toy.squared_error, steps=4, batch=8, clip_norm=0.3, **recipe)
    matrices, vectors = ([p for p in theirs.parameters() if p.ndim == n] for n in (2, 1))
    optimiser = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.2}, {"params": vectors, "weight_decay": 0.0}], betas=(0.8, 0.95)
    )
    for batch, rate in zip(batches, (0.025, 0.05, 0.05, 0.01), strict=True):
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad()
        toy.squared_error(theirs, batch)[0].backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), 0.3)
        optimiser.step()
    for a, b in zip(weights(ours), weights(theirs), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_the_average_is_the_exponential_moving_average_of_the_weights() -> None:
    model, trail = toy.network(0.0), []
    done = fit(
        model, Fresh(toy.draw), toy.squared_error, Recipe(steps=4, batch=8, learning_rate=0.1, ema=0.8),
        seed=0, fabric=start("32-true", "cpu"), hook=lambda *_: trail.append(model[0].weight.detach().clone()),
    )  # fmt: skip
    # torch's average starts from the weights after the first step.
    expected = trail[0]
    for later in trail[1:]:
        expected = 0.8 * expected + 0.2 * later
    assert torch.allclose(done.model[0].weight, expected, atol=1e-6)
    assert done.model is not model
    assert train(model, toy.draw, toy.squared_error).model is model, "without an average, the network itself"


def test_vectors_do_not_decay_and_matrices_do() -> None:
    model = nn.Linear(3, 3)
    nn.init.ones_(model.weight)
    nn.init.ones_(model.bias)

    def no_gradient(network: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        return 0.0 * network(batch[0]).sum(), {}

    train(model, lambda n, rng: (torch.zeros(n, 3),), no_gradient, learning_rate=0.5, weight_decay=0.1)
    assert torch.allclose(model.weight, torch.full((3, 3), 0.95))
    assert torch.equal(model.bias, torch.ones(3))


def test_frozen_weights_stay_as_they_are() -> None:
    model = toy.network(0.0)
    model[0].requires_grad_(False)
    before = [w.clone() for w in weights(model)]
    train(model, toy.draw, toy.squared_error, steps=3, weight_decay=0.5)
    assert [torch.equal(a, b) for a, b in zip(before, weights(model), strict=True)] == [True, True, False, False]


@pytest.mark.parametrize(("clip_norm", "least", "most"), [(1e-12, 0.0, 1e-3), (None, 0.9, 1.1), (1.0, 0.9, 1.1)])
def test_the_gradient_is_clipped_to_its_norm(clip_norm: float | None, least: float, most: float) -> None:
    model = nn.Linear(2, 1, bias=False)
    before = model.weight.detach().clone()

    def steep(network: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        return 1e3 * network(batch[0]).sum(), {}

    train(model, lambda n, rng: (torch.ones(n, 2),), steep, learning_rate=1.0, clip_norm=clip_norm)
    # AdamW divides by the root of the squared gradient plus 1e-8: a step of the learning rate, unless far below that.
    assert least <= (model.weight - before).abs().max().item() <= most


@pytest.mark.parametrize(
    ("precision", "kept", "computed"),
    [
        ("32-true", torch.float32, torch.float32),
        ("64-true", torch.float64, torch.float64),
        ("bf16-mixed", torch.float32, torch.bfloat16),
    ],
)
def test_precisions_are_what_they_say(precision: str, kept: torch.dtype, computed: torch.dtype) -> None:
    model, seen = toy.network(0.0), set()
    handle = model[0].register_forward_hook(lambda _module, _inputs, output: seen.add(output.dtype))
    done = train(model, toy.draw, toy.squared_error, steps=40, batch=64, learning_rate=0.02, precision=precision)
    handle.remove()
    assert seen == {computed}
    assert {parameter.dtype for parameter in done.model.parameters()} == {kept}
    losses = [row["loss"] for row in done.history]
    assert sum(losses[-5:]) < sum(losses[:5])


@pytest.mark.parametrize(("steps", "least", "most"), [(7, 7, 7), (200, 200, 200), (399, 200, 399), (1000, 200, 201)])
def test_the_hook_hears_about_two_hundred_times_and_at_the_end(steps: int, least: int, most: int) -> None:
    heard = []
    done = toy.run(steps, hook=lambda *told: heard.append(told), ema=None)
    assert least <= len(heard) <= most
    assert heard[-1][:2] == (steps, steps)
    assert heard[0][2].keys() == {"loss", "absolute"}
    assert done.history == [{"step": float(step), **values} for step, _, values in heard]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(bad: float) -> None:
    numbers = iter([1.0, 1.0, bad, 1.0, 1.0])

    def draw(n: int, _rng: torch.Generator) -> tuple[Tensor, ...]:
        return (torch.full((n, 1), next(numbers)),)

    with pytest.raises(FloatingPointError, match=rf"loss: {bad} at step 2; lower the learning rate"):
        train(nn.Linear(1, 1), draw, lambda m, b: (m(b[0]).square().mean(), {}), steps=5, batch=2)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"steps": 0}, "steps: expected a whole number >= 1, got 0"),
        ({"steps": 2.5}, "steps: expected a whole number >= 1, got 2.5"),
        ({"batch": 0}, "batch: expected a whole number >= 1, got 0"),
        ({"accumulate": 5}, "accumulate: 5 parts do not divide a batch of 24"),
        ({"warmup": 10}, "warmup: expected 0 <= warmup < steps = 10, got 10"),
        ({"warmup": -1}, "warmup: expected 0 <= warmup < steps = 10, got -1"),
        ({"ema": 1.0}, "ema: expected a decay between 0 and 1, or None, got 1.0"),
        ({"ema": 0.0}, "ema: expected a decay between 0 and 1, or None, got 0.0"),
        ({"clip_norm": 0.0}, "clip_norm: expected a number > 0, or None, got 0.0"),
        ({"clip_norm": float("nan")}, "clip_norm: expected a number > 0, or None, got nan"),
        ({"precision": "16"}, "precision: expected one of 32-true, bf16-mixed, 64-true, got '16'"),
    ],
)
@pytest.mark.usefixtures("as_users_run_it")
def test_impossible_recipes_are_refused_before_anything_runs(fields: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Recipe(**({"steps": 10, "batch": 24, "learning_rate": 0.1} | fields))


def test_a_stepped_rate_drops_at_its_milestones_and_is_a_cosine_without() -> None:
    recipe = Stepped(steps=10, batch=1, learning_rate=2.0, milestones=(3, 6), drop=0.1)
    assert [recipe.rate(step) for step in range(8)] == pytest.approx([2, 2, 2, 0.2, 0.2, 0.2, 0.02, 0.02])
    cosine = {"steps": 10, "batch": 1, "learning_rate": 2.0, "warmup": 2}
    assert [Stepped(**cosine).rate(step) for step in range(10)] == [Recipe(**cosine).rate(step) for step in range(10)]


def test_momentum_takes_the_steps_of_torch_sgd() -> None:
    def draw(n: int, rng: torch.Generator) -> tuple[Tensor, ...]:
        return (torch.randn(n, 3, generator=rng),)

    def loss(model: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        return model(batch[0]).square().mean(), {}

    torch.manual_seed(0)
    ours, theirs = nn.Linear(3, 2), nn.Linear(3, 2)
    theirs.load_state_dict(ours.state_dict())
    recipe = Momentum(steps=5, batch=4, learning_rate=0.1, milestones=(2,), weight_decay=0.01, clip_norm=None)
    fit(ours, Fresh(draw), loss, recipe, seed=0, fabric=start("32-true", "cpu"))
    optimiser = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)
    batches = Fresh(draw).batches(0, seed=0, batch=4, rank=0, world=1, device=torch.device("cpu"))
    for step, batch in zip(range(5), batches, strict=False):
        optimiser.param_groups[0]["lr"] = 0.1 if step < 2 else 0.01
        optimiser.zero_grad()
        loss(theirs, batch)[0].backward()
        optimiser.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b)
