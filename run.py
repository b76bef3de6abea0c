#!/usr/bin/env python3
"""Two commands for a fresh machine: ``python run.py demo`` and ``python run.py test``.

Needs nothing but Python 3.10 or later: it makes a virtual environment in the folder ``.venv`` beside this file,
installs what requirements.txt names into it, and runs there. The same line on Linux, macOS and Windows.

    python run.py demo           restores the face in a photo that comes with the packages; writes a before/after sheet
    python run.py test [...]     runs the tests; arguments go to pytest
    python run.py test --oldest  runs the fast tests with the oldest packages that requirements.txt allows
    python run.py restore ...    and models, doctor: the command line, in the same environment
"""

# An old Python must get as far as the sentence about it: no syntax above Python 3.7 here.
from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path

OLDEST, NEWEST = (3, 10), (3, 13)
TORCH = "torch==2.13.0"  # the version that was tested; where it cannot be had, what requirements.txt allows is taken
ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv"
OLDEST_ENVIRONMENT = ROOT / ".venv-oldest"
# 0.7.3 is what ReActor's users have, and comes as source that needs a compiler and a numpy of its time
OLDEST_INSTEAD = {"insightface": "insightface==2.0"}
OLDEST_TEST_TOOLS = ["pytest==8.0.0", "hypothesis==6.100.0"]
OLDEST_TESTS = ["-m", "not slow and not comfyui and not gpu", "--continue-on-collection-errors"]
STAMP = "gpen-installed.txt"  # in the environment: what is installed; that it is there says that we made the folder
COMMANDS = ("demo", "test", "restore", "models", "doctor")


class Stop(Exception):
    """The sentence that ends the run."""


def check_python(version: tuple[int, ...]) -> str:
    """A warning for a Python that is newer than those tested, else an empty string.

    Raises:
        Stop: it is too old.
    """
    name = ".".join(str(part) for part in version[:2])
    if version[:2] < OLDEST:
        raise Stop(
            f"This is Python {name}; Python 3.10 to 3.13 is needed. Get one from https://www.python.org/downloads/ and "
            "start this script with it, for instance: python3.12 run.py demo"
        )
    if version[:2] > NEWEST:
        return f"Python {name} is newer than those that this was tested with (3.10 to 3.13); going on"
    return ""


def python_in(environment: Path, windows: bool = os.name == "nt") -> Path:
    """The environment's interpreter."""
    return environment / "Scripts" / "python.exe" if windows else environment / "bin" / "python"


def stamp_for(files: list[str]) -> str:
    """What the stamp of an up-to-date environment says: this Python, this torch, these files as they are now."""
    digest = hashlib.sha256()
    for name in files:
        digest.update(name.encode() + b"\0" + (ROOT / name).read_bytes() + b"\0")
    return f"{platform.python_version()} {TORCH} {' '.join(files)} {digest.hexdigest()}"


def works(environment: Path) -> bool:
    """Whether the environment's interpreter starts: not after the folder or its Python was moved."""
    try:
        done = subprocess.run([str(python_in(environment)), "-c", "import pip"], stderr=subprocess.DEVNULL)
    except OSError:
        return False
    return done.returncode == 0


def make(environment: Path) -> None:
    """Make the environment, with pip in it and without the system's packages; a broken one of ours is replaced.

    Raises:
        Stop: it cannot be made, or something that is not ours is in its place.
    """
    stamp = environment / STAMP
    if environment.is_dir():
        if works(environment):
            return
        if not stamp.exists():
            raise Stop(f"{environment} is there, but is no working environment of ours: move it away and try again.")
        say(f"the environment {environment} does not work any more: making it anew")
        shutil.rmtree(str(environment))
    say(f"making the environment {environment}")
    try:
        environment.mkdir()
        stamp.touch()
        venv.EnvBuilder(with_pip=True, symlinks=os.name != "nt").create(str(environment))
    except (subprocess.CalledProcessError, OSError, SystemExit) as error:
        shutil.rmtree(str(environment), ignore_errors=True)
        raise Stop(
            f"The virtual environment could not be made ({error}). On Debian and Ubuntu its parts come with "
            "'sudo apt install python3-venv'."
        ) from error


