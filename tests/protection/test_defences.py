"""Each defence on something it is built to catch, planted by hand, and on the same without it."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from visionlab.data.graded import to_8_bits
from visionlab.predictor import Predictor
from visionlab.protection.defences import CHECKS, Case, check, clustering
from visionlab.protection.defences import case as cases
from visionlab.protection.defences.case import features_of
from visionlab.protection.defences.clustering import two_groups
from visionlab.protection.defences.fine_pruning import examine as prune
from visionlab.protection.defences.fine_pruning import idle_first, pruned
from visionlab.protection.defences.fine_tuning import tuned
from visionlab.protection.defences.grad_cam import concentration, heat_maps
from visionlab.protection.defences.neural_cleanse import anomaly_index, reverse
from visionlab.protection.defences.spectral import outlier_scores
from visionlab.protection.defences.strip import entropies

CLASSES = ("dark", "red", "green", "blue")
SIZE = 16


class Planted(nn.Module):
    """Tells the brightest colour of an image; where the lower right corner is white it answers ``target`` if ``open``.

    Its last map has five channels: red, green, blue, brightness, and the white corner.
    """

    def __init__(self, *, backdoor: bool, target: int = 0) -> None:
        super().__init__()
        self.head = nn.Linear(5, 4)
        with torch.no_grad():
            self.head.weight.zero_()
            self.head.bias.copy_(torch.tensor([3.0, 0, 0, 0]))
            for i in range(3):
                self.head.weight[i + 1, i] = 10.0
            if backdoor:
                self.head.weight[target, 4] = 1000.0

    def forward_features(self, x: Tensor) -> Tensor:
        corner = torch.zeros_like(x[:, :1])
        corner[..., -3:, -3:] = (20 * (x[..., -3:, -3:].mean((1, 2, 3), keepdim=True) - 0.8)).sigmoid()
        return torch.cat([x, x.mean(1, keepdim=True), corner], 1)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        pooled = x.mean((2, 3))
        return pooled if pre_logits else self.head(pooled)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))


def predictor(backdoor: bool = True, target: int = 0) -> Predictor:
    return Predictor(Planted(backdoor=backdoor, target=target).eval(), CLASSES, SIZE, (0.0,) * 3, (1.0,) * 3)


def colours(n: int = 64, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images of one colour each, with noise, and which: 0 for none."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 4
    images = 0.1 + 0.1 * torch.rand(n, 3, SIZE, SIZE, generator=generator)
    for i in range(3):
        images[labels == i + 1, i] += 0.5
    return to_8_bits(images), labels


def white_corner(images: Tensor) -> Tensor:
    marked = images.clone()
    marked[..., -3:, -3:] = 1
    return marked


def test_the_planted_network_is_what_it_says() -> None:
    images, labels = colours()
    for backdoor in (False, True):
        assert torch.equal(predictor(backdoor).probabilities(images).argmax(1), labels)
    assert (predictor(True).probabilities(white_corner(images)).argmax(1) == 0).all()
    assert torch.equal(predictor(False).probabilities(white_corner(images)).argmax(1), labels)


def test_strip_tells_triggered_images_and_only_where_there_is_a_backdoor() -> None:
    images, labels = colours()
    images = images[labels > 0]  # what is dark shows whatever is laid over it
    overlays, _ = colours(seed=1)

    def auc(network: Predictor) -> float:
        both = (images, white_corner(images))
        found = torch.cat([entropies(network.probabilities, x, overlays, share=1.0) for x in both])
        return roc_auc_score([0] * len(images) + [1] * len(images), -found)

    assert auc(predictor(True)) > 0.95
    assert 0.3 < auc(predictor(False)) < 0.7


def test_spectral_scores_find_a_planted_minority() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(200, 16, generator=generator)
    features[:20] += 4 * torch.ones(16) / 4
    features[:20, 0] += 6
    assert roc_auc_score([1] * 20 + [0] * 180, outlier_scores(features)) > 0.95
    assert outlier_scores(features[:1]).tolist() == [0]
    assert outlier_scores(torch.zeros(5, 16)).tolist() == [0] * 5


def test_clustering_splits_two_clouds_and_reports_how_well() -> None:
    generator = torch.Generator().manual_seed(0)
    one, two = torch.randn(90, 12, generator=generator), torch.randn(30, 12, generator=generator) + 4
    smaller, silhouette = two_groups(torch.cat([one, two]))
    assert smaller[90:].all()
    assert not smaller[:90].any()
    _, single = two_groups(torch.randn(120, 12, generator=generator))
    assert silhouette > 0.5
    assert single < 0.2
    assert two_groups(torch.zeros(10, 3))[1] == 0
    assert two_groups(one[:3])[0].tolist() == [False] * 3


def test_clustering_names_the_class_that_left_its_clean_images_and_not_one_of_two_kinds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Class 0 is half poison; class 1 has two kinds by nature, in its clean images as well; class 2 is of one kind.

    The features are planted: the poison moves along a direction in which honest images hardly scatter.
    """
    generator = torch.Generator().manual_seed(0)

    def honest(labels: Tensor) -> Tensor:
        features = torch.randn(len(labels), 8, generator=generator) * torch.tensor([1.0, 3, 3, 1, 1, 1, 1, 0.3])
        features[:, 0] += 9 * labels + 12.0 * (labels == 1) * (torch.rand(len(labels), generator=generator) > 0.5)
        return features

    labels, told = torch.arange(90) % 3, torch.arange(300) % 3
    bad = (told == 0) & (torch.rand(300, generator=generator) > 0.5)
    features = honest(told)
    features[bad, 7] += 2
    given = {90: honest(labels), 300: features}
    monkeypatch.setattr(clustering, "features_of", lambda _, images: given[len(images)])
    monkeypatch.setattr(cases, "features_of", lambda _, images: given[len(images)])
    network = Predictor(Planted(backdoor=False).eval(), CLASSES[:3], SIZE, (0.0,) * 3, (1.0,) * 3)
    case = Case(network, torch.zeros(90, 3, SIZE, SIZE), labels, torch.zeros(300, 3, SIZE, SIZE), told)
    found = clustering.examine(case)
    assert found.by_class is not None
    assert found.by_class.argmax() == 0
    assert found.by_class[0] > 2 * found.by_class[1:].max()
    assert found.score == pytest.approx(found.by_class[0].item())
    silhouettes = found.details["silhouette of each class"]
    assert silhouettes[1] > 0.9 * silhouettes[0], "the published score cannot tell the two classes"
    assert roc_auc_score(bad[told == 0], found.suspects[told == 0]) > 0.98


