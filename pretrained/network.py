"""Whether the network reaches a host, found out at once: the hub's clients try for a minute where there is none."""

import os
import threading
import urllib.error
import urllib.request

PATIENCE = 1.5
"""Seconds. Finding a host's address can take far longer without a network, and cannot be stopped, only left behind."""


def is_reachable(url: str, seconds: float = PATIENCE) -> bool:
    """Return whether anything answers at an address within some seconds, by the proxies of the environment."""
    answered = threading.Event()

    def ask() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds).close()
        except urllib.error.HTTPError:  # a refusal is an answer
            pass
        except (OSError, ValueError):
            return
        answered.set()

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(seconds)
    return answered.is_set()


def hub_is_reachable() -> bool:
    """Return whether the hub of models answers."""
    return is_reachable(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))


def use_cache_without_hub() -> None:
    """Let the hub's clients use their caches alone where the hub cannot be reached; for commands, before the import."""
    if not hub_is_reachable():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
