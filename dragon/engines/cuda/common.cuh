// Shared by all kernels. REAL (float or double) is given when a file is compiled; `Index` counts elements.
typedef REAL real;
typedef unsigned int Index;

#define KERNEL extern "C" __global__ void
#define LANES (16 / (int)sizeof(real))
#define THREADS 256  // of every launch, unless a kernel says otherwise
#define WARP 32
#define FULL_WARP 0xffffffffu

struct alignas(16) Vector {
    real v[LANES];
};

static __device__ __forceinline__ Vector load(const real* p) { return *reinterpret_cast<const Vector*>(p); }
static __device__ __forceinline__ void store(real* p, const Vector& value) { *reinterpret_cast<Vector*>(p) = value; }

static __device__ __forceinline__ Index global_thread() { return blockIdx.x * blockDim.x + threadIdx.x; }
static __device__ __forceinline__ Index all_threads() { return gridDim.x * blockDim.x; }

// Loop over i < count, shared by all threads of the grid. Counts stay below 2^31, so i + step cannot overflow.
#define GRID_LOOP(i, count) for (Index i = global_thread(); i < (count); i += all_threads())

static __device__ __forceinline__ real warp_sum(real value) {
    for (int step = WARP / 2; step > 0; step /= 2) value += __shfl_xor_sync(FULL_WARP, value, step);
    return value;
}

static __device__ __forceinline__ real larger(real a, real b) { return a > b ? a : b; }

static __device__ __forceinline__ real warp_max(real value) {
    for (int step = WARP / 2; step > 0; step /= 2) value = larger(value, __shfl_xor_sync(FULL_WARP, value, step));
    return value;
}

// Sum over a block of THREADS threads, the same in every thread and in every run. `room` has THREADS / WARP elements.
static __device__ __forceinline__ real block_sum(real value, real* room) {
    value = warp_sum(value);
    __syncthreads();  // an earlier sum may still be read
    if (threadIdx.x % WARP == 0) room[threadIdx.x / WARP] = value;
    __syncthreads();
    real total = 0;
    for (int w = 0; w < THREADS / WARP; ++w) total += room[w];
    return total;
}

// -- reductions over a channel ---------------------------------------------------------------------------------
// An array (N, C, S) is reduced over N and S by blocks of THREADS threads. A block looks at `width` channels: one,
// its threads side by side along S, or, where S is 1, as many as keep its threads side by side along C. It takes the
// `slice`th of `slices` parts of the channel's N * S elements, and leaves a partial result that a later kernel
// combines in a fixed order.
struct Channel {
    Index channel, channels, spatial, worker, workers, start, stop;
    bool valid;

    __device__ Channel(Index n, Index c, Index s, int width, Index slices) {
        channels = c;
        spatial = s;
        channel = blockIdx.x * width + threadIdx.x % width;
        worker = threadIdx.x / width;
        workers = THREADS / width;
        Index count = n * s, part = (count + slices - 1) / slices;
        part = (part + LANES - 1) / LANES * LANES;
        start = part * blockIdx.y;
        stop = start + part < count ? start + part : count;
        if (start > count) start = count;
        valid = channel < channels;
    }

    __device__ __forceinline__ size_t at(Index j) const {
        return ((size_t)(j / spatial) * channels + channel) * spatial + j % spatial;
    }
};
