"""A secret's value under the instance's key: AES-256-GCM, bound to the secret's name and kind (NIST SP 800-38D).

    sealed = version (1 octet) | key id (4) | nonce (12) | ciphertext and tag

Two keys, each in a file of the data folder: what is only signed with (webhooks) has its own, so that whoever verifies a
webhook needs no key to the credentials.

A sealed value copied to another name or kind does not open there. Nonces are random: at 2^32 values under one key a
repeat is still unlikelier than 2^-32.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import stat
import tempfile
from contextlib import suppress

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tickover.core.errors import TickoverError, Where

KEY_BYTES = 32
KEY_FILE = "secrets.key"
SIGNING_KEY_FILE = "signing.key"
_VERSION = b"\x01"
_ID_BYTES, _NONCE_BYTES, _TAG_BYTES = 4, 12, 16
_HEAD = len(_VERSION) + _ID_BYTES
_BODY = _HEAD + _NONCE_BYTES


class SecretError(TickoverError):
    """A secret or its key cannot be used."""


def seal(key: bytes, *, name: str, kind: str, value: bytes) -> bytes:
    """Encrypt a value for one name and kind."""
    nonce = os.urandom(_NONCE_BYTES)
    return _VERSION + _key_id(key) + nonce + AESGCM(key).encrypt(nonce, value, _bound(name, kind))


def unseal(key: bytes, *, name: str, kind: str, sealed: bytes) -> bytes:
    """Decrypt what `seal` made. Raises SecretError: `secrets.version`, `.other_key`, `.damaged`."""
    if sealed[:1] != _VERSION or len(sealed) < _BODY + _TAG_BYTES:
        raise SecretError("secrets.version", f"the secret `{name}` is stored in a form that this build does not know")
    if sealed[1:_HEAD] != _key_id(key):
        hint = "start with the key file that was in use when it was set, or set the secret again"
        raise SecretError("secrets.other_key", f"the secret `{name}` was sealed with another key", hint=hint)
    try:
        return AESGCM(key).decrypt(sealed[_HEAD:_BODY], sealed[_BODY:], _bound(name, kind))
    except InvalidTag as error:
        text = f"the stored secret `{name}` is damaged, or belongs to another name or kind"
        raise SecretError("secrets.damaged", text, hint="set the secret again") from error


def _bound(name: str, kind: str) -> bytes:
    parts = (each.encode() for each in ("tickover secret", name, kind))
    return _VERSION + b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"tickover key id" + key).digest()[:_ID_BYTES]


def key_path(folder: str, kind: str) -> str:
    """Return the file of the key under which secrets of a kind are sealed."""
    return os.path.join(folder, SIGNING_KEY_FILE if kind == "signing" else KEY_FILE)


def key_for(folder: str, kind: str) -> bytes:
    """Read the key for a kind, making it on first use. Raises SecretError."""
    path = key_path(folder, kind)
    if not os.path.lexists(path):
        try:
            return create_key_file(path)
        except SecretError as error:  # another process was faster
            if error.code != "secrets.key_exists":
                raise
    return read_key_file(path)


def create_key_file(path: str) -> bytes:
    """Make a key and its file, readable by its owner only. A file that is there already is never replaced."""
    key = os.urandom(KEY_BYTES)
    folder = os.path.dirname(os.path.abspath(path))
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".key-", delete=False) as file:  # mode 0600
        try:
            file.write(base64.b64encode(key) + b"\n")
            file.flush()
            os.fsync(file.fileno())
            os.link(file.name, path)  # whole or not at all, and never over another
        except FileExistsError as error:
            text = "there is a key file already"
            raise SecretError("secrets.key_exists", text, where=Where(file=path)) from error
        finally:
            with suppress(FileNotFoundError):
                os.unlink(file.name)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return key


def read_key_file(path: str) -> bytes:
    """Read the key. Raises SecretError: `secrets.key_missing`, `.key_exposed`, `.key_malformed`."""
    where = Where(file=path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        text = f"the key file cannot be opened ({error.strerror})"
        raise SecretError("secrets.key_missing", text, where=where) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            text = "the key file must be a plain file of this user's that nobody else can open"
            raise SecretError("secrets.key_exposed", text, hint=f"chmod 600 {path}", where=where)
        content = os.read(descriptor, 1024)
    finally:
        os.close(descriptor)
    try:
        key = base64.b64decode(content.strip(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:
        raise SecretError("secrets.key_malformed", f"the file does not hold {KEY_BYTES} bytes as base64", where=where)
    return key
