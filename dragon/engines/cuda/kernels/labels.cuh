// Labels are numbers of the net's type; one that is out of range (and not the one to ignore) is an error of the data.
#define IGNORED (-1)
#define FAULTY (-2)

static __device__ __forceinline__ int class_of(real label, Index classes, int has_ignore, int ignore) {
    if (has_ignore && label == (real)ignore) return IGNORED;
    return label >= 0 && label < (real)classes ? (int)label : FAULTY;
}

// What a term's second number says of such a class: 1 where it counts, -1 for a fault.
static __device__ __forceinline__ real counts_as(int k) { return k == FAULTY ? -1 : (k >= 0 ? 1 : 0); }
