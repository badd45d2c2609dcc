"""The administration client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING, Any

from kafkax.client.admin.client import AdminClient as BlockingAdminClient

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["AdminClient"]


class AdminClient:
    """Every operation of :class:`kafkax.AdminClient`, to be awaited.

    Where that one gives a future for each of several things, this one gives a dict of their results; an error stands in it in
    place of a result.

    Args:
        config: as for :class:`kafkax.AdminClient`.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._core = BlockingAdminClient(config)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        if name.startswith("_"):
            raise AttributeError(name)
        method = getattr(self._core, name)

        async def call(*arguments: Any, **options: Any) -> Any:
            result = await asyncio.to_thread(method, *arguments, **options)
            if not isinstance(result, dict) or not any(isinstance(each, Future) for each in result.values()):
                return result
            futures = (asyncio.wrap_future(each) for each in result.values())
            return dict(zip(result, await asyncio.gather(*futures, return_exceptions=True), strict=True))

        return call

    async def close(self, timeout: float = 5.0) -> None:
        """End the client's thread and close its connections."""
        await asyncio.to_thread(self._core.close, timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()
