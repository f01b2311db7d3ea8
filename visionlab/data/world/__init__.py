"""The world: scenes of simple things, drawn from a seed and rendered with every label, for labs that need no download.

``scenes`` draws what is there, ``render`` makes pixels and labels of it, ``describe`` says it in words, and ``dataset``
makes tasks of it, which ``export`` writes as files. A scene is a function of its seed and number alone.
"""

from visionlab.data.world.dataset import SPLITS, WorldSet, dataset
from visionlab.data.world.export import export
from visionlab.data.world.factors import MAX_OBJECTS, Factors
from visionlab.data.world.language import Description, describe
from visionlab.data.world.layout import scenes
from visionlab.data.world.render import Render, render
from visionlab.data.world.scene import Scenes
from visionlab.data.world.store import cache_root
from visionlab.data.world.styles import STYLES
from visionlab.data.world.tasks import TASKS

__all__ = [
    "MAX_OBJECTS",
    "SPLITS",
    "STYLES",
    "TASKS",
    "VERSION",
    "Description",
    "Factors",
    "Render",
    "Scenes",
    "WorldSet",
    "cache_root",
    "dataset",
    "describe",
    "export",
    "render",
    "scenes",
]

VERSION = 4
"""Raised by any change of pixels or labels: it goes into cache keys, weights cards and recorded results."""
