"""Upload a tokenizer folder to the Hugging Face hub."""

from pathlib import Path

from .hub import PATIENT
from .hub_errors import is_of_client, reason
from .network import hub_endpoint, is_reachable

DECODERS = "decoders/*"
"""Files of decoders, which go from the repository where the tokenizer has none of their name."""


def upload_folder(folder: Path, repository: str, private: bool) -> str:
    """Upload a folder to a repository, which is made where needed; return the URL of the commit.

    Raises ValueError when the hub cannot be reached or refuses.
    """
    if not is_reachable(hub_endpoint(), PATIENT):
        raise ValueError(f"{repository} could not be uploaded: the hub cannot be reached. Connect to the network.")
    from huggingface_hub import HfApi

    api = HfApi(endpoint=hub_endpoint())
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=repository, folder_path=folder, delete_patterns=DECODERS))
    except Exception as error:
        if not is_of_client(error):
            raise
        raise ValueError(
            f"{repository} could not be uploaded ({reason(error)}): give OWNER/REPO, and log in with: hf auth login."
        ) from None
