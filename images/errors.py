"""What is wrong with an image file."""


class ImageError(ValueError):
    """A image that cannot be used; the message is a phrase that says why."""
