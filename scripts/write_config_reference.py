"""Write docs/config.md from the sentences of the config classes.

python scripts/write_config_reference.py
"""

from pathlib import Path

from vistok.train.config import TrainConfig
from vistok.train.config_reference import config_reference

PAGE = Path(__file__).parents[1] / "docs" / "config.md"
HEAD = """# Config

Every key of a run, as `train-tokenizer --keys` prints them. Where a section is chosen by its `name`, each choice has keys of
its own. (`python scripts/write_config_reference.py` writes this page from the config classes.)

"""


def page() -> str:
    """Return the text of docs/config.md."""
    return HEAD + config_reference(TrainConfig)


if __name__ == "__main__":
    PAGE.write_text(page())
