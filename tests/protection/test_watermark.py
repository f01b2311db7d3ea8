from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from io import BytesIO
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from visionlab.protection.hiding import ColourHider
from visionlab.protection.hiding_published import GuidanceExtractor, InjectionUNet, PatchDiscriminator
from visionlab.protection.interference import NONE, Interference
from visionlab.protection.owner_code import Hues, Levels, decode, encode
from visionlab.protection.poison_ink import Weights
from visionlab.protection.regions import edge_map, paint, regions
from visionlab.protection.watermark import ENOUGH, Marked, StructureMark, unmarked
from visionlab.protection.watermark_training import (
    LAYER,
    WEIGHTS,
    adversarial_stage,
    mark_loss,
    train_mark,
)
from visionlab.train.checkpoint import CheckpointError
from visionlab.train.loop import Recipe, start
from visionlab.train.randomness import seeded

SHORT = Recipe(steps=25, batch=8, learning_rate=3e-3, warmup=5, weight_decay=0.0)
STRUCTURES = (("edges", edge_map, 1, 0.1), ("regions", partial(regions, k=2), 2, 0.04))


@pytest.fixture(params=STRUCTURES, ids=lambda param: param[0])
def networks(request: pytest.FixtureRequest) -> StructureMark:
    _, structure, classes, amplitude = request.param
    with seeded(0):
        return StructureMark(ColourHider(amplitude=amplitude), structure=structure, classes=classes).eval()


def own(networks: StructureMark) -> Tensor:
    return torch.tensor([3, 6])[: networks.classes]


class Ideal(nn.Module):
    """Draws a mark as it should be: on the structure of the image, in given symbols."""

    def __init__(self, networks: StructureMark, symbols: Tensor) -> None:
        super().__init__()
        self.structure, self.inks = networks.structure, networks.code.inks(symbols)

    def forward(self, images: Tensor) -> Tensor:
        return paint(self.structure(images), self.inks.expand(len(images), -1, -1))


# --- The mark ---------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_the_mark_moves_with_the_image(networks: StructureMark, tiles: Tensor) -> None:
    change = networks.mark(tiles, own(networks)) - tiles
    for turn in (lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.transpose(-1, -2)):
        there = networks.mark(turn(tiles), own(networks)) - turn(tiles)
        error = (turn(change) - there).square().sum() / change.square().sum()
        assert error < 0.05, "the embedder is not trained, so that it hardly chooses places"
    assert change.abs().max() > 5 / 255


@torch.no_grad()
def test_no_structure_means_no_change_and_abstention() -> None:
    flat = torch.full((2, 3, 32, 32), 102 / 255)
    networks = StructureMark().eval()
    torch.testing.assert_close(networks.mark(flat, torch.tensor([3])), flat, atol=1e-6, rtol=0)
    reading = networks.decode(flat)
    assert reading.symbols.tolist() == [[-1], [-1]]
    assert not reading.usable.any()
    assert torch.equal(reading.colours, torch.ones(2, 1, 3)), "white: no ink, not black"


def test_a_region_that_is_missing_abstains_alone(tiles: Tensor) -> None:
    flat = torch.full((1, 3, 32, 32), 0.4)
    networks = StructureMark(structure=partial(regions, k=2), classes=2)
    networks.extractor = Ideal(networks, torch.tensor([3, 6]))
    reading = networks.decode(torch.cat([flat, tiles[:1]]))
    assert reading.symbols.tolist() == [[3, -1], [3, 6]]


@torch.no_grad()
def test_gain_scales_the_mark_and_0_is_the_identity(networks: StructureMark, tiles: Tensor) -> None:
    images = ((0.3 + 0.4 * tiles) * 255).round() / 255
    nothing, once, twice = (networks.mark(images, own(networks), gain=gain) for gain in (0.0, 1.0, 2.0))
    torch.testing.assert_close(nothing, images, atol=1e-6, rtol=0)
    torch.testing.assert_close(twice - images, 2 * (once - images), atol=1.6 / 255, rtol=0)


@torch.no_grad()
def test_each_image_may_carry_its_own_symbols(networks: StructureMark, tiles: Tensor) -> None:
    symbols = torch.randint(8, (3, networks.classes), generator=torch.Generator().manual_seed(0))
    together = networks.mark(tiles[:3], symbols)
    for i in range(3):
        torch.testing.assert_close(together[i : i + 1], networks.mark(tiles[i : i + 1], symbols[i]), atol=1e-6, rtol=0)


@torch.no_grad()
def test_the_structure_hardly_changes_by_being_marked(networks: StructureMark, tiles: Tensor) -> None:
    marked = networks.mark(tiles, own(networks))
    assert (networks.structure(marked) == networks.structure(tiles)).float().mean() > 0.93


