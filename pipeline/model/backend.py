"""Tensorflow and Keras, imported without tensorflow's start-up messages and without what only Keras' extras need.

Every process of the project imports them here, and sees no GPU unless it was started to train on one: tensorflow would
take all of its memory, in each process, for networks this small.

Tensorflow's C++ side writes to standard error twice, whatever TF_CPP_MIN_LOG_LEVEL says (tensorflow issue 100442).
Failures are raised in Python as well.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pipeline.config.options import DEVICE, Device
from pipeline.errors import UserError

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The matrices are small: several batches or trainings use the cores better than one product does.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

# Keras imports these where it finds them, for its wrappers, plots and images: a third of its start-up.
EXTRAS = ("matplotlib", "pandas", "PIL", "scipy", "sklearn", "torch")


@contextmanager
def _no_standard_error() -> Iterator[None]:
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def _not_found(names: tuple[str, ...]) -> Iterator[None]:
    """Let imports of packages that are not loaded yet fail."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # how Python marks what cannot be imported
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


with _no_standard_error(), _not_found(EXTRAS):
    import keras
    import tensorflow as tf

# Python's side: warnings that a compiled function was traced again, which loading several models does on purpose.
tf.get_logger().setLevel("ERROR")

if os.environ.get(DEVICE) != Device.GPU:
    with suppress(RuntimeError):  # in a process of others that has computed already, which chose for itself
        tf.config.set_visible_devices([], "GPU")
elif not tf.config.list_physical_devices("GPU"):
    raise UserError(
        "training.device is gpu, but tensorflow sees no GPU here: set it to cpu, or see that the driver is installed, "
        "`python -m pip install 'tensorflow[and-cuda]'` was run and CUDA_VISIBLE_DEVICES hides no GPU"
    )

__all__ = ["keras", "tf"]
