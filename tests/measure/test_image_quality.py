from __future__ import annotations

from pathlib import Path

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from visionlab.data.images import photograph
from visionlab.measure.image_quality import feature_distance, lpips, lpips_at_hand, psnr, ssim


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.stack([photograph(name, 48) for name in ("astronaut", "chelsea")])
    noise = 0.05 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return images, (images + noise).clamp(0, 1)


def test_both_are_those_of_scikit_image() -> None:
    images, others = pair()
    for i, (a, b) in enumerate(zip(images.numpy(), others.numpy(), strict=True)):
        assert psnr(images, others)[i].item() == pytest.approx(peak_signal_noise_ratio(a, b, data_range=1), abs=1e-3)
        _, places = structural_similarity(
            a, b, channel_axis=0, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
            full=True,
        )  # fmt: skip
        assert ssim(images, others)[i].item() == pytest.approx(places.mean(), abs=2e-3)


def test_equal_images_have_the_highest_values() -> None:
    images, _ = pair()
    assert psnr(images, images).tolist() == [100, 100]
    assert torch.allclose(ssim(images, images), torch.ones(2))
    assert torch.allclose(feature_distance(lambda x: x.flatten(1), images, images), torch.zeros(2), atol=1e-6)


def test_opposite_features_are_two_apart() -> None:
    distance = feature_distance(lambda x: x.mean((2, 3)) - 0.5, torch.zeros(3, 3, 4, 4), torch.ones(3, 3, 4, 4))
    assert torch.allclose(distance, torch.full((3,), 2.0))


@pytest.mark.usefixtures("as_users_run_it")
def test_other_shapes_are_refused() -> None:
    images, others = pair()
    for measure in (psnr, ssim, lpips):
        with pytest.raises(ValueError, match="others: expected"):
            measure(images, others[..., 1:])
    with pytest.raises(ValueError, match="sides of 8 pixels or more"):
        ssim(images[..., :5, :], others[..., :5, :])
    with pytest.raises(ValueError, match=r"images: expected \(B, 3, H, W\), got \(2, 1, 48, 48\)"):
        lpips(images[:, :1], others[:, :1])
    with pytest.raises(ValueError, match=r"others: expected values in \[0, 1\], got .* to 2"):
        lpips(images, others * 0 + 2)


def test_what_lpips_lacks_is_named_with_the_command_that_fetches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert not lpips_at_hand()
    with pytest.raises(
        RuntimeError, match=r"alexnet-owt-7be5be79.pth; fetch 233 MB: python -c .*IMAGENET1K_V1"
    ) as said:
        lpips(*pair())
    assert str(tmp_path) in str(said.value)
    assert list(tmp_path.rglob("*.pth")) == [], "nothing was downloaded"


def test_lpips_is_0_for_equal_images_and_grows_with_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models import alexnet

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(alexnet(weights=None).state_dict(), tmp_path / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth")
    assert lpips_at_hand()
    images, _ = pair()
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    steps = [lpips(images, (images + strength * noise).clamp(0, 1)) for strength in (0.0, 0.05, 0.2)]
    assert steps[0].tolist() == [0, 0]
    assert (steps[1] > 0).all()
    assert (steps[2] > steps[1]).all()
    assert torch.allclose(lpips(images[1:], images[:1]), lpips(images, images.flip(0))[1:])
    small = torch.nn.functional.interpolate(images, (16, 20), mode="area")
    assert (lpips(small, small.flip(3)) > 0).all(), "smaller ones are enlarged first"
