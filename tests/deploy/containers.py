"""The image and its containers without an engine: the very commands of the Dockerfile, run on folders of this machine.

What an engine would forbid is forbidden by other means: another user than root's, no file that could grow, a working
directory that cannot be written, and no variable but the image's and the container's.
"""

import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

from deploy.dockerfile import commands, read_dockerfile
from deploy.manifests import SECRETS, Workload
from deploy.programs import ROOT
from processes import PATIENCE, wait_for

_NOTHING_WRITABLE = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
os.execvp(sys.argv[1], sys.argv[1:])
"""
"""Every write to a file fails then, wherever the file is: as on a read-only root."""


_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"


def _python_for_everybody(folder: Path) -> Path:
    """Where a Python is that every user may run: the one of the tests, or a copy of it if it is somebody's own."""
    base = Path(sys.base_prefix)
    if os.geteuid() != 0 or all(place.stat().st_mode & 0o005 == 0o005 for place in (base, *base.parents)):
        return base
    copy = folder / "base"
    left_out = shutil.ignore_patterns("site-packages", "test", "config-*", "*.a")
    shutil.copytree(base, copy, ignore=left_out, symlinks=True)
    return copy


def _libraries(base: Path) -> dict[str, str]:
    """What lets a copied Python find its own shared library."""
    return {} if base == Path(sys.base_prefix) else {"LD_LIBRARY_PATH": str(base / "lib")}


def _copy_pip(packages: Path) -> None:
    """Make a Python that is like the base image's, which has no packages but pip. To copy it is sooner done than to
    install it."""
    pip = importlib.metadata.distribution("pip")
    for file in pip.files or ():
        if file.parts[0] != "..":  # which are the scripts
            target = packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(pip.locate_file(file), target)


