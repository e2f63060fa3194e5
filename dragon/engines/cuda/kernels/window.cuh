// How a window slides along one axis. A stride is an int or a Divisor (division.cuh).

// The output position from which tap `tap` reads input position `at`, or -1.
template <typename Stride>
static __device__ __forceinline__ int reader(int at, int tap, Stride stride, int pad, int dilation, int out) {
    int before = at + pad - tap * dilation;
    return before < 0 || before % stride || before / stride >= out ? -1 : before / stride;
}

// First and one past the last output position whose window holds input position `at`.
template <typename Stride>
static __device__ __forceinline__ int first_window(int at, int kernel, Stride stride, int pad) {
    int low = at + pad - kernel;
    return low < 0 ? 0 : low / stride + 1;
}

template <typename Stride>
static __device__ __forceinline__ int end_window(int at, Stride stride, int pad, int out) {
    return min((at + pad) / stride + 1, out);
}

// Whether a window's maximum so far gives way to a later value. The first NaN is the maximum.
static __device__ __forceinline__ bool gives_way(real largest, real value) {
    return value > largest || (value != value && largest == largest);
}

// How many elements of a window an average counts: those from `first` up to `end`, the image with or without its padding.
static __device__ __forceinline__ int extent(int position, int kernel, int stride, int pad, int first, int end) {
    int start = position * stride - pad;
    return min(start + kernel, end) - max(start, first);
}

// -- a maximum with a ReLU in front or behind -----------------------------------------------------------------------
// Forward marks the place of a maximum that is not above 0 (`mark`), whose gradient the ReLU multiplies by its slope. So backward
// needs neither the ReLU's input nor its output.
#define MARKED 0x80  // of a place in a byte

static __device__ __forceinline__ unsigned char marked_byte(int place, int mark, real value) {
    return (unsigned char)(mark && !(value > 0) ? place | MARKED : place);
}

// Of a place in an int; places below 0 are none.
static __device__ __forceinline__ int marked_int(int place, int mark, real value) {
    return mark && !(value > 0) ? -2 - place : place;
}

static __device__ __forceinline__ bool is_marked(unsigned char place) { return place & MARKED; }
static __device__ __forceinline__ bool is_marked(int place) { return place < -1; }
static __device__ __forceinline__ int without_mark(unsigned char place) { return place & ~MARKED; }
static __device__ __forceinline__ int without_mark(int place) { return place < -1 ? -2 - place : place; }

// The gradient in front of the ReLU for output o, whose gradient is dy. masked (or null): where it is written as well; that may be
// the array of dy, if only this thread uses dy.
template <typename Place>
static __device__ __forceinline__ real through_mark(real dy, Place place, real slope, stored* masked, size_t o) {
    if (!is_marked(place)) return dy;
    dy *= slope;
    if (masked) masked[o] = dy;
    return dy;
}
