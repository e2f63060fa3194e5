// Division of indices by a number that only the host knows, without the GPU's slow integer division.
//
// For n < 2^31 and d < 2^31, with 2^(s-1) < d <= 2^s and magic = ceil(2^(31+s) / d), n / d is n magic / 2^(31+s) rounded
// down (Granlund and Montgomery, "Division by Invariant Integers using Multiplication", 1994). A launcher gives d; Kernel
// computes the rest (kernel.py). `/` and `%` by a Divisor are such divisions.
struct alignas(8) Divisor {
    unsigned int value, magic;

    __device__ __forceinline__ operator int() const { return (int)value; }
    __device__ __forceinline__ unsigned int of(unsigned int n) const { return __umulhi(n << 1, magic) >> (32 - __clz(value - 1)); }
};

// n / d, and n % d in `rest`.
static __device__ __forceinline__ unsigned int divide(unsigned int n, const Divisor& d, unsigned int& rest) {
    unsigned int quotient = d.of(n);
    rest = n - quotient * d.value;
    return quotient;
}

static __device__ __forceinline__ unsigned int operator/(unsigned int n, const Divisor& d) { return d.of(n); }
static __device__ __forceinline__ unsigned int operator%(unsigned int n, const Divisor& d) { return n - d.of(n) * d.value; }
static __device__ __forceinline__ int operator/(int n, const Divisor& d) { return (int)d.of((unsigned int)n); }  // n >= 0
static __device__ __forceinline__ int operator%(int n, const Divisor& d) { return n - n / d * (int)d.value; }
