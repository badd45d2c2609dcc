"""The table of APIs repeats what the messages declare, and costs nothing to import."""

from __future__ import annotations

import subprocess
import sys

from kafkax.protocol.api import API_KEYS


def test_the_table_says_what_the_declarations_say() -> None:
    for key, api in API_KEYS.items():
        assert key == api.key
        for cls in (api.request_type(), api.response_type()):
            facts = (cls.api_key, cls.min_version, cls.max_version, cls.flexible_since)
            assert facts == (key, api.min_version, api.max_version, api.flexible_since), cls
        assert api.request_type().__name__ == f"{api.name}Request"
        assert api.response_type().__name__ == f"{api.name}Response"


def test_versions_and_flexibility() -> None:
    metadata, handshake = API_KEYS[3], API_KEYS[17]
    assert [metadata.covers(v) for v in (-1, 0, 13, 14)] == [False, True, True, False]
    assert [metadata.flexible(v) for v in (8, 9, 99)] == [False, True, True]
    assert not handshake.flexible(1)


def test_importing_the_table_imports_no_message() -> None:
    code = "import sys, kafkax.protocol.api, kafkax.protocol.headers; print([m for m in sys.modules if '.messages' in m])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
