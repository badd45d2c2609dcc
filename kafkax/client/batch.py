"""Whole batches for the caller: as records, or as columns of Arrow, pandas and polars."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kafkax._core.fetched import Columns, FetchedBatch
from kafkax._core.message import Message

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

__all__ = ["Batch"]


class Batch(FetchedBatch):
    """Records of one partition as they were fetched, decoded when they are touched.

    Iterate over it for records, or take all that is left as columns; either way it is used up once.

    Attributes:
        topic, partition: where the records come from.
        base_offset: offset of the batch's first record.
        next_offset: offset after the batch's last record.
    """

    def __iter__(self) -> Iterator[Message]:
        """The records that are left."""
        while (message := self.next()) is not None:
            yield message

    def to_arrow(self) -> pyarrow.RecordBatch:
        """The records that are left as columns; no Python object is made for any of them.

        Needs pyarrow (``pip install kafkax[frames]``).

        Returns:
            Columns ``topic`` (dictionary of string), ``partition`` (int32), ``offset`` (int64), ``timestamp`` (milliseconds,
            UTC), ``key`` and ``value`` (binary, nullable), ``headers`` (list of structs of ``name`` and ``value``, binary).

        Raises:
            KafkaError: INVALID_RECORD when the batch is damaged.
            ImportError: pyarrow is not installed.
        """
        import pyarrow as arrow

        columns = self.columns()
        count = columns.rows
        zeros = arrow.py_buffer(bytes(4 * count))
        numbers = zeros if not self.partition else arrow.py_buffer(self.partition.to_bytes(4, "little") * count)
        index = arrow.Array.from_buffers(arrow.int32(), count, [None, zeros])
        return arrow.RecordBatch.from_arrays(
            [
                arrow.DictionaryArray.from_arrays(index, arrow.array([self.topic])),
                arrow.Array.from_buffers(arrow.int32(), count, [None, numbers]),
                arrow.Array.from_buffers(arrow.int64(), count, [None, arrow.py_buffer(columns.offsets)]),
                arrow.Array.from_buffers(arrow.timestamp("ms", "UTC"), count, [None, arrow.py_buffer(columns.timestamps)]),
                _blobs(count, columns.null_keys, columns.keys_valid, columns.keys_ends, columns.keys),
                _blobs(count, columns.null_values, columns.values_valid, columns.values_ends, columns.values),
                _headers(columns),
            ],
            names=["topic", "partition", "offset", "timestamp", "key", "value", "headers"],
        )

    def to_pandas(self) -> pandas.DataFrame:
        """:meth:`to_arrow` as a data frame of pandas, whose cells are Python objects; needs pyarrow and pandas."""
        frame: pandas.DataFrame = self.to_arrow().to_pandas()
        return frame

    def to_polars(self) -> polars.DataFrame:
        """:meth:`to_arrow` as a data frame of polars, without a copy of the values; needs pyarrow and polars."""
        import polars

        frame = polars.from_arrow(self.to_arrow())
        assert isinstance(frame, polars.DataFrame)
        return frame


def _blobs(count: int, nulls: int, valid: bytes, ends: bytes, data: bytes) -> Any:
    import pyarrow as arrow

    buffers = [arrow.py_buffer(valid) if nulls else None, arrow.py_buffer(ends), arrow.py_buffer(data)]
    return arrow.Array.from_buffers(arrow.binary(), count, buffers, nulls)


def _headers(columns: Columns) -> Any:
    import pyarrow as arrow

    count, nulls = columns.header_count, columns.null_header_values
    pairs = arrow.StructArray.from_arrays(
        [
            _blobs(count, 0, columns.names_valid, columns.names_ends, columns.names),
            _blobs(count, nulls, columns.header_values_valid, columns.header_values_ends, columns.header_values),
        ],
        names=["name", "value"],
    )
    ends = arrow.py_buffer(columns.headers_ends)
    return arrow.Array.from_buffers(arrow.list_(pairs.type), columns.rows, [None, ends], children=[pairs])