@pytest.mark.parametrize("code", [Hues(), Levels()], ids=("hues", "levels"))
@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda structure: structure[0])
def test_an_ideal_extractor_gives_the_message_back(code: Hues | Levels, structure: tuple, tiles: Tensor) -> None:
    networks = StructureMark(structure=structure[1], classes=structure[2], code=code)
    symbols = encode("101" * structure[2], code, classes=structure[2])
    networks.extractor = Ideal(networks, torch.tensor(symbols))
    reading = networks.decode(tiles)
    assert reading.usable.any()
    for found, usable in zip(reading.symbols, reading.usable, strict=True):
        if usable.all():
            assert decode(tuple(found.tolist()), code) == int("101" * structure[2], 2)
        assert (found[~usable] == -1).all()
    torch.testing.assert_close(
        reading.colours[reading.usable], code.inks(torch.tensor(symbols)).expand(len(tiles), -1, -1)[reading.usable]
    )


def test_only_the_drawing_over_the_structure_counts(tiles: Tensor) -> None:
    networks = StructureMark()

    class Scrawl(Ideal):
        def forward(self, images: Tensor) -> Tensor:
            return torch.where(self.structure(images) > 0, super().forward(images), torch.rand(3, 1, 1))

    networks.extractor = Scrawl(networks, torch.tensor([5]))
    reading = networks.decode(tiles)
    assert (reading.symbols[reading.usable] == 5).all()


def test_bad_input_is_refused_by_name(as_users_run_it: None, tiles: Tensor) -> None:
    networks, symbols = StructureMark(), torch.tensor([3])
    for images in (tiles[:, :1], tiles[:0], tiles[..., :4], tiles[0]):
        for use in (lambda x: networks.mark(x, symbols), networks.read, networks.decode):
            with pytest.raises(ValueError, match="images: expected"):
                use(images)
    for wrong in (torch.tensor([3, 4]), torch.tensor([[3], [3]]), torch.tensor(3)):
        with pytest.raises(ValueError, match=r"symbols: expected shape \(60, 1\) or \(1,\)"):
            networks.mark(tiles, wrong)
    with pytest.raises(ValueError, match="symbols: expected 0 to 7, got 8"):
        networks.mark(tiles, torch.tensor([8]))
    with pytest.raises(ValueError, match="classes: expected 1 or more, got 0"):
        StructureMark(classes=0)


# --- Around a network -------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_any_network_or_function_answers_with_the_mark(networks: StructureMark, tiles: Tensor) -> None:
    symbols = tuple(own(networks).tolist())
    for network in (lambda x: 1.5 * x - 0.2, nn.Conv2d(3, 3, 1)):
        marked = Marked(network, networks, symbols, gain=0.5).eval()
        for images in (tiles[:3], torch.rand(1, 3, 19, 42)):
            clean = network(images).clamp(0, 1)
            found = marked(images)
            assert found.shape == images.shape
            torch.testing.assert_close(255 * found, (255 * found).round(), atol=1e-3, rtol=0)
            if images.shape[-1] % 4 == 0:
                torch.testing.assert_close(found, networks.mark(clean, own(networks), gain=0.5))
    assert "inks" in Marked(nn.Identity(), networks, symbols).state_dict(), "it moves to a device with the networks"
    with pytest.raises(ValueError, match="symbols: expected"):
        Marked(nn.Identity(), networks, (1, 2, 3))


@torch.no_grad()
def test_one_export_serves_batches_and_sizes(as_users_run_it: None, networks: StructureMark, tiles: Tensor) -> None:
    marked = Marked(nn.Conv2d(3, 3, 3, padding=1), networks, tuple(own(networks).tolist())).eval()
    sizes = {0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO}
    exported = torch.export.export(marked, (torch.rand(4, 3, 32, 48),), dynamic_shapes=(sizes,)).module()
    for images in (tiles[:7], torch.rand(2, 3, 40, 52), torch.rand(1, 3, 33, 47), torch.rand(3, 3, 8, 9)):
        torch.testing.assert_close(exported(images), marked(images), atol=1.1 / 255, rtol=0)


def held(tensors: Iterable[Tensor]) -> set[bytes]:
    return {tensor.detach().contiguous().numpy().tobytes() for tensor in tensors if tensor.numel() > 12}


