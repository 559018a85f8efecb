"""The weights of a `Network` as plain arrays: what competitors of the speed benchmark take over from the pipeline."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config.params import Bridge, Cell, DecoderKind, Model
from pipeline.errors import UserError

ARRAYS = "arrays.npz"

# The trainable weights of each part as Keras orders them: the table of symbols (the decoder's is encoder B's too), the
# kernel, recurrent kernel and bias of every direction, and the decoder's attention and output.
Arrays = Mapping[str, Sequence[NDArray[np.float32]]]


def arrays_of(network: Any) -> Arrays:
    """Of a `pipeline.model.network.Network` that has the architecture which `check_architecture` asks for."""
    parts = {name: getattr(network, name).trainable_variables for name in ("encoder_a", "decoder")}
    parts["encoder_b"] = network.encoder_b.trainable_variables[1:]  # the table is the decoder's
    return {name: [variable.numpy() for variable in variables] for name, variables in parts.items()}


def save_arrays(arrays: Arrays, path: Path) -> None:
    """Write what `load_arrays` reads."""
    flat: dict[str, Any] = {f"{part}:{at:02}": array for part, some in arrays.items() for at, array in enumerate(some)}
    np.savez(path, **flat)


def load_arrays(path: Path) -> Arrays:
    """The inverse of `save_arrays`."""
    parts: dict[str, list[NDArray[np.float32]]] = {}
    with np.load(path) as file:
        for name in sorted(file):
            parts.setdefault(name.split(":")[0], []).append(file[name])
    return parts


def check_architecture(model: Model) -> None:
    """Raise `UserError` for an architecture that the competitors are not written for."""
    built = {
        "cell": Cell.LSTM,
        "decoder": DecoderKind.AUTOREGRESSIVE,
        "bridge": Bridge.ATTENTION,
        "tie_weights": True,
        "bidirectional": True,
        "layers": 1,
    }
    for name, value in built.items():
        if (given := getattr(model, name)) != value:
            raise UserError(
                f"model.{name} is {given}, but what the pipeline is measured against is written for {value}: "
                "measure with the architecture that params.yaml ships"
            )