class BuiltImage:
    """What the first stage of the Dockerfile builds.

    Args:
        folder: where to; every user must be able to come there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.build, self.image = read_dockerfile()
        self.root = folder / "opt"
        self._base = _python_for_everybody(folder)
        self._build()

    def _build(self) -> None:
        context = self.folder / "context"
        for sources, destination in self.build.copied:
            for source in sources:
                target = context / destination / Path(source).name if destination.endswith("/") else context / source
                target.parent.mkdir(parents=True, exist_ok=True)
                if (ROOT / source).is_dir():
                    shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(ROOT / source, target)
        python = self.folder / "python"
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("FADER_", "PYTHON"))}
        environment |= _libraries(self._base)
        subprocess.run(
            [self._base / "bin" / _PYTHON, "-m", "venv", "--without-pip", python],
            env=environment, umask=0o022, capture_output=True, timeout=PATIENCE, check=True,
        )  # fmt: skip
        _copy_pip(python / "lib" / _PYTHON / "site-packages")
        given = {name: value for name, value in self.build.environment.items() if name != "PIP_CACHE_DIR"}
        environment |= given | {"PATH": f"{python / 'bin'}{os.pathsep}{os.environ['PATH']}"}
        for run in self.build.values("RUN"):
            ran = subprocess.run(
                ["sh", "-c", commands(run).replace(self._place, str(self.root))],
                cwd=context, env=environment, umask=0o022, capture_output=True, text=True, timeout=110, check=False,
            )  # fmt: skip
            assert ran.returncode == 0, ran.stdout + ran.stderr

    @property
    def _place(self) -> str:
        """Where the image has what is installed: the folder whose programs it puts on the path first."""
        place, found, _ = self.image.environment["PATH"].partition("/bin:")
        assert found
        assert len(place) > 1
        return place

    @property
    def environment(self) -> dict[str, str]:
        """What the image sets."""
        path = self.image.environment["PATH"].replace(self._place, str(self.root)).replace("$PATH", os.defpath)
        return self.image.environment | {"PATH": path} | _libraries(self._base)

    @property
    def user(self) -> tuple[int, int] | None:
        """The image's user and group, where they can be taken on: by root."""
        if os.geteuid() != 0:
            return None
        user, _, group = self.image.value("USER").partition(":")
        return int(user), int(group)

    def run(self, *command: str, environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
        """Run something as a container would, to its end."""
        user, group = self.user or (None, None)
        return subprocess.run(
            self.command(*command), env=self.environment | environment, cwd=self.root, user=user, group=group,
            extra_groups=None if user is None else [], capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip

    def command(self, *command: str) -> list[str]:
        """A command that can write to no file."""
        return [str(self.root / "bin" / "python"), "-c", _NOTHING_WRITABLE, *command]


class Container:
    """One container of the image, as a workload describes it.

    Args:
        image: what to run.
        workload: how.
        secrets: the texts of its secrets, by the names of their files.
        extra: further variables, for what differs on one machine, such as ports; they win.
    """

    def __init__(
        self, image: BuiltImage, workload: Workload, secrets: Mapping[str, str], extra: Mapping[str, str] | None = None
    ) -> None:
        self._image = image
        self._workload = workload
        self._folder = Path(tempfile.mkdtemp(prefix="fader-container-", dir="/tmp"))
        self._lines: list[str] = []
        self._reader: threading.Thread | None = None
        self._process: subprocess.Popen[str] | None = None
        self.url = ""
        own = {
            name: text.replace(SECRETS, str(self._folder / "secrets")) for name, text in workload.environment.items()
        }
        self.environment = own | dict(extra or {})
        self._mount(secrets)

    def _mount(self, secrets: Mapping[str, str]) -> None:
        for file in self._workload.files:
            path = self._folder / "secrets" / Path(file).relative_to(SECRETS)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(secrets[path.name])
            if self._image.user is not None:
                # Root's, and readable for the group: what Kubernetes does for `fsGroup` and 0440.
                os.chown(path, 0, self._image.user[1])
            path.chmod(0o440)
        for folder in (self._folder, *(path for path in self._folder.rglob("*") if path.is_dir())):
            folder.chmod(0o555)

    @property
    def process(self) -> "subprocess.Popen[str]":
        assert self._process is not None
        return self._process

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def log(self) -> str:
        return "".join(self._lines)

    def start(self) -> None:
        """Start it, and go on."""
        image = self._image.image
        arguments = self._workload.arguments or tuple(json.loads(image.value("CMD")))
        user, group = self._image.user or (None, None)
        self._process = subprocess.Popen(
            self._image.command(*json.loads(image.value("ENTRYPOINT")), *arguments),
            env=self._image.environment | self.environment, cwd=self._folder,
            user=user, group=group, extra_groups=None if user is None else [],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            self._lines.extend(lines)

    def listen(self) -> None:
        """Start it, and wait until it listens."""
        self.start()

        def listening() -> str | None:
            assert self.process.poll() is None, self.log
            for line in list(self._lines):
                if '"listening"' in line:
                    return f"http://127.0.0.1:{json.loads(line)['url'].rpartition(':')[2]}"
            return None

        self.url = wait_for(listening, f"{self._workload.name} to listen")

    def end(self) -> int:
        """Wait until it has ended by itself; its exit code."""
        code = self.process.wait(PATIENCE)
        assert self._reader is not None
        self._reader.join(PATIENCE)
        return code

    def stop(self) -> int:
        """What an engine does first: the image's signal. Its exit code; it must end within its time."""
        self.process.send_signal(signal.Signals[self._image.image.value("STOPSIGNAL")])
        return self.process.wait(self._workload.grace_seconds)

    def kill(self) -> None:
        """What an engine does at last."""
        self.process.kill()
        self.end()

    def is_healthy(self) -> bool:
        """What ``HEALTHCHECK`` says."""
        checked = self._image.run(
            *self._image.image.health_check, environment=self.environment | {"FADER_PORT": str(self.port)}
        )
        return checked.returncode == 0

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        for folder in (self._folder, *(path for path in self._folder.rglob("*") if path.is_dir())):
            folder.chmod(0o755)
        shutil.rmtree(self._folder)
