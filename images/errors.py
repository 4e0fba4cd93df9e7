"""What is wrong with an image file."""


class PictureError(ValueError):
    """A picture that cannot be used; the message is a phrase that says why."""
