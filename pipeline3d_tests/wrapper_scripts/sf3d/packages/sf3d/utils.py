"""The two functions that prepare a picture."""

import os


def remove_background(image, session):
    """Remembers nothing else."""
    if os.environ.get("LC_STAND_IN") == "no_object":
        raise AssertionError("Empty mask!")
    return image


def resize_foreground(image, ratio):
    """Remembers the ratio."""
    image.told["foreground_ratio"] = ratio
    return image
