// Pooling of regions of interest from x (N, C, H, W). rois (R, 5): item of the batch, and x1, y1, x2, y2 in pixels of the
// image. Backward gathers: each input element sums over the regions that hold it, in order.
#include "common.cuh"
#include "division.cuh"

// First position of a bin along one axis, and one past its last.
struct Bin {
    int first, last;

    __device__ __forceinline__ void clamp(int size) {
        first = min(max(first, 0), size);
        last = min(max(last, 0), size);
    }
};

// a b + c rounded twice, as on the host: one fused rounding could move an edge across a whole number.
static __device__ __forceinline__ double scaled_sum(double a, double b, double c) {
    return __dadd_rn(__dmul_rn(a, b), c);
}

#define FAR 2147483648.0  // pixels; no image is as large

// The corners of a region along one axis: within FAR, and outside of every image where one of them is NaN.
struct Corners {
    double low, high;

    __device__ __forceinline__ Corners(double a, double b) : low(FAR), high(FAR) {
        if (a != a || b != b) return;
        low = a < -FAR ? -FAR : (a > FAR ? FAR : a);
        high = b < -FAR ? -FAR : (b > FAR ? FAR : b);
    }
};

static __device__ __forceinline__ double rounded(double edge, double scale) {
    return floor(scaled_sum(edge, scale, 0.5));
}

// Whole numbers below 2^53, as floor of a quotient: it cannot be rounded up to a whole number.
static __device__ __forceinline__ double whole_quotient(double a, int b) { return floor(a / b); }

// The bin of edges that may be far outside of 0 .. size.
static __device__ __forceinline__ Bin within(double first, double last, int size) {
    Bin bin = {(int)(first < 0 ? 0 : (first > size ? size : first)), (int)(last < 0 ? 0 : (last > size ? size : last))};
    return bin;
}

// Bins of whole positions, which overlap where their number does not divide the extent (Girshick 2015).
static __device__ __forceinline__ Bin whole_bin(int step, real low, real high, const Divisor& bins, int size,
                                                    double scale) {
    Corners at((double)low, (double)high);
    double first = rounded(at.low, scale), length = rounded(at.high, scale) - first + 1;
    if (length < 1) length = 1;
    if (fabs(first) + length * (int)bins > (1 << 30))  // too large for the integers below
        return within(whole_quotient(step * length, bins) + first, -whole_quotient(-(step + 1) * length, bins) + first, size);
    int from = (int)first, extent = (int)length;
    Bin bin = {step * extent / bins + from, ((step + 1) * extent + bins - 1) / bins + from};
    bin.clamp(size);
    return bin;
}

// Bins of fractional positions, enlarged to whole ones (Dai et al. 2016).
static __device__ __forceinline__ Bin fraction_bin(int step, real low, real high, int bins, int size, double scale) {
    Corners at((double)low, (double)high);
    double from = floor(at.low + 0.5) * scale;
    double extent = scaled_sum(floor(at.high + 0.5) + 1, scale, -from);
    extent = (extent < 0.1 ? 0.1 : extent) / bins;
    return within(floor(scaled_sum(step, extent, from)), ceil(scaled_sum(step + 1, extent, from)), size);
}

// The item of a region, -1 where it is out of range.
static __device__ __forceinline__ int item_of(const real* roi, int items) {
    return roi[0] >= 0 && roi[0] < (real)items ? (int)roi[0] : -1;
}

#define REGIONS                                                                                                      \
    int items, Divisor channels, Divisor height, Divisor width, Divisor bins_h, Divisor bins_w, double scale

// winner: the index in x of each output's maximum, -1 for an empty bin.
KERNEL roi_forward(const stored* x, const real* rois, stored* y, int* winner, Index count, REGIONS) {
    GRID_LOOP(i, count) {
        int j = i % bins_w, k = i / bins_w % bins_h, c = i / bins_w / bins_h % channels;
        const real* roi = rois + (size_t)(i / bins_w / bins_h / channels) * 5;
        int item = item_of(roi, items), best = -1;
        real value = 0;
        if (item >= 0) {
            Bin rows = whole_bin(k, roi[2], roi[4], bins_h, height, scale);
            Bin columns = whole_bin(j, roi[1], roi[3], bins_w, width, scale);
            int plane = (item * channels + c) * height * width;
            for (int h = rows.first; h < rows.last; ++h)
                for (int w = columns.first; w < columns.last; ++w) {
                    real here = x[plane + h * width + w];
                    if (here > value || best < 0 || here != here) {  // NaN stays
                        value = here;
                        best = plane + h * width + w;
                    }
                }
        }
        winner[i] = best;
        y[i] = best < 0 ? 0 : value;
    }
}

KERNEL roi_backward(const stored* dy, const real* rois, const int* winner, stored* dx, Index count, int regions,
                    REGIONS) {
    GRID_LOOP(i, count) {
        int h = i / width % height, c = i / width / height % channels, n = i / width / height / channels;
        real sum = 0;
        for (int r = 0; r < regions; ++r) {
            const real* roi = rois + (size_t)r * 5;
            if (item_of(roi, items) != n) continue;
            Index outputs = ((Index)r * channels + c) * bins_h * bins_w;
            for (int k = 0; k < bins_h; ++k) {
                Bin rows = whole_bin(k, roi[2], roi[4], bins_h, height, scale);
                if (h < rows.first || h >= rows.last) continue;
                for (int j = 0; j < bins_w; ++j)
                    if (winner[outputs + k * bins_w + j] == (int)i) sum += dy[outputs + k * bins_w + j];
            }
        }
        dx[i] = sum;
    }
}

