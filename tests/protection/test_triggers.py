from __future__ import annotations

import pytest
import torch

from visionlab.data.graded import to_8_bits
from visionlab.data.images import photograph
from visionlab.measure.image_quality import psnr
from visionlab.protection.poison_ink import PoisonInk
from visionlab.protection.structure import FixedPattern, edges
from visionlab.protection.triggers import BadNets, Blend, Ink, Sinusoid, Trigger, Warp, clean


def images(n: int = 4, height: int = 32, width: int = 32) -> torch.Tensor:
    pictures = torch.stack([photograph(name, 64) for name in ("astronaut", "chelsea", "coffee", "rocket")])[:n]
    return to_8_bits(torch.nn.functional.interpolate(pictures, (height, width), mode="area"))


def ink(**kwargs: object) -> Ink:
    torch.manual_seed(0)
    return Ink(PoisonInk(), **kwargs)  # type: ignore[arg-type]


TRIGGERS: dict[str, Trigger] = {
    "BadNets": BadNets(),
    "Blend": Blend(photograph("chelsea", 64)),
    "Sinusoid": Sinusoid(),
    "Warp": Warp(),
    "Ink": ink(),
}


@pytest.mark.parametrize("name", TRIGGERS)
@pytest.mark.parametrize("size", [(32, 32), (33, 40), (64, 64)])
def test_triggers_keep_the_form_and_8_bits(name: str, size: tuple[int, int]) -> None:
    x = images(3, *size)
    before = x.clone()
    triggered = TRIGGERS[name](x)
    assert torch.equal(x, before), "the images given must stay as they are"
    assert triggered.shape == x.shape
    assert triggered.min() >= 0
    assert triggered.max() <= 1
    torch.testing.assert_close((triggered * 255).round() / 255, triggered, atol=1e-6, rtol=0)
    assert not torch.allclose(triggered, x, atol=1 / 255)
    assert TRIGGERS[name](x[:0]).shape == (0, 3, *size)


@pytest.mark.parametrize("name", TRIGGERS)
def test_an_image_gets_the_same_trigger_in_any_company(name: str) -> None:
    x = images()
    together = TRIGGERS[name](x)
    alone = torch.cat([TRIGGERS[name](x[i : i + 1]) for i in range(len(x))])
    torch.testing.assert_close(together, alone, atol=1.1 / 255, rtol=0)


def test_badnets_changes_nine_pixels_near_the_corner() -> None:
    x = images(1)
    changed = (BadNets()(x) - x).abs().amax((0, 1)) > 1 / 255
    rows, columns = changed.nonzero().T
    assert set(rows.tolist()) <= {28, 29, 30}
    assert set(columns.tolist()) <= {28, 29, 30}
    assert torch.equal(BadNets()(x)[0, 0, 28:31, 28:31], torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 0, 1]]))
    large = BadNets()(images(1, 64, 64))[0, 0, 56:62, 56:62]
    assert torch.equal(large[::2, ::2], torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 0, 1]]))


def test_blend_is_the_mixture_it_says() -> None:
    black = torch.zeros(1, 3, 16, 16)
    half = Blend(torch.ones(3, 8, 8), share=0.5)(black)
    assert torch.allclose(half, torch.full_like(half, 0.5), atol=1 / 255)


def test_waves_have_their_amplitude_and_number() -> None:
    grey = torch.full((1, 3, 8, 48), 0.5)
    wave = Sinusoid(amplitude=0.1, waves=6)(grey)[0, 0, 0] - 0.5
    assert wave.abs().max() == pytest.approx(0.1, abs=1 / 255)
    assert torch.fft.rfft(wave).abs().argmax() == 6


def test_the_warp_is_small_and_moves_no_flat_region() -> None:
    flat = torch.full((1, 3, 32, 32), 0.3)
    torch.testing.assert_close(Warp()(flat), flat, atol=1 / 255, rtol=0)
    x = images(2)
    assert psnr(x, Warp()(x)).min() > psnr(x, Warp(strength=2.0)(x)).max()


def test_ink_goes_on_edges_and_its_strength_is_graded() -> None:
    x = images()
    torch.testing.assert_close(ink(gain=0.0)(x), clean(x))
    quality = [psnr(x, ink(gain=gain)(x)).mean().item() for gain in (0.5, 1.0, 2.0)]
    assert quality == sorted(quality, reverse=True)
    networks = PoisonInk()
    torch.nn.init.zeros_(networks.hider.out.weight)  # only the tint is left
    changed = (Ink(networks)(x) - x).abs().amax(1, keepdim=True) > 1 / 255
    assert not (changed & (edges(x) == 0)).any()
    assert changed.float().mean() > 0.02


def test_the_watermark_is_at_the_same_place_in_every_image() -> None:
    pattern = torch.zeros(1, 32, 32)
    pattern[:, 8:16, 8:16] = 1
    networks = PoisonInk(structure=FixedPattern(pattern))
    torch.nn.init.zeros_(networks.hider.out.weight)
    x = images()
    changed = (Ink(networks, ink=(255, 0, 0))(x) - x).abs().amax(1) > 0.5 / 255
    assert not (changed & (pattern == 0)).any()


@pytest.mark.usefixtures("as_users_run_it")
def test_a_patch_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="a patch of 9 pixels does not fit into 8 x 8"):
        BadNets(side=9)(torch.rand(1, 3, 8, 8))
