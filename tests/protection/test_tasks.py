from __future__ import annotations

import pytest
import torch
from torch import nn

from visionlab.data import images as real
from visionlab.measure.image_quality import psnr
from visionlab.protection.tasks import TASKS, answers, check_images, pairs


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def tiles() -> torch.Tensor:
    return real.load("eurosat_mini", "test", size=32).tensors()[0][::6]


def made(task: str, images: torch.Tensor, **settings: object) -> torch.Tensor:
    """That one of the pair which the task makes of the images; the other is the images themselves."""
    a, b = pairs(images, task, **{"generator": seeded(), **settings})  # type: ignore[arg-type]
    changed, kept = (a, b) if TASKS[task].undoes else (b, a)
    assert torch.equal(kept, images)
    return changed


@pytest.mark.parametrize("task", TASKS)
def test_pairs_are_images_of_8_bits_and_follow_from_the_seed(task: str, tiles: torch.Tensor) -> None:
    changed = made(task, tiles)
    assert changed.shape == tiles.shape
    assert changed.dtype == torch.float32
    assert changed.min() >= 0
    assert changed.max() <= 1
    torch.testing.assert_close(changed * 255, (changed * 255).round(), atol=1e-3, rtol=0)
    assert torch.equal(changed, made(task, tiles))
    drawn = TASKS[task].undoes
    assert torch.equal(changed, made(task, tiles, generator=seeded(1))) is not drawn


@pytest.mark.parametrize("task", TASKS)
def test_strength_grades_the_change(task: str, tiles: torch.Tensor) -> None:
    assert torch.equal(made(task, tiles, strength=0.0), tiles)
    errors = [(made(task, tiles, strength=s) - tiles).square().mean().item() for s in (0.2, 0.5, 1.0)]
    assert 0 < errors[0] < errors[1] < errors[2]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("size", [(8, 8), (9, 31), (40, 24)])
def test_any_size_will_do(task: str, size: tuple[int, int]) -> None:
    images = torch.rand(3, 3, *size, generator=seeded())
    assert made(task, images).shape == images.shape


@pytest.mark.parametrize("task", [name for name, task in TASKS.items() if task.undoes])
def test_each_image_is_damaged_in_its_own_way_and_by_its_own_amount(task: str, tiles: torch.Tensor) -> None:
    same = tiles[:1].expand(24, -1, -1, -1)
    changed = made(task, same)
    assert len({image.numpy().tobytes() for image in changed}) > 20
    errors = (changed - same).square().mean((1, 2, 3))
    assert errors.max() > 2 * errors.min()


def test_rain_is_as_heavy_as_in_the_study() -> None:
    """21.6 dB there, on CIFAR-10; satellite tiles are darker, and clip less of it."""
    images = real.load("eurosat_mini", "test", size=32).tensors()[0]
    a, b = pairs(images, "rain", generator=seeded())
    assert psnr(a, b).mean().item() == pytest.approx(21.0, abs=0.3)


def test_rain_brightens_and_falls_at_the_border_as_in_the_middle() -> None:
    black = torch.zeros(400, 3, 32, 32)
    rain = made("rain", black)
    assert torch.equal(rain[:, 0], rain[:, 2])
    border, middle = rain[..., :2].mean(), rain[..., 14:18].mean()
    assert border.item() == pytest.approx(middle.item(), rel=0.1)
    # Of 3 % of the pixels, 7 pixels of half the brightness on average, times 0.8.
    assert rain.mean().item() == pytest.approx(0.03 * 7 * 0.25 * 0.8, rel=0.05)


def test_rain_slants_by_up_to_50_degrees_either_way() -> None:
    rain = made("rain", torch.zeros(200, 3, 32, 32))[:, 0]
    right = (rain[:, 1:, 1:] * rain[:, :-1, :-1]).mean((1, 2))
    left = (rain[:, 1:, :-1] * rain[:, :-1, 1:]).mean((1, 2))
    lean = (right - left) / (right + left)
    assert lean.max() > 0.3
    assert lean.min() < -0.3
    assert lean.mean().abs() < 0.1
    across = (rain[:, :, 1:] * rain[:, :, :-1]).mean((1, 2))
    down = (rain[:, 1:] * rain[:, :-1]).mean((1, 2))
    assert (down > across).float().mean() > 0.75  # steeper than 45 degrees


