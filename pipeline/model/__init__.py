"""Networks: layers, their joined models, and decoding with trained ones."""
