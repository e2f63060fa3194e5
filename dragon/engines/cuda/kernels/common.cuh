// Shared by all kernels.
//
// Two types are defined when a file is compiled, so that one source serves every precision:
//   REAL (float or double): `real`, the type of arithmetic. Sums, parameters, their gradients, running statistics, labels,
//       probabilities and losses are `real` in memory as well.
//   STORED (float16 or bfloat16, with REAL float; REAL if not defined): `stored`, the type in memory of activations, their
//       gradients and a launcher's copies of these.
// A kernel is ready for 16 bits when its pointers have these types and its launcher has `half = True` (lowering.py). A
// `stored` is converted to float where it is read and rounded where it is assigned; it has no +=. `c ? x[i] : 0` is an int:
// write (real)0.
// Gradients of float16 activations are multiplied by the loss scale. Kernels that add to a parameter's gradient multiply by
// its inverse (`unscale`, null: 1), so that gradients of parameters are never scaled.
typedef REAL real;
typedef unsigned int Index;

#define KERNEL extern "C" __global__ void
#define KERNEL_OF_FOUR KERNEL __launch_bounds__(THREADS, 4)  // four blocks on a multiprocessor: 64 registers a thread
#ifndef THREADS
#define THREADS 256  // of a block, unless a file says otherwise
#endif
#define WARP 32
#define FULL_WARP 0xffffffffu

// -- 16-bit numbers ------------------------------------------------------------------------------------------------
#ifdef __CUDACC__
static __device__ __forceinline__ float float_of_half(unsigned short bits) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}

static __device__ __forceinline__ unsigned short half_of_float(float x) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}

static __device__ __forceinline__ float float_of_bits(unsigned int bits) { return __uint_as_float(bits); }
static __device__ __forceinline__ unsigned int bits_of_float(float x) { return __float_as_uint(x); }
#endif  // else the emulation's header has them

struct float16 {
    unsigned short bits;

    float16() = default;
    __device__ __forceinline__ explicit float16(float x) : bits(half_of_float(x)) {}
    __device__ __forceinline__ operator float() const { return float_of_half(bits); }
    __device__ __forceinline__ float16& operator=(float x) {
        bits = half_of_float(x);
        return *this;
    }
};

// The upper half of a float, rounded to the nearest, ties to even.
struct bfloat16 {
    unsigned short bits;

    bfloat16() = default;
    __device__ __forceinline__ explicit bfloat16(float x) { *this = x; }
    __device__ __forceinline__ operator float() const { return float_of_bits((unsigned int)bits << 16); }
    __device__ __forceinline__ bfloat16& operator=(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
        asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
#else
        unsigned int all = bits_of_float(x);
        bits = x != x ? 0x7fff : (all + 0x7fff + (all >> 16 & 1)) >> 16;
#endif
        return *this;
    }
};

#ifdef STORED
typedef STORED stored;
#else
typedef real stored;
#endif

// -- 16 bytes at once ----------------------------------------------------------------------------------------------
#define LANES (16 / (int)sizeof(stored))

struct alignas(16) Vector {
    stored v[LANES];
};

static __device__ __forceinline__ Vector load(const stored* p) { return *reinterpret_cast<const Vector*>(p); }
static __device__ __forceinline__ void store(stored* p, const Vector& value) { *reinterpret_cast<Vector*>(p) = value; }

// LANES numbers of `real`, read and written by 16-byte accesses. p is aligned to 16 bytes.
struct Reals {
    real v[LANES];
};

static __device__ __forceinline__ Reals load_reals(const real* p) {
    struct alignas(16) Part {
        real v[16 / sizeof(real)];
    };
    Reals all;
#pragma unroll
    for (int i = 0; i < LANES * (int)sizeof(real) / 16; ++i) {
        Part part = reinterpret_cast<const Part*>(p)[i];
#pragma unroll
        for (int k = 0; k < 16 / (int)sizeof(real); ++k) all.v[i * (16 / (int)sizeof(real)) + k] = part.v[k];
    }
    return all;
}

static __device__ __forceinline__ void store_reals(real* p, const Reals& all) {
    struct alignas(16) Part {
        real v[16 / sizeof(real)];
    };
#pragma unroll
    for (int i = 0; i < LANES * (int)sizeof(real) / 16; ++i) {
        Part part;
#pragma unroll
        for (int k = 0; k < 16 / (int)sizeof(real); ++k) part.v[k] = all.v[i * (16 / (int)sizeof(real)) + k];
        reinterpret_cast<Part*>(p)[i] = part;
    }
}

// -- shared memory whose size the launch gives ------------------------------------------------------------------------
#ifdef __CUDACC__
#define DYNAMIC_SHARED(name) extern __shared__ Vector name[]
#endif  // else the emulation's header has it

// -- threads -------------------------------------------------------------------------------------------------------
static __device__ __forceinline__ Index global_thread() { return blockIdx.x * blockDim.x + threadIdx.x; }
static __device__ __forceinline__ Index all_threads() { return gridDim.x * blockDim.x; }

// Loop over i < count, shared by all threads of the grid. Counts stay below 2^31, so i + step cannot overflow.
#define GRID_LOOP(i, count) for (Index i = global_thread(); i < (count); i += all_threads())

template <typename T>
static __device__ __forceinline__ T warp_sum(T value) {
    for (int step = WARP / 2; step > 0; step /= 2) value += __shfl_xor_sync(FULL_WARP, value, step);
    return value;
}

static __device__ __forceinline__ real larger(real a, real b) { return a > b ? a : b; }

static __device__ __forceinline__ real warp_max(real value) {
    for (int step = WARP / 2; step > 0; step /= 2) value = larger(value, __shfl_xor_sync(FULL_WARP, value, step));
    return value;
}

// Sum over a block of THREADS threads, the same in every thread and in every run. `partials` has THREADS / WARP elements.
template <typename T>
static __device__ __forceinline__ T block_sum(T value, T* partials) {
    value = warp_sum(value);
    __syncthreads();  // an earlier sum may still be read
    if (threadIdx.x % WARP == 0) partials[threadIdx.x / WARP] = value;
    __syncthreads();
    T total = 0;
    for (int w = 0; w < THREADS / WARP; ++w) total += partials[w];
    return total;
}
