"""Supported data sets, by the name used on the command line."""

from __future__ import annotations

from collections.abc import Callable

from adamae.data.preparation.hmdb51 import plan_hmdb51
from adamae.data.preparation.imagenet import plan_imagenet
from adamae.data.preparation.kinetics import plan_kinetics
from adamae.data.preparation.own_folder import plan_folder
from adamae.data.preparation.plan import PreparationPlan
from adamae.data.preparation.problems import Problems
from adamae.data.preparation.source_tree import SourceTree
from adamae.data.preparation.ssv2 import plan_ssv2
from adamae.data.preparation.ucf101 import plan_ucf101

# (files, number of the official split if there are several, collection of problems) -> plan
LAYOUTS: dict[str, Callable[[SourceTree, int, Problems], PreparationPlan]] = {
    "ssv2": plan_ssv2,
    "k400": plan_kinetics,
    "ucf101": plan_ucf101,
    "hmdb51": plan_hmdb51,
    "imagenet": plan_imagenet,
    "folder": plan_folder,
}
