"""Tell within seconds whether the network reaches a host; clients of the hub retry for a minute without a network."""

import os
import threading
import urllib.error
import urllib.request


def is_reachable(url: str, seconds: float = 1.5) -> bool:
    """Return whether an address answers anything within some seconds, through the proxies of the environment."""
    answered = threading.Event()

    def ask() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds).close()
        except urllib.error.HTTPError:  # an error status is an answer
            pass
        except (OSError, ValueError):
            return
        answered.set()

    # A lookup of a host's address takes longer and cannot be stopped.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answered.is_set()


def hub_endpoint() -> str:
    """Return the URL of the Hugging Face hub."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def use_cache_without_hub() -> None:
    """Make clients of the hub use their caches alone when the hub cannot be reached; call before they are imported."""
    if not is_reachable(hub_endpoint()):
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