def test_a_sketch_is_grey_and_flat_images_leave_the_paper_white() -> None:
    flat = torch.rand(4, 3, 1, 1, generator=seeded()).clamp(min=0.05).expand(4, 3, 16, 16)
    assert (made("sketch", flat) > 0.99).all()
    drawing = made("sketch", torch.rand(2, 3, 16, 16, generator=seeded()))
    assert torch.equal(drawing[:, 0], drawing[:, 1])


@pytest.mark.parametrize("task", ["sketch", "style"])
def test_drawings_move_with_the_image(task: str, tiles: torch.Tensor) -> None:
    """They are functions of what is around a pixel, not of where it is."""
    torch.testing.assert_close(made(task, tiles.flip(-1)), made(task, tiles).flip(-1), atol=2.5 / 255, rtol=0)


def test_oil_paint_keeps_edges_and_evens_out_the_rest() -> None:
    image = torch.zeros(1, 3, 16, 16)
    image[..., 8:] = 0.8
    noisy = image + 0.05 * torch.rand(image.shape, generator=seeded())
    painted = made("style", noisy)
    spread = painted[..., :8].std((2, 3)).mean()
    assert spread < 0.5 * noisy[..., :8].std((2, 3)).mean()
    assert (painted[..., 8] - painted[..., 7]).mean() > 0.4


class Halved(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)
        self.share = nn.Parameter(torch.tensor(0.5))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.drop(images) * self.share


def test_answers_are_those_of_any_module_or_function(tiles: torch.Tensor) -> None:
    module = Halved()
    torch.testing.assert_close(answers(module, tiles), tiles / 2, atol=0.51 / 255, rtol=0)
    assert module.training
    assert not answers(module, tiles).requires_grad
    found = answers(lambda images: 3 * images - 1, tiles)
    assert found.min() == 0
    torch.testing.assert_close(found * 255, (found * 255).round(), atol=1e-3, rtol=0)
    assert len(answers(lambda images: images, tiles.repeat(6, 1, 1, 1))) == 6 * len(tiles)


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": "rian"}, "task: no 'rian'; did you mean 'rain'?"),
        ({"task": "xyz"}, "task: no 'xyz'; rain, noise, haze, blur, sketch, style"),
        ({"strength": 1.2}, "strength: expected 0 to 1, got 1.2"),
        ({"strength": float("nan")}, "strength: expected 0 to 1, got nan"),
        ({"images": torch.rand(0, 3, 16, 16)}, r"images: expected \(B, 3, H, W\), some, .* got \(0, 3, 16, 16\)"),
        ({"images": torch.rand(2, 1, 16, 16)}, r"images: expected \(B, 3, H, W\).* got \(2, 1, 16, 16\)"),
        ({"images": torch.rand(2, 3, 7, 16)}, "images: .*sides of 8 or more, got"),
        ({"images": torch.rand(3, 16, 16)}, r"images: expected \(B, 3, H, W\).* got \(3, 16, 16\)"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict, words: str) -> None:
    settings = {"images": torch.rand(2, 3, 16, 16), "task": "rain", "strength": 0.5} | changes
    with pytest.raises(ValueError, match=words):
        pairs(settings["images"], settings["task"], strength=settings["strength"], generator=seeded())


@pytest.mark.usefixtures("as_users_run_it")
def test_answers_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"network: expected answers of shape \(2, 3, 16, 16\), got \(2, 1, 16, 16\)"):
        answers(lambda images: images[:, :1], torch.rand(2, 3, 16, 16))
    with pytest.raises(ValueError, match="images: expected"):
        answers(lambda images: images, torch.rand(0, 3, 16, 16))
    with pytest.raises(ValueError, match="inputs: expected"):
        check_images("inputs", torch.rand(2, 3, 16, 4))
