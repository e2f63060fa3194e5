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
