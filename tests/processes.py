"""Python programs in new processes, with vistok importable."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import vistok

PARENT = Path(vistok.__file__).parents[1]


def environment(**more):
    return {**os.environ, "PYTHONPATH": str(PARENT), **more}


def run_python(*arguments, **options):
    """Run to the end; `run_python("-c", code)`."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment(COLUMNS="80"), **options}
    return subprocess.run([sys.executable, *arguments], text=True, timeout=60, check=False, **options)


def start_python(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(PYTHONUNBUFFERED="1"),
    )


def outcome_of(process):
    """Wait for the end and return exit code, standard output and standard error."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def run_on_terminal(code, columns):
    """Return the lines that a program shows on a terminal, each as it was before it was overwritten."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    # Variables that overrule what the terminal says of itself.
    own = {name: value for name, value in environment(TERM="xterm").items() if name not in ("COLUMNS", "FORCE_COLOR")}
    process = subprocess.Popen([sys.executable, "-c", code], stdin=child, stdout=child, stderr=child, env=own)
    os.close(child)
    written = b""
    try:
        while block := os.read(parent, 4096):
            written += block
    except OSError:  # the other side is closed
        pass
    os.close(parent)
    assert process.wait(60) == 0
    shown = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", written.decode())
    return [line for line in re.split(r"[\r\n]+", shown) if line]
