"""Reads tables of images with labels by PyArrow: parquet files, and folders that Hugging Face's `datasets` saved."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dragon.data.samples import Sample, Samples, label_of, sample_files
from dragon.errors import DataError, nearest, one_line
from dragon.extras import install_command

__all__ = ["TABLES", "read_tables"]

TABLES = (".parquet", ".arrow")


def read_tables(source: str, split: str = "", image: str = "", label: str = "") -> Samples:
    """The rows of a parquet or Arrow file, or of those in a folder, as samples; read a part at a time.

    image, label: the columns; by default the only one with images, and "label". Images are encoded files: a column of
    bytes, or of the fields `bytes` and `path` as `datasets` writes it. Classes have names where `datasets` wrote
    them, or where labels are text: then their sorted names. Raises DataError, also on the way.
    """
    try:
        import pyarrow as pa
    except ImportError:
        raise DataError(f'"{source}": parquet and Arrow files need a package: {install_command("parquet")}') from None
    files = sample_files(source, TABLES, split)
    try:
        schema, total = _schema(files[0]), 0
        image = _column(schema, files[0], image, "image", _is_image)
        label = _column(schema, files[0], label, "label", lambda kind: not _is_image(kind))
        names, text = _class_names(schema, label), _is_text(schema.field(label).type)
        found: set[str] = set()
        for file in files:
            for batch in _batches(file, [label]):
                total += batch.num_rows
                if text:
                    found |= set(batch.column(0).to_pylist())
        if None in found:
            raise DataError(f'{source}: column "{label}" has rows without a label')
        if not total:
            raise DataError(f'"{source}" has no rows')
        if text:
            names = sorted(found)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DataError(f'"{files[0]}" cannot be read as a table: {one_line(str(error))}') from None
    places = {name: k for k, name in enumerate(names)} if text else None
    return Samples(_samples(files, image, label, places), names, total)


def _samples(files: list[Path], image: str, label: str, places: dict[str, int] | None) -> Iterator[Sample]:
    import pyarrow as pa

    for file in files:
        row = 0
        try:
            for batch in _batches(file, [image, label]):
                pictures, labels = (batch.column(batch.schema.get_field_index(name)) for name in (image, label))
                for picture, value in zip(pictures.to_pylist(), labels.to_pylist(), strict=True):
                    where, row = f"{file}: row {row}", row + 1
                    path = (picture.get("path") or "") if isinstance(picture, dict) else ""
                    content = picture.get("bytes") if isinstance(picture, dict) else picture
                    if not isinstance(content, bytes):
                        other = f", only the path {path!r}" if path else ""
                        raise DataError(f'{where}: column "{image}" has no bytes{other}')
                    number = label_of(value if places is None else places[value], where)
                    yield Sample(where, Path(path).name or f"{file.stem}_{row - 1}", content, number)
        except (pa.ArrowException, OSError, KeyError) as error:
            raise DataError(f'"{file}" cannot be read as a table: {one_line(str(error))}') from None


def _schema(path: Path) -> Any:
    import pyarrow.ipc
    import pyarrow.parquet

    if path.suffix != ".arrow":
        return pyarrow.parquet.read_schema(path)
    with pyarrow.memory_map(str(path)) as file, pyarrow.ipc.open_stream(file) as stream:
        return stream.schema


def _batches(path: Path, columns: list[str]) -> Iterator[Any]:
    """The record batches of a file, with these columns."""
    import pyarrow.ipc
    import pyarrow.parquet

    if path.suffix != ".arrow":
        with pyarrow.parquet.ParquetFile(path) as table:
            yield from table.iter_batches(batch_size=256, columns=columns)
        return
    with pyarrow.memory_map(str(path)) as file, pyarrow.ipc.open_stream(file) as stream:
        for batch in stream:
            yield batch.select(columns)


def _column(schema: Any, file: Path, wanted: str, what: str, fits: Any) -> str:
    if wanted:
        if wanted not in schema.names:
            hint = nearest(wanted, schema.names)
            raise DataError(f'{file}: no column "{wanted}"{hint}; it has {", ".join(schema.names)}')
        return wanted
    found = [name for name in schema.names if fits(schema.field(name).type)]
    if what in found:
        return what
    if len(found) != 1:
        raise DataError(f"{file}: choose the column with --{what}-column: it has {', '.join(schema.names)}")
    return str(found[0])


def _is_image(kind: Any) -> bool:
    import pyarrow.types as types

    if types.is_struct(kind):
        return "bytes" in [kind.field(k).name for k in range(kind.num_fields)]
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _is_text(kind: Any) -> bool:
    import pyarrow.types as types

    return bool(types.is_string(kind) or types.is_large_string(kind))


def _class_names(schema: Any, label: str) -> list[str]:
    """The names that `datasets` wrote to the schema, by label; none where it did not."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        return [str(name) for name in features[label]["names"]]
    except (KeyError, TypeError, ValueError, RecursionError):
        return []
