"""Where a network's first weights come from."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from densewatch.metadata import ModelInfo
from densewatch.models.backbones import Backbone
from densewatch.models.checkpoint import CheckpointError, read_checkpoint
from densewatch.models.mobilenet_weights import load_mobilenet_v2
from densewatch.models.model_file_weights import read_model_file_weights
from densewatch.models.retinanet import RetinaNet
from densewatch.runtime.model_file import ModelNotFoundError, embedded_models, find_model, read_info
from densewatch.training.settings import TrainingError

DEFAULT = "default"
"""Name of the embedded model to start from, whichever that is."""


def initialise(network: RetinaNet, init: Path | None) -> tuple[str, ...]:
    """Put the weights of `init` into `network`, in place, and return which of its tensors keep their start.

    A checkpoint (`.safetensors`) or a model file (`.onnx`, or the name of an embedded or pulled one) gives
    every tensor whose name and shape fit, so that a network with other classes starts from all but its class
    output. An `.npz` file gives a MobileNetV2 its ImageNet weights.

    Raises:
        CheckpointError: the file cannot be read, or nothing in it fits.
        TrainingError: there is no `init`, but a batch norm that stays as it is.
    """
    if init is None:
        if network.config.backbone.norm == "frozen":
            raise TrainingError(
                "the backbone's batch norm is frozen, which goes with trained weights only: give some "
                "(--init), or train it too (--set model.backbone.norm=batch)"
            )
        return tuple(network.state_dict())
    if init.suffix == ".npz":
        if not isinstance(network.backbone, Backbone) or network.config.backbone.name != "mobilenet_v2":
            raise CheckpointError(f"{init}: is for a mobilenet_v2, not for a {network.config.backbone.name}")
        load_mobilenet_v2(network.backbone, init)
        return tuple(name for name in network.state_dict() if not name.startswith("backbone."))
    try:
        tensors, _ = read_trained(init)
    except ModelNotFoundError as error:
        raise CheckpointError(f"init: {error}") from error
    own = network.state_dict()
    fitting = {
        name: value for name, value in tensors.items() if name in own and own[name].shape == value.shape
    }
    if not fitting:
        raise CheckpointError(f"{init}: none of its {len(tensors)} tensors fits this network")
    network.load_state_dict(fitting, strict=False)
    return tuple(name for name in own if name not in fitting)


def read_trained(source: Path) -> tuple[dict[str, Tensor], ModelInfo]:
    """Return weights and self-description of a checkpoint, a float model file, or a model by its name.

    Raises:
        CheckpointError: it cannot be read, or does not carry its weights as they were trained.
        ModelNotFoundError: there is no such model.
    """
    if source.suffix == ".safetensors":
        return read_checkpoint(source)
    path = embedded_models()[0] if str(source) == DEFAULT else find_model(str(source))
    return read_model_file_weights(path), read_info(path)
