"""Character sequence-to-sequence models from few pairs and many targets."""

import os

# Tensorflow's C++ side reports missing GPUs and its own optimizations as errors; what fails raises in Python as well.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
