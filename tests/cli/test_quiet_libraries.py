"""Warnings and logs of libraries stay off the console."""

import logging
import os
import warnings

import pytest

from vistok.cli.quiet_libraries import quiet_libraries


def test_libraries_are_kept_off_the_console(monkeypatch, capsys):
    monkeypatch.setenv("TQDM_DISABLE", "0")
    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS", raising=False)
    quiet_libraries()
    logging.getLogger("accelerate.utils").warning("noise")
    logging.getLogger("huggingface_hub.file_download").warning("noise")
    for module in ("timm.models", "PIL.TiffImagePlugin"):
        warnings.warn_explicit("noise", UserWarning, "x.py", 1, module=module)
    with pytest.raises(UserWarning, match="ours"):
        warnings.warn_explicit("ours", UserWarning, "x.py", 1, module="vistok.train")
    assert os.environ["TQDM_DISABLE"] == "0" and os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] == "1"
    assert capsys.readouterr() == ("", "")
