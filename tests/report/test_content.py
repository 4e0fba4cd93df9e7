import platform
from datetime import datetime, timezone

import torch

import vistok
from vistok.report.content import environment

CPU = torch.device("cpu")


def test_the_versions_are_those_that_run():
    facts = environment(CPU)
    assert facts["vistok"] == vistok.__version__
    assert facts["torch"] == torch.__version__
    assert facts["python"] == platform.python_version()


def test_every_fact_is_a_line_of_text():
    facts = environment(CPU)
    assert list(facts) == ["vistok", "torch", "python", "platform", "processor", "cores", "device", "date"]
    assert all(value and "\n" not in value for value in facts.values())
    assert int(facts["cores"]) >= 1


def test_the_date_is_now_in_utc():
    date = datetime.strptime(environment(CPU)["date"], "%Y-%m-%d %H:%M UTC").replace(tzinfo=timezone.utc)
    assert abs((datetime.now(timezone.utc) - date).total_seconds()) < 120


def test_the_processor_is_named_as_linux_names_it(tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(
        "processor\t: 0\nmodel name\t: Fast CPU: 9000\n\nprocessor\t: 1\nmodel name\t: Other\n"
    )
    monkeypatch.setattr("vistok.tokenizer.system.CPU_INFO", tmp_path / "cpuinfo")
    assert environment(CPU)["processor"] == "Fast CPU: 9000"


def test_without_cpuinfo_the_platform_names_the_processor(tmp_path, monkeypatch):
    monkeypatch.setattr("vistok.tokenizer.system.CPU_INFO", tmp_path / "missing")
    monkeypatch.setattr(platform, "processor", lambda: "")
    assert environment(CPU)["processor"] == platform.machine()


def test_the_device_is_the_one_that_was_used(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Card {device.index}")
    assert environment(torch.device("cuda:1"))["device"] == "Card 1"
    assert environment(CPU)["device"] == "cpu"
    assert environment(torch.device("mps"))["device"] == "mps"
