"""Schemathesis asks every route of the OpenAPI document: no 5xx, and answers as the document says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from densewatch.server.access import Role
from densewatch.server.serve import serving
from fake_service import fake_service, fake_site

API = "/api/v1"
ROUTES = 34
CHECKS = [content_type_conformance, response_schema_conformance, status_code_conformance]
MAY_BE_UNWELL = (f"{API}/cameras/{{camera}}/health", "/readyz")
"""They answer 503 where a camera or the store is not well, as the document says."""

KNOWN = {
    "camera": ["hall", "yard"],
    "zone": ["door", "new"],
    "line": ["gate"],
    "event": ["hall-3", "hall-5"],
    "format": ["csv", "parquet"],
    "name": ["operator", "admin"],
}
"""What there is; chance alone would hardly ever find it."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[Role, str]]]:
    """Serve; give the address, and a key for each role."""
    folder = tmp_path_factory.mktemp("service")
    service = fake_service(folder, site=fake_site(folder, port=0), fps=5)
    roles: tuple[Role, ...] = ("viewer", "admin")
    keys = {role: service.store.accounts.add_api_key(f"the test's {role}", role)[0] for role in roles}
    with serving(service) as server:
        yield server.address.rstrip("/"), keys


@pytest.mark.parametrize("role", ["viewer", "admin"])
def test_every_route_answers_as_its_document_says(served: tuple[str, dict[Role, str]], role: Role) -> None:
    address, keys = served
    headers = {"Authorization": f"Bearer {keys[role]}"}
    document = httpx.get(f"{address}{API}/openapi.json", headers=headers).json()
    found: Any = schemathesis.openapi.from_dict(document).get_all_operations()
    operations = [result.ok() for result in found]
    assert len(operations) == ROUTES
    for operation in operations:
        ask(operation, address, headers)


def ask(operation: Any, address: str, headers: dict[str, str]) -> None:
    """Send what the document allows and what not, of things that there are and of others."""
    right = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    wrong = (
        operation.as_strategy(generation_mode=GenerationMode.NEGATIVE) if takes_anything(operation) else right
    )

    @settings(
        max_examples=30,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=right | wrong, chosen=st.integers(0, 5))
    def one(case: Case[Any], chosen: int) -> None:
        for parameters in (case.path_parameters, case.query):
            for name in set(parameters or ()) & set(KNOWN):
                if chosen:
                    parameters[name] = KNOWN[name][chosen % len(KNOWN[name])]
        response = case.call(base_url=address, headers=headers)
        checks = CHECKS if operation.path in MAY_BE_UNWELL else [not_a_server_error, *CHECKS]
        case.validate_response(response, checks=checks)

    one()


def takes_anything(operation: Any) -> bool:
    """Return whether there is anything to do wrong."""
    return bool(operation.body) or any(operation.iter_parameters())
