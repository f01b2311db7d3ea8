from __future__ import annotations

import torch

from visionlab.data.clouds import Cloud
from visionlab.points.clean import Cleaned, Doubt
from visionlab.show.points_report import doubt_figure, points_report

SUMMARY = {
    "folder": "my <scans>",
    "verdict": "3 of 40 labels changed. Look before you trust.",
    "points": 12345,
    "classes": ["chair", "sofa & co"],
    "changes": [("chair", "sofa & co", 3)],
}


def one() -> Cleaned:
    g = torch.Generator().manual_seed(0)
    instances = torch.arange(40) % 4
    labels = torch.where(instances == 3, -1, instances % 2)
    xyz, rgb = torch.rand(40, 3, generator=g), torch.rand(40, 3, generator=g)
    cloud = Cloud(xyz, rgb, labels, instances, ("chair", "sofa & co"), "room <1>")
    return Cleaned(cloud, labels.clamp(min=0), torch.rand(40), torch.full((40, 2), 0.5))


def doubt(instance: int, given: int) -> Doubt:
    return Doubt(
        cloud=0, instance=instance, given=given, proposed=1, points=10, changed=0.25, score=0.875,
        given_probability=0.125, proposed_probability=0.875,
    )  # fmt: skip


def test_a_figure_says_what_it_shows() -> None:
    drawn = doubt_figure(one(), doubt(0, 0))
    assert drawn.alt == ("room <1>, instance 0: 10 points given as chair, proposed sofa & co with probability 0.88.")
    assert drawn.png().startswith(b"\x89PNG")
    assert "given as no label" in doubt_figure(one(), doubt(3, -1)).alt


def test_an_object_of_one_point_and_a_cloud_of_nothing_else_can_be_drawn() -> None:
    point = Cloud(torch.zeros(1, 3), torch.zeros(1, 3), torch.tensor([0]), torch.tensor([0]), ("a", "b"))
    assert doubt_figure(Cleaned(point, torch.tensor([1]), torch.ones(1), torch.tensor([[0.1, 0.9]])), doubt(0, 0)).png()


def test_the_page_holds_pictures_and_words_and_asks_for_nothing() -> None:
    page = points_report(SUMMARY, [one()], [doubt(0, 0), doubt(3, -1)])
    assert page.count("data:image/png;base64,") == 2
    assert "my &lt;scans&gt;" in page
    assert "room &lt;1&gt;, instance 0" in page
    assert "1. given chair, proposed sofa &amp; co" in page
    assert "doubt 88%; probability of the given class 0.12, of the proposed 0.88" in page
    assert "probability of the given class none" in page
    assert "2. given no label, proposed" in page
    assert "3 of 40 labels changed" in page
    assert "12,345" in page
    assert "http" not in page
    assert "Nothing." in points_report(SUMMARY | {"changes": []}, [one()], [])
