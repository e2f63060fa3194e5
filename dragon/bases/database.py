"""Base of data layers that read records from a database, named by data_param."""

from __future__ import annotations

from dragon.bases.source import Prefetched
from dragon.data import Producer, RecordReader, ShuffledReader, open_source
from dragon.proto import dragon_pb2 as pb

__all__ = ["FromDatabase"]


class FromDatabase(Prefetched):
    """Base of such layers: opens the database, in a new order each epoch with `shuffle` or `random_order`."""

    def check_database(self) -> None:
        """Raise PrototxtError for a data_param without source or batch_size."""
        p = self.param.data_param
        if not p.source:
            self.bad_param("data_param needs a source")
        if p.batch_size < 1:
            self.bad_param("data_param needs a batch_size of at least 1")

    def open_database(self) -> RecordReader:
        """The records of `source`. Raises DataError."""
        p = self.param.data_param
        database = open_source(self.find(p.source, pb.DataParameter.DB.Name(p.backend)), p.backend)
        return ShuffledReader(database, self.order_for_reader()) if p.shuffle or p.random_order else database

    def skip_some(self, reader: Producer, count: int) -> None:
        """Let the reader begin at a random one of `count` records with rand_skip."""
        if skip := self.param.data_param.rand_skip:
            reader.seek(self.first_record(skip, count), 0)
