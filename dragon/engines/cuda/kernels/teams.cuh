// Who computes what of arrays (outer, classes, inner).

// The first element of position i of an array (outer, classes, inner).
static __device__ __forceinline__ size_t start_of(Index i, Index classes, const Divisor& inner) {
    Index at, outer = divide(i, inner, at);
    return (size_t)outer * classes * inner.value + at;
}

// The threads that share a row, a warp or a block.
struct ByWarp {
    enum { SIZE = WARP };

    __device__ __forceinline__ Index own() const { return threadIdx.x % WARP; }
    __device__ __forceinline__ Index first() const { return global_thread() / WARP; }
    __device__ __forceinline__ Index all() const { return all_threads() / WARP; }
    __device__ __forceinline__ real max(real value) const { return warp_max(value); }
    __device__ __forceinline__ real sum(real value) const { return warp_sum(value); }
};

struct ByBlock {
    enum { SIZE = THREADS };
    real* partials;  // shared memory of THREADS / WARP elements

    __device__ __forceinline__ Index own() const { return threadIdx.x; }
    __device__ __forceinline__ Index first() const { return blockIdx.x; }
    __device__ __forceinline__ Index all() const { return gridDim.x; }
    __device__ __forceinline__ real max(real value) const {
        value = warp_max(value);
        __syncthreads();  // an earlier result may still be read
        if (threadIdx.x % WARP == 0) partials[threadIdx.x / WARP] = value;
        __syncthreads();
        real largest = partials[0];
        for (int w = 1; w < THREADS / WARP; ++w) largest = larger(partials[w], largest);
        return largest;
    }
    __device__ __forceinline__ real sum(real value) const { return block_sum(value, partials); }
};
