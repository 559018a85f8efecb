"""Tensorflow and Keras, imported without tensorflow's start-up messages.

Its C++ side greets on standard error whatever TF_CPP_MIN_LOG_LEVEL says (tensorflow issue 100442), twice. What fails
raises in Python as well.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


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


with _no_standard_error():
    import keras
    import tensorflow as tf

# Python's side: warnings that a compiled function was traced again, which loading several models does on purpose.
tf.get_logger().setLevel("ERROR")

__all__ = ["keras", "tf"]
