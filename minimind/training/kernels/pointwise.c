/* The parts of a training step that are neither matrix products nor attention, each in one pass over memory. */
#include "elements.h"

enum { PARTS = 32 }; /* gradients of norm weights: as many partial sums, whatever the number of threads */

/* ---- RMSNorm: y = x · rsqrt(mean(x²) + eps) · weight, rows of `size` ---- */

static inline float inverse_rms(const element *x, int64_t size, float eps) {
    float squares = 0;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < size; i++) squares += widen(x[i]) * widen(x[i]);
    return 1.0f / sqrtf(squares / (float)size + eps);
}

int rms_norm(const element *x, const element *weight, element *y, int64_t rows, int64_t size, float eps, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        const element *from = x + row * size;
        element *to = y + row * size;
        float scale = inverse_rms(from, size, eps);
#pragma omp simd
        for (int64_t i = 0; i < size; i++) to[i] = narrow(widen(from[i]) * scale * widen(weight[i]));
    }
    return 0;
}

/* dx of one row from dy in float32, and its share of the weight's gradient: with n = x · scale,
 * dx = scale · (weight · dy - n · mean(n · weight · dy)), dweight += n · dy. */
static inline void norm_row_gradient(
    const element *x, const element *weight, const float *dy, element *dx, float *dweight, int64_t size, float eps) {
    float scale = inverse_rms(x, size, eps), dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int64_t i = 0; i < size; i++) dot += widen(x[i]) * widen(weight[i]) * dy[i];
    float shared = dot * scale * scale / (float)size;
#pragma omp simd
    for (int64_t i = 0; i < size; i++) {
        float input = widen(x[i]);
        dweight[i] += input * scale * dy[i];
        dx[i] = narrow(scale * (widen(weight[i]) * dy[i] - input * shared));
    }
}

static void add_parts(const float *parts, element *total, int64_t size) {
    for (int64_t i = 0; i < size; i++) {
        float sum = 0;
        for (int part = 0; part < PARTS; part++) sum += parts[part * size + i];
        total[i] = narrow(sum);
    }
}

/* Returns 0, or -1 where there is no memory. */
int rms_norm_gradient(
    const element *x, const element *weight, const element *dy, element *dx, element *dweight, int64_t rows,
    int64_t size, float eps, int threads) {
    float *parts = calloc((size_t)(2 * PARTS * size), sizeof(float));
    if (!parts) return -1;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int part = 0; part < PARTS; part++) {
        float *wide = parts + (PARTS + part) * size;
        for (int64_t row = rows * part / PARTS; row < rows * (part + 1) / PARTS; row++) {
#pragma omp simd
            for (int64_t i = 0; i < size; i++) wide[i] = widen(dy[row * size + i]);
            norm_row_gradient(x + row * size, weight, wide, dx + row * size, parts + part * size, size, eps);
        }
    }
    add_parts(parts, dweight, size);
    free(parts);
    return 0;
}

/* ---- Rotary positions, after the norm on queries or keys where there is one (weight is not null) ----
 * x [tokens, heads, head]; cosine and sine [tokens, head/2] float32; component i turns with i + head/2. */

int rotate(
    const element *x, const element *weight, const float *cosine, const float *sine, element *y, int64_t tokens,
    int64_t heads, int64_t head, float eps, int threads) {
    int64_t half = head / 2;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t token = 0; token < tokens; token++) {
        const float *c = cosine + token * half, *s = sine + token * half;
        for (int64_t row = token * heads; row < (token + 1) * heads; row++) {
            const element *from = x + row * head;
            element *to = y + row * head;
            float scale = weight ? inverse_rms(from, head, eps) : 1.0f;
#pragma omp simd
            for (int64_t i = 0; i < half; i++) {
                float first = widen(from[i]) * scale, second = widen(from[i + half]) * scale;
                if (weight) first *= widen(weight[i]), second *= widen(weight[i + half]);
                to[i] = narrow(first * c[i] - second * s[i]);
                to[i + half] = narrow(second * c[i] + first * s[i]);
            }
        }
    }
    return 0;
}

