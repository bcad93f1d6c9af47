"""The two functions that prepare a picture."""

import os


def remove_background(image, session):
    """Every pixel is the object."""
    return image.convert("RGBA")


def resize_foreground(image, ratio):
    """As it is; an empty one fails as numpy does."""
    if os.environ.get("LC_STAND_IN") == "no_object":
        raise ValueError("zero-size array to reduction operation minimum which has no identity")
    return image
