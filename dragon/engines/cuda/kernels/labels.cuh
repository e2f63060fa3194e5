// Labels are whole numbers in the net's type. One that is out of range, and not the one to ignore, is an error in the data.
#define IGNORED (-1)
#define OUT_OF_RANGE (-2)

static __device__ __forceinline__ int class_of(real label, Index classes, int has_ignore, int ignore) {
    if (has_ignore && label == (real)ignore) return IGNORED;
    return label >= 0 && label < (real)classes ? (int)label : OUT_OF_RANGE;
}

// out_of_range (1) becomes 2^31 - 1 - i for the first position i that is out of range. That is the maximum over all such i, so
// it does not depend on the order of threads.
static __device__ __forceinline__ void out_of_range_at(Index i, int* out_of_range) {
    atomicMax(out_of_range, 0x7fffffff - (int)i);
}
