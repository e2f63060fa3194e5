// Unfolding and folding for a convolution over two spatial axes, whose matrix products cuBLAS computes; biases; depthwise
// convolution.
#include "common.cuh"
#include "division.cuh"
#include "window.cuh"

#define WINDOW                                                                                                         \
    Divisor height, Divisor width, Divisor out_h, Divisor out_w, Divisor kernel_h, Divisor kernel_w, Divisor stride_h, \
        Divisor stride_w, int pad_h, int pad_w, int dilation_h, int dilation_w

// columns (C * KH * KW, N, OH * OW): one matrix for all images, so that the weights' gradient is one product. images: N.
// count: elements of columns.
KERNEL im2col(const stored* x, stored* columns, Index count, Divisor channels, Divisor images, WINDOW) {
    GRID_LOOP(i, count) {
        int ow = i % out_w, oh = i / out_w % out_h;
        Index rest = i / out_w / out_h, n = rest % images, row = rest / images;
        int kw = row % kernel_w, kh = row / kernel_w % kernel_h, c = row / kernel_w / kernel_h;
        int h = oh * stride_h - pad_h + kh * dilation_h, w = ow * stride_w - pad_w + kw * dilation_w;
        bool inside = h >= 0 && h < height && w >= 0 && w < width;
        columns[i] = inside ? x[(((size_t)n * channels + c) * height + h) * width + w] : (stored)(real)0;
    }
}

// The transpose: each element of x is the sum of its elements of columns. count: elements of x. bias: (channels), or null.
KERNEL col2im(const stored* columns, const real* bias, stored* x, Index count, Divisor channels, Divisor images, WINDOW) {
    GRID_LOOP(i, count) {
        int w = i % width, h = i / width % height, c = i / width / height % channels;
        Index n = i / width / height / channels;
        real sum = bias ? bias[c] : 0;
        for (int kh = 0; kh < kernel_h; ++kh) {
            int oh = reader(h, kh, stride_h, pad_h, dilation_h, out_h);
            if (oh < 0) continue;
            for (int kw = 0; kw < kernel_w; ++kw) {
                int ow = reader(w, kw, stride_w, pad_w, dilation_w, out_w);
                if (ow < 0) continue;
                size_t row = ((size_t)c * kernel_h + kh) * kernel_w + kw;
                sum += columns[((row * images + n) * out_h + oh) * out_w + ow];
            }
        }
        x[i] = sum;
    }
}

// (N, C, S) to (C, N, S). count: elements.
KERNEL channels_first(const stored* x, stored* out, Index count, Divisor images, Index channels, Divisor spatial) {
    GRID_LOOP(i, count) {
        Index s = i % spatial, n = i / spatial % images, c = i / spatial / images;
        out[i] = x[((size_t)n * channels + c) * spatial + s];
    }
}

// diff (count) = the sum of `images` parts (images, count), in their order, or with `add` diff plus that.
KERNEL add_images(const real* parts, real* diff, Index count, Index images, const real* unscale, int add) {
    real by = unscale ? *unscale : 1;
    GRID_LOOP(i, count) {
        real sum = 0;
#pragma unroll 8
        for (Index n = 0; n < images; ++n) sum += parts[(size_t)n * count + i];
        diff[i] = add ? diff[i] + sum * by : sum * by;
    }
}

// y (N, C, S) += bias (C); S is 1 for inner products and where channels lie last. vectors: S is a multiple of LANES, or S is 1
// and C a multiple. count: elements of y.
KERNEL add_bias(stored* y, const real* bias, Index count, Divisor channels, Divisor spatial, int vectors) {
    if (vectors) {
        GRID_LOOP(i, count / LANES) {
            Vector value = load(y + (size_t)i * LANES);
            const real* b = bias + i * LANES / spatial % channels;
            int step = spatial == 1;
#pragma unroll
            for (int k = 0; k < LANES; ++k) value.v[k] = value.v[k] + b[k * step];
            store(y + (size_t)i * LANES, value);
        }
    } else {
        GRID_LOOP(i, count) y[i] = y[i] + bias[i / spatial % channels];
    }
}

// -- as many groups as channels: weight (C, 1, KH, KW) --------------------------------------------------------

KERNEL depthwise_forward(const stored* x, const real* weight, const real* bias, stored* y, Index count, Divisor channels,
                         WINDOW) {
    GRID_LOOP(i, count) {
        int ow = i % out_w, oh = i / out_w % out_h;
        Index plane = i / out_w / out_h;
        int c = plane % channels;
        const stored* image = x + (size_t)plane * height * width;
        const real* kernel = weight + c * kernel_h * kernel_w;
        real sum = bias ? bias[c] : 0;
        for (int kh = 0; kh < kernel_h; ++kh) {
            int h = oh * stride_h - pad_h + kh * dilation_h;
            if (h < 0 || h >= height) continue;
            for (int kw = 0; kw < kernel_w; ++kw) {
                int w = ow * stride_w - pad_w + kw * dilation_w;
                if (w >= 0 && w < width) sum += image[h * width + w] * kernel[kh * kernel_w + kw];
            }
        }
        y[i] = sum;
    }
}

KERNEL depthwise_backward_data(const stored* dy, const real* weight, stored* dx, Index count, Divisor channels, WINDOW) {
    GRID_LOOP(i, count) {
        int w = i % width, h = i / width % height;
        Index plane = i / width / height;
        const stored* image = dy + (size_t)plane * out_h * out_w;
        const real* kernel = weight + (int)(plane % channels) * kernel_h * kernel_w;
        real sum = 0;
        for (int kh = 0; kh < kernel_h; ++kh) {
            int oh = reader(h, kh, stride_h, pad_h, dilation_h, out_h);
            if (oh < 0) continue;
            for (int kw = 0; kw < kernel_w; ++kw) {
                int ow = reader(w, kw, stride_w, pad_w, dilation_w, out_w);
                if (ow < 0) continue;
                sum += image[oh * out_w + ow] * kernel[kh * kernel_w + kw];
            }
        }
        dx[i] = sum;
    }
}

// dweight (C, KH, KW) = the sum over images and positions, or with `add` dweight plus that, a block for each element.
KERNEL depthwise_backward_weight(const stored* x, const stored* dy, real* dweight, const real* unscale, int add,
                                 Index n, Divisor channels, WINDOW) {
    __shared__ real partials[THREADS / WARP];
    int kw = blockIdx.x % kernel_w, kh = blockIdx.x / kernel_w % kernel_h;
    int c = blockIdx.x / kernel_w / kernel_h;
    Index positions = (Index)out_h * out_w;
    real sum = 0;
    for (Index i = threadIdx.x; i < n * positions; i += THREADS) {
        Index column, row, image = divide(divide(i, out_w, column), out_h, row) * channels + c;
        int ow = column, oh = row;
        int h = oh * stride_h - pad_h + kh * dilation_h, w = ow * stride_w - pad_w + kw * dilation_w;
        if (h >= 0 && h < height && w >= 0 && w < width)
            sum += x[((size_t)image * height + h) * width + w] * dy[(size_t)image * positions + oh * out_w + ow];
    }
    sum = block_sum(sum, partials);
    if (threadIdx.x != 0) return;
    if (unscale) sum *= *unscale;
    dweight[blockIdx.x] = add ? dweight[blockIdx.x] + sum : sum;
}
