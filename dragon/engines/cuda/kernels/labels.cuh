// Labels are whole numbers in the net's type. One that is out of range, and not the one to ignore, is an error in the data.
#define IGNORED (-1)
#define OUT_OF_RANGE (-2)

static __device__ __forceinline__ int class_of(real label, Index classes, int has_ignore, int ignore) {
    if (has_ignore && label == (real)ignore) return IGNORED;
    return label >= 0 && label < (real)classes ? (int)label : OUT_OF_RANGE;
}

// The second number of a term whose class is k: 1 where it counts, 0 where it is ignored, -1 for a label out of range.
static __device__ __forceinline__ real counts_as(int k) { return k == OUT_OF_RANGE ? -1 : (k >= 0 ? 1 : 0); }
