"""Tokenizer folders on the Hugging Face hub."""

import tempfile
from collections.abc import Callable
from pathlib import Path

CARD = """# Visual tokenizer

Images to discrete tokens and back, by vistok: `vistok.load("hf://OWNER/REPO")`.
"""


def upload(save: Callable[[Path], None], repo: str, private: bool) -> str:
    """Upload the folder that `save` writes, and return the URL of the commit; raise ValueError when that fails."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    api = HfApi()
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder))
        try:
            api.create_repo(repo, private=private, exist_ok=True)
            return str(api.upload_folder(repo_id=repo, folder_path=folder))
        except (HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OSError) as error:
            said = " ".join(str(error).split())[:200].rstrip(".")
            raise ValueError(
                f"{repo} could not be uploaded ({said}): give OWNER/REPO, and log in with: hf auth login."
            ) from None
