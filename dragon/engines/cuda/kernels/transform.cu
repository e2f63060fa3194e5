// transform_param on the GPU: y = (x - mean) * scale from a window of each 8-bit image, mirrored or not.
#include "common.cuh"
#include "division.cuh"

// x (N, C, H, W) bytes, y (N, C, out_h, out_w), or (N, out_h, out_w, C) with channels_last. places (N, 3): mirror, first row and first column of each window.
// An image whose mirror is -1 is in y already. What a window has outside of its image is zero.
// mean_kind 0: none; 1: `mean` has means for each channel, or one for all (mean_channels); 2: an image (C, H, W).
KERNEL transform(const unsigned char* x, const int* places, const real* mean, stored* y, Index count, Divisor channels,
                 int height, int width, Divisor out_h, Divisor out_w, int mean_kind, int mean_channels, real scale,
                 int channels_last) {
    GRID_LOOP(i, count) {
        Index column, row, c, n;
        if (channels_last)
            n = divide(divide(divide(i, channels, c), out_w, column), out_h, row);
        else
            n = divide(divide(divide(i, out_w, column), out_h, row), channels, c);
        const int* place = places + n * 3;
        if (place[0] < 0) continue;
        int h = place[1] + (int)row, w = place[2] + (int)(place[0] ? out_w.value - 1 - column : column);
        if (h < 0 || h >= height || w < 0 || w >= width) {
            y[i] = real(0);
            continue;
        }
        size_t at = ((size_t)c * height + h) * width + w;
        real value = x[(size_t)n * channels.value * height * width + at];
        if (mean_kind == 1) value -= mean[mean_channels == 1 ? 0 : c];
        if (mean_kind == 2) value -= mean[at];
        y[i] = value * scale;
    }
}
