"""Users and machines at the door: passwords, sessions, API keys."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time

from fastapi import HTTPException
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import Scope

from densewatch.server.identity import Identity
from densewatch.server.limits import Buckets, Lately, Limits, client_key
from densewatch.server.refusal import later
from densewatch.server.throttle import address_of
from densewatch.store.accounts import Accounts
from densewatch.store.audit import FAILED_SIGN_IN, SIGNED_IN
from densewatch.store.errors import StoreError
from densewatch.store.sessions import API_KEY_PREFIX, Session
from densewatch.store.store import Store

COOKIE = "densewatch_session"
_LONGEST_TOKEN = 200
_WELCOME_S = 30 * 24 * 3600.0


class Doorkeeper:
    """Knows who comes by what they carry, and lets people sign in, a few at a time."""

    def __init__(self, store: Store, limits: Limits, session_hours: float) -> None:
        """Begin with who signed in lately.

        Raises:
            StoreError: the store cannot be read.
        """
        self._store = store
        self._session_s = session_hours * 3600
        self._by_address = Buckets(limits.sign_ins_by_address)
        self._by_name = Buckets(limits.sign_ins_by_name)
        self._welcome = _signed_in_lately(store)
        self._places = limits.sign_ins_at_once + limits.sign_ins_waiting
        self._turn = asyncio.Semaphore(limits.sign_ins_at_once)
        self._inside = 0

    @property
    def _accounts(self) -> Accounts:
        return self._store.accounts

    async def identify(self, scope: Scope) -> Identity | None:
        """Return who asks; None where they carry nothing that is valid.

        An API key goes before a cookie: who sends one means it.
        """
        headers = Headers(scope=scope)
        if "authorization" in headers:
            scheme, _, key = headers["authorization"].partition(" ")
            if scheme.lower() != "bearer" or not _is_token(key) or not key.startswith(API_KEY_PREFIX):
                return None
            return await run_in_threadpool(self._of_key, key)
        token = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
        if not _is_token(token):
            return None
        return await run_in_threadpool(self._of_session, token, client_of(scope))

    async def sign_in(self, name: str, password: str, scope: Scope) -> tuple[str, Session]:
        """Return the token and the session of somebody whose password is right.

        Raises:
            HTTPException: 401 where name or password is wrong, 429 after too many attempts, 503 where too
                many others are at the door.
        """
        address = client_key(address_of(scope))
        # Else strangers could keep somebody out by trying passwords at their name.
        known = _known(name, address)
        by_name = known if known in self._welcome else _hashed(name)
        wait_s = self._by_address.take(address) or self._by_name.take(by_name)
        if wait_s > 0:
            raise HTTPException(429, "too many attempts to sign in; wait a little", later(wait_s))
        session = await self._checked(name, password, scope)
        if session is None:
            raise HTTPException(401, "the name or the password is wrong")
        self._by_address.give_back(address)
        self._by_name.give_back(by_name)
        self._welcome.add(known)
        return session

    async def change_password(self, identity: Identity, old: str, new: str) -> None:
        """Change a user's own password, and end their other sessions.

        Raises:
            HTTPException: 403 where the old one is wrong or this is no user, 422 where the new one will not
                do, 429 after too many attempts.
        """
        if identity.session is None:
            raise HTTPException(403, "an API key has no password")
        who = f"{_hashed(identity.name)} {identity.session}"  # what strangers try at the name does not count
        if (wait_s := self._by_name.take(who)) > 0:
            raise HTTPException(429, "too many attempts; wait a little", later(wait_s))
        async with self._turn:
            user = await run_in_threadpool(self._accounts.verify_password, identity.name, old)
        if user is None:
            raise HTTPException(403, "the old password is wrong")
        self._by_name.give_back(who)
        try:
            async with self._turn:
                await run_in_threadpool(
                    self._accounts.set_password, identity.name, new, keep_session=identity.session
                )
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        except KeyError:
            raise HTTPException(401, "this user was deleted just now") from None
        await run_in_threadpool(self._note, identity.name, "changed own password")

    async def sign_out(self, identity: Identity) -> None:
        """End a session; an API key has none."""
        if identity.session is not None:
            await run_in_threadpool(self._accounts.close_session, identity.session)
            await run_in_threadpool(self._note, identity.name, "signed out")

    async def _checked(self, name: str, password: str, scope: Scope) -> tuple[str, Session] | None:
        if self._inside >= self._places:
            raise HTTPException(503, "too many people sign in at once; try again", later(1))
        self._inside += 1
        try:
            async with self._turn:
                return await run_in_threadpool(
                    self._open, name, password, client_of(scope), address_of(scope)
                )
        finally:
            self._inside -= 1

    def _open(self, name: str, password: str, client: str, address: str) -> tuple[str, Session] | None:
        user = self._accounts.verify_password(name, password)
        if user is None:
            self._note(name, FAILED_SIGN_IN, address)
            return None
        try:
            opened = self._accounts.open_session(user.name, client, self._session_s)
        except KeyError:
            return None
        self._note(user.name, SIGNED_IN, address)
        return opened

    def _note(self, who: str, what: str, detail: str = "") -> None:
        # On a full disk people must still come in and out.
        with contextlib.suppress(StoreError):
            self._store.audit(who, what, detail)

    def _of_key(self, key: str) -> Identity | None:
        found = self._accounts.find_api_key(key)
        if found is None:
            return None
        return Identity(found.name, found.role, None, found.expires, None)

    def _of_session(self, token: str, client: str) -> Identity | None:
        found = self._accounts.find_session(token, client)
        if found is None:
            return None
        return Identity(found.name, found.role, found.csrf, found.expires, found.id)


def client_of(scope: Scope) -> str:
    """Return what tells a client from others: its address and its User-Agent."""
    return f"{address_of(scope)}\n{Headers(scope=scope).get('user-agent', '')}"


def _signed_in_lately(store: Store) -> Lately:
    """Return who signed in from where before this server was started."""
    lately, now = Lately(_WELCOME_S), time.time()
    for entry in reversed(store.latest_audit_entries(SIGNED_IN, since=now - _WELCOME_S)):
        lately.add(_known(entry.who, client_key(entry.detail)), ago_s=max(0.0, now - entry.time))
    return lately


def _known(name: str, address: str) -> str:
    """Return what stands for somebody at a client's address."""
    return f"{_hashed(name)} {address}"


def _hashed(name: str) -> str:
    """Return what stands for a name, of a length that is bounded."""
    return hashlib.sha256(name.casefold().encode()).hexdigest()


def _is_token(text: str) -> bool:
    return 0 < len(text) <= _LONGEST_TOKEN and text.isascii() and text.isprintable()
