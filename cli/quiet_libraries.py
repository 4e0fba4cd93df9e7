"""Keep warnings, logs and progress bars of libraries off the console. Call before the libraries are imported."""

import logging
import os
import sys
import warnings

LIBRARIES = ("accelerate", "huggingface_hub", "tensorboard", "timm", "torchmetrics", "transformers", "webdataset")
ENVIRONMENT = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_VERBOSITY": "error",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}


def quiet_libraries() -> None:
    """Silence libraries, keep what users have set in the environment, and let any file name be printed."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module=rf"{library}(\.|$)")
    # Pillow also opens files that are no input, such as one in the way of an output.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
