// Conversions between channels first (N, C, S) and channels last (N, S, C), with a change of type where the types differ.
#include "common.cuh"
#include "division.cuh"

#define TILE 32
#define NARROW 8  // sides up to this are not worth a tile

// y (batch, columns, rows) = x (batch, rows, columns), each matrix transposed, times `factor` (1; null: 1). A matrix has down
// by across tiles. tile: shared memory of the block.
#define MATRICES Index batch, Divisor rows, Divisor columns, Divisor down, Divisor across, const real* factor
#define MATRICES_VALUES batch, rows, columns, down, across, factor

template <typename From, typename To>
static __device__ __forceinline__ void transpose_all(const From* x, To* y, MATRICES, real (*tile)[TILE + 1]) {
    real by = factor ? *factor : (real)1;
    Index size = rows.value * columns.value;
    if (rows.value <= NARROW || columns.value <= NARROW) {
        GRID_LOOP(i, batch * size) {
            Index row, column, image = divide(divide(i, rows, row), columns, column);
            y[i] = x[(size_t)image * size + (size_t)row * columns.value + column] * by;
        }
        return;
    }
    Index tx = threadIdx.x % TILE, ty = threadIdx.x / TILE;
    for (Index t = blockIdx.x; t < batch * down.value * across.value; t += gridDim.x) {
        Index column, row;
        size_t image = (size_t)divide(divide(t, across, column), down, row) * size;
        column *= TILE;
        row *= TILE;
        for (Index k = ty; k < TILE; k += THREADS / TILE)
            if (row + k < rows.value && column + tx < columns.value)
                tile[k][tx] = x[image + (size_t)(row + k) * columns.value + column + tx];
        __syncthreads();
        for (Index k = ty; k < TILE; k += THREADS / TILE)
            if (column + k < columns.value && row + tx < rows.value)
                y[image + (size_t)(column + k) * rows.value + row + tx] = tile[tx][k] * by;
        __syncthreads();
    }
}

KERNEL transpose(const stored* x, stored* y, MATRICES) {
    __shared__ real tile[TILE][TILE + 1];
    transpose_all(x, y, MATRICES_VALUES, tile);
}

KERNEL transpose_to_16_bit(const real* x, stored* y, MATRICES) {
    __shared__ real tile[TILE][TILE + 1];
    transpose_all(x, y, MATRICES_VALUES, tile);
}

KERNEL transpose_to_float32(const stored* x, real* y, MATRICES) {
    __shared__ real tile[TILE][TILE + 1];
    transpose_all(x, y, MATRICES_VALUES, tile);
}

// y (batch, rows, columns) = x (batch, columns, rows), each matrix transposed, times `factor` (1; null: 1); with `add` y plus that.
KERNEL accumulate_transposed(const stored* x, real* y, Index count, Divisor rows, Divisor columns, const real* factor,
                             int add) {
    real by = factor ? *factor : (real)1;
    GRID_LOOP(i, count) {
        Index column = i % columns, row = i / columns % rows;
        real value = x[(size_t)(i / columns / rows) * rows * columns + (size_t)column * rows + row] * by;
        y[i] = add ? y[i] + value : value;
    }
}

// y (rows, padded) = the first channels of x (rows, channels), then zeros. padded may be less than channels, which leaves the
// last ones out. vectors: padded is LANES. count: elements of y.
KERNEL pad_channels(const stored* x, stored* y, Index count, Index channels, Divisor padded, int vectors) {
    if (vectors) {
        GRID_LOOP(row, count / LANES) {
            Vector out;
#pragma unroll
            for (Index k = 0; k < LANES; ++k) out.v[k] = k < channels ? (real)x[(size_t)row * channels + k] : (real)0;
            store(y + (size_t)row * LANES, out);
        }
        return;
    }
    GRID_LOOP(i, count) {
        Index c = i % padded;
        y[i] = c < channels ? (real)x[(size_t)(i / padded) * channels + c] : (real)0;
    }
}