@torch.no_grad()
def test_nothing_of_the_extractor_leaves_the_house(networks: StructureMark) -> None:
    with seeded(1):
        for parameter in networks.parameters():
            parameter.copy_(torch.randn_like(parameter))  # so that no two of them are equal
    private = held(networks.extractor.parameters())
    marked = Marked(nn.Identity(), networks, tuple(own(networks).tolist()))
    assert not any("extractor" in name for name, _ in marked.named_modules())
    assert not private & held(marked.state_dict().values())
    buffer, program = BytesIO(), torch.export.export(marked, (torch.rand(2, 3, 32, 32),))
    torch.export.save(program, buffer)
    assert not private & held([*program.state_dict.values(), *program.constants.values()])  # type: ignore[arg-type]
    assert held(networks.embedder.parameters()) <= held(program.state_dict.values())  # type: ignore[arg-type]
    for name, tensor in networks.extractor.named_parameters():
        if tensor.numel() > 12:
            assert tensor.numpy().tobytes() not in buffer.getvalue(), name


# --- Loss -------------------------------------------------------------------------------------------------------------


def test_the_loss_is_zero_for_perfect_networks_and_counts_each_failure(tiles: Tensor) -> None:
    x, done = tiles[:4], torch.tensor(1.0)
    labels = torch.zeros(4, 1, 32, 32, dtype=torch.long)
    labels[:, :, 4:8], labels[:, :, 16:20] = 1, 2
    labels[3, :, 16:20] = 0
    labels[3, :, 16, : ENOUGH - 1] = 2  # too little of the second class
    mask = (labels > 0).float()
    pattern = paint(labels, Hues().inks(torch.tensor([[1, 2]])).expand(4, -1, -1))
    perfect = {
        "images": x, "poisoned": x, "outside": torch.zeros_like(mask), "mask": mask, "labels": labels,
        "pattern": pattern, "drawing": pattern, "clean drawing": torch.ones_like(x),
    }  # fmt: skip

    def loss(weights: Weights = WEIGHTS, **changes: Tensor) -> float:
        return mark_loss(perfect | changes, weights, done, classes=2)[0].item()

    assert loss() == 0
    assert loss(Weights(invisible=15.0), poisoned=x + 0.1) == pytest.approx(15 * 0.01, rel=1e-4)
    assert loss(drawing=pattern + 0.1 * (1 - mask)) == pytest.approx(0.01, rel=1e-4)
    assert loss(drawing=pattern + 0.1 * mask) == pytest.approx((4 + 4) * 0.01, rel=1e-4)
    clean = {"clean drawing": torch.full_like(x, 0.9)}
    assert loss(**clean) == pytest.approx((8 + 2 * 4) * 0.01, rel=1e-4)
    opposite = torch.where(labels == 1, 0.1, torch.where(labels == 2, -0.1, 0.0))
    assert loss(drawing=pattern + opposite) == pytest.approx((4 + 4) * 0.01, rel=1e-4), "no class makes up for another"
    few = opposite * torch.tensor([0.0, 0, 0, 1])[:, None, None, None] * (labels == 2)
    colour = mark_loss(perfect | {"drawing": pattern + few}, WEIGHTS, done, classes=2)[1]["colour error"]
    assert colour == 0


def test_unmarked_images_are_of_three_kinds(tiles: Tensor) -> None:
    found = unmarked(tiles, tiles + 1, tiles + 2) - tiles
    assert [round(x.mean().item()) for x in found[:8]] == [0, 1, 2, 2, 0, 1, 2, 2]


def test_half_of_what_is_read_is_an_imitation(tiles: Tensor, rain: Tensor) -> None:
    class Seen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.images: list[Tensor] = []

        def forward(self, images: Tensor) -> Tensor:
            self.images.append(images)
            return images

    with seeded(0):
        networks = StructureMark(extractor=Seen())
    symbols, strength = torch.full((8, 1), 3), torch.zeros(8)
    moves = NONE.draw(8, 32, torch.Generator().manual_seed(0))
    with torch.no_grad():
        parts = networks(tiles[:8], rain[:8], rain[:8].flip(-1), symbols, strength, *moves)
        marked = networks.mark(tiles[:8], symbols)
    suspects, innocent = networks.extractor.images  # type: ignore[union-attr, misc]
    torch.testing.assert_close(suspects[:4], marked[:4], atol=1e-5, rtol=0)
    torch.testing.assert_close(suspects[4:], rain[4:8].flip(-1), atol=1e-5, rtol=0)
    torch.testing.assert_close(innocent, unmarked(tiles[:8], rain[:8], rain[:8].flip(-1)), atol=1e-5, rtol=0)
    torch.testing.assert_close(parts["poisoned"], marked)
    assert parts["outside"].sum() == 0


