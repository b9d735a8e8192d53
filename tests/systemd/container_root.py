"""Makes the root directory of the container in which the units are tried: Debian with systemd, and this checkout.

`python -m tests.systemd.container_root` does it, as root and with a network; the container itself has none. Debian is
fetched once and the dependencies when they change, the wheel of jobd is new each time. `$JOBD_SYSTEMD_SUITE` names the
release of Debian, `$JOBD_SYSTEMD_ROOT` the directory, by default `var/systemd-test/` and the release. Booting it is for
`machine.py`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.wheel import ROOT as CHECKOUT
from tests.wheel import build_wheel

DEFAULT_SUITE = "bookworm"
"""Its systemd is 252, without `Type=notify-reload`; that of trixie is 257."""
PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv,procps"
PROGRAMS = {
    "debootstrap": "debootstrap",
    "systemd-nspawn": "systemd-container",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "git": "git",
}
"""What has to be there, and the Debian package that brings it."""
APPLICATION = "srv/app"
"""Where the units look for the application, below the root."""
USER = "app"
FOR_OLDER_PYTHON = "async-timeout>=4.0.3"
"""redis-py wants it below Python 3.11.3, but pip decides by the Python in which it runs itself."""


def suite() -> str:
    """The release of Debian."""
    return os.environ.get("JOBD_SYSTEMD_SUITE") or DEFAULT_SUITE


def root_directory() -> Path:
    """The container's root directory."""
    return Path(os.environ.get("JOBD_SYSTEMD_ROOT") or CHECKOUT / "var" / "systemd-test" / suite()).absolute()


def missing() -> Iterator[str]:
    """What this machine lacks, each with the remedy."""
    if sys.platform != "linux":
        yield f"systemd needs Linux, this is {sys.platform}"
    elif os.geteuid() != 0:
        yield "a container needs root: sudo make systemd-test"
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            yield f"there is no {program}: apt-get install {package}"


def main() -> int:
    """Make the root directory, or complete it; returns the exit code."""
    if lacking := list(missing()):
        print("make systemd-test cannot run here:", *lacking, sep="\n  ", file=sys.stderr)
        return 1
    root = root_directory()
    install_debian(root)
    make_user(root)
    install_jobd(root, fetch_dependencies(root))
    return 0


def install_debian(root: Path) -> None:
    """Debian in `root`, unless it is there already."""
    complete = root / "etc" / "jobd-test-root"
    if complete.exists():
        return
    if root.exists() and any(root.iterdir()):
        if not (root / "debootstrap").exists():
            raise SystemExit(f"{root} is not empty and no container of these tests: name another in JOBD_SYSTEMD_ROOT")
        shutil.rmtree(root)  # an installation that was interrupted
    print(f"installing Debian {suite()} with systemd into {root}: a minute or two", flush=True)
    root.mkdir(parents=True, exist_ok=True)
    _run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite(), str(root))
    complete.touch()


def make_user(root: Path) -> None:
    """The user of the units."""
    if f"\n{USER}:" not in (root / "etc" / "passwd").read_text():
        _chroot(root, "useradd", "--create-home", "--home-dir", f"/{APPLICATION}", "--shell", "/bin/sh", USER)


def fetch_dependencies(root: Path) -> Path:
    """A folder in `root` with the wheels of jobd's dependencies, for the Python that is in there."""
    version = _chroot(root, "python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    wanted = (CHECKOUT / "pyproject.toml").read_bytes() + version.encode()
    wheels = root / "opt" / f"wheels-{hashlib.sha256(wanted).hexdigest()[:12]}"
    complete = wheels / "complete"
    if not complete.exists():
        for old in root.glob("opt/wheels-*"):
            shutil.rmtree(old)
        wheels.mkdir(parents=True)
        _download(f"{build_wheel(wheels)}[embedded]", wheels, version)
        complete.touch()
    return wheels


def _download(requirement: str, target: Path, version: str) -> None:
    only = ("--only-binary=:all:", "--python-version", version, "--implementation", "cp")
    _run(
        sys.executable, "-m", "pip", "download", "--quiet", *only, "--dest", str(target), requirement, FOR_OLDER_PYTHON
    )


def install_jobd(root: Path, wheels: Path) -> None:
    """A virtual environment for the application, with this checkout's jobd in it."""
    for old in wheels.glob("jobd-*.whl"):
        old.unlink()
    wheel = build_wheel(wheels)
    environment = f"/{APPLICATION}/.venv"
    if not (root / APPLICATION / ".venv" / "bin" / "pip").exists():
        _chroot(root, "python3", "-m", "venv", environment)
    pip = (f"{environment}/bin/pip", "--quiet", "--disable-pip-version-check")
    offline = ("--no-index", "--find-links", f"/{wheels.relative_to(root)}")
    inside = f"/{wheel.relative_to(root)}"
    _chroot(root, *pip, "install", *offline, f"{inside}[embedded]")
    # An earlier wheel of the same version counts as installed.
    _chroot(root, *pip, "install", *offline, "--force-reinstall", "--no-deps", inside)


def _chroot(root: Path, *command: str) -> str:
    clean = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root"}
    return _run("chroot", str(root), *command, environment=clean)


def _run(*command: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
