"""Data sources: LMDBs of Datums in Caffe's layout, the transformer, prefetching, and datasets as LMDBs.

Use by a data layer:

    source = open_source(p.source, p.backend)
    transformer = Transformer(layer.transform_param, phase, stream)  # a dragon.rng.Stream that nothing else uses
    reader = BatchReader(source, transformer, p.batch_size)          # reader.shape: (C, h, w) of one image
    reader.seek(skip, 0)                                             # rand_skip, if any
    batches = Prefetcher(reader, p.prefetch)

    batch = batches.get()            # batch.data (N, C, h, w) and batch.label (N,), valid until the next get
    position, draws = batches.state  # for a snapshot: the state after the last batch from get
    batches.seek(position, draws)    # from a snapshot: the next batch is the same, bit for bit
    batches.close()

Errors in settings or data raise DataError. Do not store the `draws` of the stream itself: the thread is ahead of `get`.
`Transformer.apply(images, out)` serves layers that bring their own arrays. data_param's force_encoded_color is
`BatchReader(..., color=Color.COLOR)`.

Use by the command line: `fetch_cifar10`, `fetch_mnist` and `write_synthetic`, each (folder,
progress=callback) -> Dataset; `write_chosen` for a set with validation images or fewer training images;
`dataset_label(source)` to print beside results; `source_digest(source, backend)` to tell data apart; `mean_of_source`
and `write_mean`; `write_lmdb` and `encode_datum`. A progress callback is called as (stage, done, total or None).
"""

from dragon.data.batches import Batch, BatchReader
from dragon.data.chosen import write_chosen
from dragon.data.dataset import Dataset, dataset_label, read_split
from dragon.data.datum import decode_batch, encode_datum
from dragon.data.digest import source_digest
from dragon.data.fetch import fetch_cifar10, fetch_mnist
from dragon.data.image_file import Color, decode_image
from dragon.data.leveldb_io import LevelDbReader, write_leveldb
from dragon.data.lmdb_io import LmdbReader, write_lmdb
from dragon.data.mean import mean_of_images, mean_of_source, read_mean, write_mean
from dragon.data.prefetch import Prefetcher, Producer
from dragon.data.progress import Progress
from dragon.data.shuffled import ShuffledReader
from dragon.data.source import RecordReader, open_source
from dragon.data.synthetic import write_synthetic
from dragon.data.transform import RandomWords, Transformer

__all__ = [
    "Batch",
    "BatchReader",
    "Color",
    "Dataset",
    "LevelDbReader",
    "LmdbReader",
    "Prefetcher",
    "Producer",
    "Progress",
    "RandomWords",
    "RecordReader",
    "ShuffledReader",
    "Transformer",
    "dataset_label",
    "decode_batch",
    "decode_image",
    "encode_datum",
    "fetch_cifar10",
    "fetch_mnist",
    "mean_of_images",
    "mean_of_source",
    "open_source",
    "read_mean",
    "read_split",
    "source_digest",
    "write_chosen",
    "write_leveldb",
    "write_lmdb",
    "write_mean",
    "write_synthetic",
]