def test_what_should_be_drawn_is_the_structure_of_the_moved_image(networks: StructureMark, tiles: Tensor) -> None:
    layer = Interference(scale=(0.6, 0.7), flip=1.0, rotation=0.0, shift=0.0)
    moves = layer.draw(len(tiles), 32, torch.Generator().manual_seed(0))
    symbols = own(networks).expand(len(tiles), -1)
    parts = networks(tiles, tiles, tiles, symbols, torch.ones(len(tiles)), *moves)
    assert parts["outside"].mean() > 0.3
    assert (parts["mask"] * parts["outside"]).sum() == 0, "the black around the image is no structure"
    assert parts["mask"].sum() > 0
    inks = networks.code.inks(symbols)
    assert torch.equal(parts["pattern"], paint(parts["labels"], inks))
    parts["drawing"].sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in networks.embedder.parameters())


# --- Training ---------------------------------------------------------------------------------------------------------


def test_a_short_training_lowers_the_loss_and_resumes(
    networks: StructureMark, tiles: Tensor, rain: Tensor, tmp_path: Path
) -> None:
    fabric = start("32-true", "cpu")
    begun = {name: value.clone() for name, value in networks.state_dict().items()}
    given = {"layer": LAYER, "seed": 0, "fabric": fabric, "checkpoint": tmp_path / "mark.pt"}
    run = train_mark(networks, rain, tiles, rain, SHORT, **given)  # type: ignore[arg-type]
    assert run.history[-1]["loss"] < 0.5 * run.history[0]["loss"]
    assert {"PSNR (dB)", "edge error", "clean error", "colour error"} <= set(run.history[-1])
    ended = {name: value.clone() for name, value in networks.state_dict().items()}
    networks.load_state_dict(begun)
    again = train_mark(networks, rain, tiles, rain, SHORT, **given)  # type: ignore[arg-type]
    assert again.history == run.history
    assert all(torch.equal(value, ended[name]) for name, value in networks.state_dict().items())
    with pytest.raises(CheckpointError, match="is of another run"):
        train_mark(networks, rain, tiles, rain, SHORT, **(given | {"seed": 1}))  # type: ignore[arg-type]


def test_the_adversarial_stage_changes_the_extractor_alone(tiles: Tensor, rain: Tensor) -> None:
    with seeded(0):
        networks = StructureMark()
    symbols = torch.arange(len(tiles))[:, None] % 8
    with torch.no_grad():
        stolen = 0.5 * networks.mark(tiles, symbols) + 0.5 * rain
    before = {name: value.clone() for name, value in networks.state_dict().items()}
    run = adversarial_stage(networks, rain, tiles, rain, stolen, symbols, SHORT, seed=0, fabric=start("32-true", "cpu"))
    assert run.model is networks
    assert run.history[-1]["loss"] < 0.5 * run.history[0]["loss"]
    for name, value in networks.state_dict().items():
        assert torch.equal(value, before[name]) == name.startswith("embedder"), name
    assert all(parameter.requires_grad for parameter in networks.parameters())


def test_published_networks_train_with_a_discriminator(tiles: Tensor, rain: Tensor) -> None:
    with seeded(0):
        networks = StructureMark(
            InjectionUNet(base=8), GuidanceExtractor(dilations=(2, 1), width=16), code=Levels(),
            discriminator=PatchDiscriminator(),
        )  # fmt: skip
    recipe = Recipe(steps=2, batch=4, learning_rate=2e-4, betas=(0.5, 0.999), weight_decay=0.0)
    weights = Weights(edge=13.0, clean=100.0, adversarial=0.01)
    run = train_mark(networks, rain, tiles, rain, recipe, weights=weights, seed=0, fabric=start("32-true", "cpu"))
    assert {"fooled", "told apart", "PSNR (dB)"} <= set(run.history[-1])


def test_sets_that_do_not_fit_are_refused_by_name(as_users_run_it: None, tiles: Tensor, rain: Tensor) -> None:
    networks, symbols = StructureMark(), torch.zeros(len(tiles), 1).long()

    def use(a: Tensor = rain, b: Tensor = tiles, c: Tensor = rain, s: Tensor = symbols, batch: int = 8) -> None:
        recipe = Recipe(steps=1, batch=batch, learning_rate=1e-3)
        adversarial_stage(networks, a, b, c, rain, s, recipe, seed=0)
        train_mark(networks, a, b, c, recipe, seed=0)

    with pytest.raises(ValueError, match=r"outputs: expected \(60, 3, 32, 32\), as inputs, got \(59"):
        use(b=tiles[1:])
    with pytest.raises(ValueError, match=r"imitated: expected \(60, 3, 32, 32\), as inputs, got \(60, 3, 32, 16\)"):
        use(c=rain[..., :16])
    with pytest.raises(ValueError, match="inputs: expected"):
        use(a=rain[:, :1])
    with pytest.raises(ValueError, match=r"symbols: expected shape \(60, 1\), got \(60, 2\)"):
        use(s=symbols.expand(-1, 2))
    with pytest.raises(ValueError, match="recipe: expected a batch of 4 images or more"):
        use(batch=2)