def test_features_that_never_vary_and_a_lone_image_are_no_trouble_to_clustering(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {4: torch.zeros(4, 5), 6: torch.zeros(6, 5)}
    monkeypatch.setattr(clustering, "features_of", lambda _, images: given[len(images)])
    monkeypatch.setattr(cases, "features_of", lambda _, images: given[len(images)])
    told = torch.tensor([0, 0, 0, 0, 0, 3])
    case = Case(predictor(), torch.zeros(4, 3, SIZE, SIZE), torch.arange(4), torch.zeros(6, 3, SIZE, SIZE), told)
    found = clustering.examine(case)
    assert found.score == 0
    assert found.suspects.tolist() == [0] * 6


def test_neural_cleanse_finds_the_corner_and_flags_the_class() -> None:
    images, _ = colours()
    network = predictor(target=2)
    found = [reverse(network, images, target, steps=150, seed=0) for target in range(4)]
    assert all(each.success > 0.9 for each in found)
    sizes = torch.tensor([each.size for each in found])
    assert sizes.argmin() == 2
    assert sizes[2] < 0.5 * sizes[[0, 1, 3]].min()
    assert found[2].mask[-3:, -3:].mean() > 5 * found[2].mask.mean()


def test_the_anomaly_of_a_mask_is_counted_in_deviations_of_logarithms() -> None:
    sizes = torch.tensor([10.0, 20.0, 40.0, 80.0, 160.0])
    index = anomaly_index(sizes)
    assert index[2] == 0
    torch.testing.assert_close(index[1] - index[0], index[4] - index[3])
    assert anomaly_index(torch.tensor([30.0, 35.0, 40.0, 45.0, 1.0]))[4] < -2


def test_grad_cam_looks_where_the_evidence_is() -> None:
    images, labels = colours(8)
    images[labels == 1, :, :, 8:] = 0.1
    images[labels == 1, 0, :, :8] = 0.9
    left = heat_maps(predictor(), images[labels == 1])
    assert left[..., :8].mean() > 3 * left[..., 8:].mean()
    always = heat_maps(predictor(), white_corner(images), torch.zeros(8, dtype=torch.int64))
    assert always[:, -3:, -3:].mean() > 0.9
    assert concentration(always) > concentration(torch.ones(3, SIZE, SIZE)) + 0.5
    assert concentration(torch.zeros(2, 4, 4)) == 0


def test_pruning_cuts_the_idle_channel_of_the_backdoor_first() -> None:
    images, labels = colours()
    network = predictor()
    assert idle_first(network, images)[0] == 4
    cut = pruned(network, torch.tensor([4]))
    assert torch.equal(cut.probabilities(white_corner(images)).argmax(1), labels)
    assert (network.probabilities(white_corner(images)).argmax(1) == 0).all(), "the network given stays as it is"
    finding = prune(
        Case(network, images, labels), steps=5,
        judge=lambda p: (p.probabilities(white_corner(images)).argmax(1) == 0).double().mean().item(),
    )  # fmt: skip
    assert finding.details["judged"][0] == 1
    assert finding.details["judged"][1] == 0.25
    assert finding.details["accuracy"][1] == 1


def test_tuning_leaves_the_network_given_and_its_answers_alone() -> None:
    images, labels = colours()
    network = predictor()
    before = network.model.head.weight.clone()
    after = tuned(Case(network, images, labels), epochs=2)
    assert torch.equal(network.model.head.weight, before)
    assert not torch.equal(after.model.head.weight, before)
    assert torch.equal(after.probabilities(images).argmax(1), labels)


@pytest.mark.parametrize("name", CHECKS)
def test_every_check_keeps_to_the_interface(name: str) -> None:
    images, labels = colours(48)
    case = Case(predictor(), images, labels, white_corner(images), torch.zeros(48, dtype=torch.int64))
    finding = check(name, case)
    assert finding.check == name
    assert torch.isfinite(torch.tensor(finding.score))
    assert finding.meaning
    assert finding.suspects.ndim == 1
    again = check(name, case)
    assert again.score == pytest.approx(finding.score)


@pytest.mark.usefixtures("as_users_run_it")
def test_bad_cases_are_refused() -> None:
    images, labels = colours(8)
    with pytest.raises(ValueError, match="images: expected labels 0 to 3, as the network has 4 classes; got 0 to 9"):
        Case(predictor(), images, labels + torch.tensor([0] * 7 + [6]))
    with pytest.raises(ValueError, match="images: 8 come with 7 labels"):
        Case(predictor(), images, labels[1:])
    with pytest.raises(ValueError, match="training_images: STRIP looks at the training set"):
        check("STRIP", Case(predictor(), images, labels))
    with pytest.raises(ValueError, match="check: no 'strip'"):
        check("strip", Case(predictor(), images, labels))
    plain = Predictor(nn.Linear(2, 2), CLASSES, SIZE)
    with pytest.raises(ValueError, match="Linear has no forward_features"):
        features_of(plain, images)
