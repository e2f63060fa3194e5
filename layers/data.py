"""The layer type Data."""

from __future__ import annotations

from collections.abc import Sequence

from dragon.bases.layer import register
from dragon.bases.source import Prefetched
from dragon.data import BatchReader, Color, Prefetcher, RecordReader, ShuffledReader, open_source
from dragon.memory.blob import Blob
from dragon.proto import dragon_pb2 as pb

__all__ = ["Data"]


@register()
class Data(Prefetched):
    """Images and labels from a database (`source`), transformed, and read ahead by a thread.

    Tops: data (batch_size, C, H, W) and optionally label (batch_size). Without a crop_size the first record of each
    batch decides the height and width of the batch.
    """

    type = "Data"
    settings = ("data_param", "transform_param")

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        p = self.param.data_param
        if not p.source:
            self.bad_param("data_param needs a source")
        if p.batch_size < 1:
            self.bad_param("data_param needs a batch_size of at least 1")
        with self.naming_errors():
            transformer = self.transformer()
            database = open_source(self.find(p.source, pb.DataParameter.DB.Name(p.backend)), p.backend)
            source: RecordReader = ShuffledReader(database, self.order_for_reader()) if p.shuffle else database
            try:
                color = Color.COLOR if p.force_encoded_color else None
                reader = BatchReader(source, transformer, p.batch_size, color)
                if p.rand_skip:
                    reader.seek(int(self.rng.raw(1)[0] % p.rand_skip) % len(source), 0)
            except BaseException:
                source.close()
                raise
            self.batches, self.maker = Prefetcher(reader, p.prefetch), reader.maker
        top[0].reshape(p.batch_size, *reader.shape)
        if len(top) > 1:
            top[1].reshape(p.batch_size)
