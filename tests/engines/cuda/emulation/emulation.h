// What a kernel file is built under to run on the CPU: emulator.cpp, which it is linked with, runs and checks it.
//
// Small, since it is compiled with each kernel file for each type of number: no header of C++ is read.
#include <stddef.h>
#include <stdint.h>

#define EMULATOR __attribute__((no_sanitize("thread"), no_sanitize("undefined"), noinline, unused)) static

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static __attribute__((section("cuda_shared")))
#define __constant__ static const

struct uint3 {
    unsigned x, y, z;
};

namespace emu {

struct Range {
    uintptr_t start, stop;
    int argument;  // -1: reached through a table of pointers
};

typedef void (*Kernel)(void**);

#pragma GCC visibility push(hidden)  // each library has an emulator of its own

// Run the kernel; what it did wrong, or null. sizes: grid, block, bytes of dynamic shared memory.
const char* launch(Kernel called, const char* const* argument_names, const unsigned* sizes, void** values,
                   const Range* arrays, int n_arrays);
int lane();
uint3 now_thread();
uint3 now_block();
uint3 now_block_size();
uint3 now_grid_size();
void* dynamic_shared();
void barrier(int line);
uint64_t exchange(unsigned mask, uint64_t value, int source);
void read_atomically(const void* at, size_t size);

template <typename T>
EMULATOR T exchange_value(unsigned mask, T value, int source) {
    static_assert(sizeof(T) <= 8, "too large for a warp exchange");
    uint64_t bits = 0;
    __builtin_memcpy(&bits, &value, sizeof value);
    bits = exchange(mask, bits, source);
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

template <typename T>
EMULATOR T add_atomically(T* at, T value) {
    read_atomically(at, sizeof(T));
    T before = *at;
    *at = before + value;
    return before;
}

EMULATOR int raise_atomically(int* at, int value) {
    read_atomically(at, sizeof(int));
    int before = *at;
    if (value > before) *at = value;
    return before;
}

}  // namespace emu

// -- 16-bit numbers, as common.cuh names them ------------------------------------------------------------------
unsigned bits_of_float(float x);
float float_of_bits(unsigned bits);
float float_of_half(unsigned short bits);
unsigned short half_of_float(float x);
#pragma GCC visibility pop

// -- what kernels use -----------------------------------------------------------------------------------------
#define threadIdx emu::now_thread()
#define blockIdx emu::now_block()
#define blockDim emu::now_block_size()
#define gridDim emu::now_grid_size()
#define DYNAMIC_SHARED(name) Vector* const name = (Vector*)emu::dynamic_shared()
#define __threadfence() ((void)0)
#define __threadfence_system() ((void)0)
#define __syncthreads() emu::barrier(__LINE__)
#define __syncwarp() ((void)emu::exchange(0xffffffffu, 0, emu::lane()))
#define __shfl_sync(mask, value, lane) emu::exchange_value(mask, value, lane)
#define __shfl_xor_sync(mask, value, bits) emu::exchange_value(mask, value, emu::lane() ^ (bits))
#define __shfl_down_sync(mask, value, step) emu::exchange_value(mask, value, emu::lane() + (step))
#define atomicAdd(at, value) emu::add_atomically(at, value)
#define atomicMax(at, value) emu::raise_atomically(at, value)

static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}

static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
static inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }

static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline int min(int a, int b) { return a < b ? a : b; }
static inline int max(int a, int b) { return a > b ? a : b; }

#define EMULATED_MATH(name)                                                                                       \
    static inline float name(float x) { return __builtin_##name##f(x); }                                          \
    static inline double name(double x) { return __builtin_##name(x); }
EMULATED_MATH(ceil) EMULATED_MATH(exp) EMULATED_MATH(expm1) EMULATED_MATH(fabs) EMULATED_MATH(floor) EMULATED_MATH(log)
EMULATED_MATH(log1p) EMULATED_MATH(sqrt) EMULATED_MATH(tanh)
static inline float pow(float x, float y) { return __builtin_powf(x, y); }
static inline double pow(double x, double y) { return __builtin_pow(x, y); }
