"""What a site's file says of keeping is what its writer does."""

from __future__ import annotations

from pathlib import Path

import pytest

from fake_service import fake_service, fake_site
from live_helpers import wait_for


@pytest.mark.parametrize(("reserve", "state"), [(0, "ok"), (1 << 60, "full_disk")])
def test_the_reserve_of_the_disk_is_the_sites(tmp_path: Path, reserve: int, state: str) -> None:
    site = fake_site(tmp_path)
    store = site.store.model_copy(update={"reserve": reserve})
    service = fake_service(tmp_path, site=site.model_copy(update={"store": store}))
    service.start()
    try:
        writer = service.writer
        wait_for(lambda: writer.status().last_write or writer.status().state != "ok", 20, "the first write")
        assert writer.status().state == state
    finally:
        service.stop()