def pip_install(environment: Path, *arguments: str) -> bool:
    """Run the environment's pip; True if it went well."""
    command = [str(python_in(environment)), "-m", "pip", "install", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, cwd=str(ROOT)).returncode == 0


def oldest(requirements: str) -> list[str]:
    """The lower bounds of a requirements file, as versions to install: ``numpy>=1.24`` -> ``numpy==1.24``.

    Markers stay. A package whose lower bound has no wheel is replaced by the oldest one that has.
    """
    pinned = []
    for line in requirements.splitlines():
        line = line.partition(" #")[0].strip()
        if not line or line.startswith("#"):
            continue
        specifier, semicolon, marker = line.partition(";")
        name, _, bound = specifier.partition(">=")
        if not bound:
            raise Stop(f"requirements.txt: {line!r} has no lower bound.")
        pin = OLDEST_INSTEAD.get(name.strip(), f"{name.strip()}=={bound.partition(',')[0].strip()}")
        pinned.append(f"{pin}{semicolon}{marker}")
    return pinned


def install_oldest(environment: Path) -> None:
    """Install the oldest packages that requirements.txt allows, and what runs the tests, unless they are there.

    Raises:
        Stop: pip failed: the bounds contradict one another, or cannot be had for this Python.
    """
    stamp = environment / STAMP
    pins = [*oldest((ROOT / "requirements.txt").read_text(encoding="utf-8")), *OLDEST_TEST_TOOLS]
    wanted = "\n".join([platform.python_version(), *pins])
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    say(f"installing the oldest packages allowed, some GB: {', '.join(pins)}")
    if not pip_install(environment, *pins):
        raise Stop("pip could not install the lower bounds of requirements.txt together; its output is above.")
    stamp.write_text(wanted, encoding="utf-8")


def install(environment: Path, files: list[str]) -> None:
    """Install torch, then the requirements files, unless the stamp says that they are installed as they are now.

    Raises:
        Stop: pip failed.
    """
    stamp = environment / STAMP
    installed = stamp.read_text(encoding="utf-8").splitlines() if stamp.exists() else []
    if stamp_for(files) in installed:
        return
    say(f"installing what {' and '.join(files)} ask for; the first time this takes some minutes")
    if sys.platform == "linux" and not installed and not shutil.which("nvidia-smi"):
        say(
            "no NVIDIA driver here: with PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu set, pip takes the "
            "small build of torch in place of the one with CUDA (some GB)"
        )
    # first and alone, so that a pip that knows of a wheel of this very version takes that one
    if not pip_install(environment, TORCH):
        say(f"{TORCH} is not to be had here: taking what requirements.txt allows")
    if not pip_install(environment, *(part for name in files for part in ("-r", name))):
        raise Stop(
            "pip could not install the requirements; its output is above. Behind a proxy set HTTPS_PROXY, with a "
            "mirror of the package index set PIP_INDEX_URL, and run the same line again: it goes on where it stopped."
        )
    stamp.write_text("\n".join(stamp_for(files[: n + 1]) for n in range(len(files))) + "\n", encoding="utf-8")


def say(sentence: str) -> None:
    """A line of our own between those of pip and of the program."""
    print(f"run.py: {sentence}", flush=True)


def main(arguments: list[str]) -> int:
    """Prepare the environment and run the command in it; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python run.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=COMMANDS, help="what to do")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="ARGUMENT", help="goes on to the command")
    args = parser.parse_args(arguments)
    testing = args.command == "test"
    environment, rest = ENVIRONMENT, args.rest
    old = testing and "--oldest" in rest
    if old:
        environment, rest = OLDEST_ENVIRONMENT, [argument for argument in rest if argument != "--oldest"]
    try:
        warning = check_python(sys.version_info[:3])
        if warning:
            say(warning)
        make(environment)
        if old:
            install_oldest(environment)
            rest = [*OLDEST_TESTS, *rest]
        else:
            install(environment, ["requirements.txt", "requirements-dev.txt"] if testing else ["requirements.txt"])
    except Stop as stop:
        print(f"run.py: {stop}", file=sys.stderr)
        return 1
    program = ["-m", "pytest"] if testing else [str(ROOT), args.command]
    # tests belong to the folder; pictures are named from where the user stands
    command = [str(python_in(environment)), *program, *rest]
    return subprocess.run(command, cwd=str(ROOT) if testing else None).returncode


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
