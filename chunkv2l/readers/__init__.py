"""Decoders behind one interface: frames of a movie in order, each with its presentation time."""
