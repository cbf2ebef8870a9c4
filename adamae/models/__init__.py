"""Complete models and their registry."""

from adamae.models.classifier import Classifier
from adamae.models.naming import reference_name, reference_parameters, use_module_names
from adamae.models.pretrainer import Pretrainer, PretrainOutput
from adamae.models.registry import MODELS, create_model, register_with_timm
from adamae.models.vit import vit_classifier, vit_pretrainer

__all__ = [
    "MODELS",
    "Classifier",
    "PretrainOutput",
    "Pretrainer",
    "create_model",
    "reference_name",
    "reference_parameters",
    "register_with_timm",
    "use_module_names",
    "vit_classifier",
    "vit_pretrainer",
]
