// A ReLU that is fused into a kernel.

// ReLU with a slope below 0; with slope 0: 0 for minus infinity, and NaN for NaN.
static __device__ __forceinline__ real leaky(real x, real slope) { return x > 0 ? x : (x <= 0 && slope == 0 ? 0 : slope * x); }

// The gradient in front of a ReLU that was fused into a kernel's forward. y: the ReLU's output, or null where there is none.
static __device__ __forceinline__ real through_relu(real dy, const stored* y, size_t i, real slope) {
    return y && !(y[i] > 0) ? dy * slope : dy;
}