int rotate_gradient(
    const element *x, const element *weight, const float *cosine, const float *sine, const element *dy, element *dx,
    element *dweight, int64_t tokens, int64_t heads, int64_t head, float eps, int threads) {
    int64_t half = head / 2;
    float *parts = calloc((size_t)(2 * PARTS * head), sizeof(float));
    if (!parts) return -1;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int part = 0; part < PARTS; part++) {
        float *turned = parts + (PARTS + part) * head;
        for (int64_t row = tokens * part / PARTS * heads; row < tokens * (part + 1) / PARTS * heads; row++) {
            const float *c = cosine + row / heads * half, *s = sine + row / heads * half;
            const element *from = dy + row * head;
#pragma omp simd
            for (int64_t i = 0; i < half; i++) {
                float first = widen(from[i]), second = widen(from[i + half]);
                turned[i] = first * c[i] + second * s[i];
                turned[i + half] = second * c[i] - first * s[i];
            }
            if (weight)
                norm_row_gradient(x + row * head, weight, turned, dx + row * head, parts + part * head, head, eps);
            else
#pragma omp simd
                for (int64_t i = 0; i < head; i++) dx[row * head + i] = narrow(turned[i]);
        }
    }
    if (weight) add_parts(parts, dweight, head);
    free(parts);
    return 0;
}

/* ---- SwiGLU: y = silu(gate) · up ---- */

int swiglu(const element *gate, const element *up, element *y, int64_t count, int threads) {
#pragma omp parallel for simd num_threads(threads) schedule(static)
    for (int64_t i = 0; i < count; i++) {
        float g = widen(gate[i]);
        y[i] = narrow(g / (1.0f + exponential(g > -80.0f ? -g : 80.0f)) * widen(up[i]));
    }
    return 0;
}

int swiglu_gradient(
    const element *gate, const element *up, const element *dy, element *dgate, element *dup, int64_t count, int threads) {
#pragma omp parallel for simd num_threads(threads) schedule(static)
    for (int64_t i = 0; i < count; i++) {
        float g = widen(gate[i]), d = widen(dy[i]);
        float sigmoid = 1.0f / (1.0f + exponential(g > -80.0f ? -g : 80.0f));
        dup[i] = narrow(d * g * sigmoid);
        dgate[i] = narrow(d * widen(up[i]) * sigmoid * (1.0f + g * (1.0f - sigmoid)));
    }
    return 0;
}

/* ---- Cross-entropy: scores [rows, vocabulary] become their own gradient, softmax - onehot ----
 * losses[row] = log Σ e^score - score[label]; 0, with a gradient of 0, where the label is negative. */

int cross_entropy(
    element *scores, const int64_t *labels, float *losses, int64_t rows, int64_t vocabulary, int gradient, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t row = 0; row < rows; row++) {
        element *score = scores + row * vocabulary;
        int64_t label = labels[row];
        losses[row] = 0;
        if (label < 0) {
            if (gradient) memset(score, 0, (size_t)vocabulary * sizeof(element));
            continue;
        }
        float largest = -INFINITY, sum = 0, right = widen(score[label]);
#pragma omp simd reduction(max : largest)
        for (int64_t i = 0; i < vocabulary; i++) largest = widen(score[i]) > largest ? widen(score[i]) : largest;
#pragma omp simd reduction(+ : sum)
        for (int64_t i = 0; i < vocabulary; i++) sum += exponential(widen(score[i]) - largest);
        losses[row] = largest + logf(sum) - right;
        if (!gradient) continue;
        float share = 1.0f / sum;
#pragma omp simd
        for (int64_t i = 0; i < vocabulary; i++) score[i] = narrow(exponential(widen(score[i]) - largest) * share);
        score[label] = narrow(exponential(right - largest) * share - 1.0f);
    }
    return 0;
}
