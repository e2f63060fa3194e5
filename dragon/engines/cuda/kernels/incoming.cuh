// What a backward kernel reads for one vector. x: the bottom; y: the output of a fused ReLU. Each may be null.
template <int W>
struct Incoming {
    Lanes<W> dy, x, y;

    Incoming() = default;
    __device__ __forceinline__ Incoming(const stored* dys, const stored* xs, const stored* ys, Index i) : x(), y() {
        dy = lanes<W>(dys + i);
        if (xs) x = lanes<W>(xs + i);
        if (ys) y = lanes<W>(ys + i);
    }

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

// What is read for one vector of the gradient of a sum: up to two gradients that arrive, x, and y as above.
template <int W>
struct Arriving {
    Lanes<W> dy, more, x, y;

    Arriving() = default;
    __device__ __forceinline__ Arriving(const stored* dys, const stored* others, const stored* xs, const stored* ys, Index i)
        : more(), y() {
        dy = lanes<W>(dys + i);
        if (others) more = lanes<W>(others + i);
        x = lanes<W>(xs + i);
        if (ys) y = lanes<W>(ys + i);
    }

    // The sum of the gradients, in front of the ReLU if there is one.
    __device__ __forceinline__ Lanes<W> sum(bool several, bool relu, real slope) const {
        real d[W];
        Lanes<W> out;
#pragma unroll
        for (int k = 0; k < W; ++k) d[k] = dy[k];
        if (several) {
#pragma unroll
            for (int k = 0; k < W; ++k) d[k] += more[k];
        }
        if (relu) {
#pragma unroll
            for (int k = 0; k < W; ++k) d[k] = y[k] > 0 ? d[k] : d[k] * slope;
        }
        out.set(d);
        return out;
    }
};
