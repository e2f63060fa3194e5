// One launch copies many arrays, such as all parameters of a net. `entries` has an entry for each array; a chunk gives a
// block its array and its first element.
#include "common.cuh"

struct Entry {  // three 8-byte words, as parameters.py packs them
    const real* from;
    real* to;
    unsigned long long count;
};

struct Chunk {
    unsigned int entry, start;
};

#define CHUNK 4096  // elements a block works on

KERNEL copy_arrays(const Entry* entries, const Chunk* chunks) {
    Chunk chunk = chunks[blockIdx.x];
    const Entry e = entries[chunk.entry];
    Index stop = e.count < chunk.start + CHUNK ? (Index)e.count : chunk.start + CHUNK;
    Index single = chunk.start;
    if (((size_t)e.from | (size_t)e.to) % 16 == 0) {
        Index vectors = (stop - chunk.start) / LANES;
        for (Index v = threadIdx.x; v < vectors; v += THREADS) {
            Index i = chunk.start + v * LANES;
            store((stored*)e.to + i, load((const stored*)e.from + i));
        }
        single += vectors * LANES;
    }
    for (Index i = single + threadIdx.x; i < stop; i += THREADS) e.to[i] = e.from[i];
}