// ROIAlign: along one axis (0: x, 1: y) the weight of each position in the mean of each bin, weights (regions, bins, size).
// ratio: points along a bin; 0: ceil(extent of the bin). Several of these are over half a position apart, so that 6 at most
// are near a position. A region with an end that is NaN or infinite has weights of 0.
KERNEL roi_align_weights(const real* rois, real* weights, Index count, int axis, Divisor bins, Divisor size, int ratio,
                         double scale) {
    GRID_LOOP(i, count) {
        int place = i % size, bin = i / size % bins;
        const real* roi = rois + (size_t)(i / size / bins) * 5;
        double low = roi[1 + axis], high = roi[3 + axis];
        if (low - low != 0 || high - high != 0) {
            weights[i] = 0;
            continue;
        }
        double start = __dmul_rn(low, scale), extent = __dmul_rn(high, scale) - start;
        double step = (extent < 1 ? 1 : extent) / (int)bins, points = ratio ? ratio : ceil(step), sum = 0;
        start = scaled_sum(bin, step, start);
        double nearest = ratio || points == 1 ? 0 : floor((place - 1 - start) * points / step - 0.5);
        for (int k = 0; k < (ratio ? ratio : 6); ++k) {
            double point = nearest + k, at = start + (point + 0.5) * step / points;
            if (!(point >= 0 && point < points && at >= -1 && at <= size)) continue;
            at = at < 0 ? 0 : (at > size - 1 ? size - 1 : at);
            double share = 1 - fabs(at - place);
            if (share > 0) sum += share;
        }
        weights[i] = (real)(sum / points);
    }
}

KERNEL roi_align_forward(const stored* x, const real* rois, const real* rows, const real* columns, stored* y, Index count,
                         REGIONS) {
    GRID_LOOP(i, count) {
        int j = i % bins_w, k = i / bins_w % bins_h, c = i / bins_w / bins_h % channels;
        Index r = i / bins_w / bins_h / channels;
        int item = item_of(rois + (size_t)r * 5, items);
        real sum = 0;
        if (item >= 0) {
            const stored* plane = x + ((size_t)item * channels + c) * height * width;
            const real *down = rows + ((size_t)r * bins_h + k) * height, *across = columns + ((size_t)r * bins_w + j) * width;
            for (int h = 0; h < height; ++h) {
                if (down[h] == 0) continue;
                for (int w = 0; w < width; ++w) {
                    real weight = down[h] * across[w];
                    if (weight != 0) sum += weight * plane[h * width + w];
                }
            }
        }
        y[i] = sum;
    }
}

KERNEL roi_align_backward(const stored* dy, const real* rois, const real* rows, const real* columns, stored* dx, Index count,
                          int regions, REGIONS) {
    GRID_LOOP(i, count) {
        int w = i % width, h = i / width % height, c = i / width / height % channels, n = i / width / height / channels;
        real sum = 0;
        for (int r = 0; r < regions; ++r) {
            if (item_of(rois + (size_t)r * 5, items) != n) continue;
            const stored* outputs = dy + ((size_t)r * channels + c) * bins_h * bins_w;
            for (int k = 0; k < bins_h; ++k) {
                real down = rows[((size_t)r * bins_h + k) * height + h];
                if (down == 0) continue;
                for (int j = 0; j < bins_w; ++j) {
                    real weight = down * columns[((size_t)r * bins_w + j) * width + w];
                    if (weight != 0) sum += weight * outputs[k * bins_w + j];
                }
            }
        }
        dx[i] = sum;
    }
}

// Bin (k, j) of output channel c is the mean over channel (c * bins_h + k) * bins_w + j. outputs: the number of output
// channels.
KERNEL psroi_forward(const stored* x, const real* rois, stored* y, Index count, Divisor outputs, REGIONS) {
    GRID_LOOP(i, count) {
        int j = i % bins_w, k = i / bins_w % bins_h, c = i / bins_w / bins_h % outputs;
        const real* roi = rois + (size_t)(i / bins_w / bins_h / outputs) * 5;
        int item = item_of(roi, items), area = 0;
        double sum = 0;
        if (item >= 0) {
            Bin rows = fraction_bin(k, roi[2], roi[4], bins_h, height, scale);
            Bin columns = fraction_bin(j, roi[1], roi[3], bins_w, width, scale);
            const stored* plane = x + ((size_t)item * channels + (c * bins_h + k) * bins_w + j) * height * width;
            for (int h = rows.first; h < rows.last; ++h)
                for (int w = columns.first; w < columns.last; ++w) {
                    sum += plane[h * width + w];
                    ++area;
                }
        }
        y[i] = area ? (real)(sum / area) : 0;
    }
}

KERNEL psroi_backward(const stored* dy, const real* rois, stored* dx, Index count, int regions, int outputs, REGIONS) {
    GRID_LOOP(i, count) {
        int w = i % width, h = i / width % height, channel = i / width / height % channels;
        int n = i / width / height / channels, j = channel % bins_w, k = channel / bins_w % bins_h;
        int c = channel / bins_w / bins_h;
        real sum = 0;
        for (int r = 0; r < regions; ++r) {
            const real* roi = rois + (size_t)r * 5;
            if (item_of(roi, items) != n) continue;
            Bin rows = fraction_bin(k, roi[2], roi[4], bins_h, height, scale);
            Bin columns = fraction_bin(j, roi[1], roi[3], bins_w, width, scale);
            if (h < rows.first || h >= rows.last || w < columns.first || w >= columns.last) continue;
            size_t at = (((size_t)r * outputs + c) * bins_h + k) * bins_w + j;
            sum += dy[at] / ((rows.last - rows.first) * (columns.last - columns.first));
        }
        dx[i] = sum;
    }
}
