// What a backward kernel reads for one vector. x: the bottom; y: the output of a fused ReLU. Each may be null. is_last: nobody
// reads them again soon.
template <int W, bool is_last = false>
struct Incoming {
    Lanes<W> dy, x, y;

    Incoming() = default;
    __device__ __forceinline__ Incoming(const stored* dys, const stored* xs, const stored* ys, Index i) : x(), y() {
        dy = read(dys + i);
        if (xs) x = read(xs + i);
        if (ys) y = read(ys + i);
    }

    static __device__ __forceinline__ Lanes<W> read(const stored* p) { return is_last ? last_lanes<W>(p) : lanes<W>(p); }

    // d = the gradient in front of the ReLU; dy where there is none.
    __device__ __forceinline__ void before_relu(bool relu, real slope, real (&d)[W]) const {
#pragma unroll
        for (int k = 0; k < W; ++k) d[k] = dy[k];
        if (relu) {
#pragma unroll
            for (int k = 0; k < W; ++k) d[k] = y[k] > 0 ? d[k] : d[k] * slope;
        }
    }
};
