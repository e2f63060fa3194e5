// How a window slides along one axis.

// The output position from which tap `tap` reads input position `at`, or -1.
static __device__ __forceinline__ int reader(int at, int tap, int stride, int pad, int dilation, int out) {
    int before = at + pad - tap * dilation;
    return before < 0 || before % stride || before / stride >= out ? -1 : before / stride;
}
