"""`python -m vistok.train CONFIG [section.key=value ...]`, for `accelerate launch`."""

from .command import main

main()
