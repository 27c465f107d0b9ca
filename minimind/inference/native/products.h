/* Arithmetic on vectors, and the product of a row of weights and a vector in each weight format.
 *
 * Written with the vector extension that GCC and Clang share; only the dot products of bytes have a variant for one
 * instruction set (AVX-512 VNNI), because C cannot name that instruction. */
#ifndef PRODUCTS_H
#define PRODUCTS_H
#include <math.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif
#include "model.h"

#define LANES 16
#define GROUP 32   /* neighbours in an input vector, and in a row of 4-bit weights, that share a scale */
#define BLOCK 128  /* rows of quantised weights are padded with zeros to a multiple of this */
#define AHEAD 6144 /* bytes from what is being read to what is asked for meanwhile: the processor alone asks too late */

typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef float FloatsAnywhere __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint16_t HalvesAnywhere __attribute__((vector_size(32), aligned(2), may_alias));

static inline Floats load_floats(const float *from) { return *(const FloatsAnywhere *)from; }

/* A bfloat16 is the upper half of a float32. */
static inline Floats load_halves(const uint16_t *from) {
    Words wide = __builtin_convertvector(*(const HalvesAnywhere *)from, Words) << 16;
    return (Floats)wide;
}

/* IEEE half precision. A number's bits moved to where float32 has them, times 2^112, is that number: exact, also for the
 * smallest ones. Infinities would become finite; Python leaves matrices with any in float32. */
static inline float widen_ieee(uint16_t half) {
    uint32_t word = (uint32_t)(half & 0x7fff) << 13, sign = (uint32_t)(half & 0x8000) << 16;
    float value;
    memcpy(&value, &word, 4);
    value *= 0x1p112f;
    memcpy(&word, &value, 4);
    word |= sign;
    memcpy(&value, &word, 4);
    return value;
}

static inline Floats load_ieee(const uint16_t *from) {
#ifdef __AVX512F__
    return (Floats)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from));
#else
    Words wide = __builtin_convertvector(*(const HalvesAnywhere *)from, Words);
    Floats size = (Floats)((wide & 0x7fff) << 13) * 0x1p112f;
    return (Floats)((Words)size | (wide & 0x8000) << 16);
#endif
}

static inline float widen(uint16_t half) {
    uint32_t word = (uint32_t)half << 16;
    float value;
    memcpy(&value, &word, 4);
    return value;
}

/* To the nearest bfloat16, ties to even; a not-a-number stays one. */
static inline uint16_t narrow(float value) {
    uint32_t word;
    memcpy(&word, &value, 4);
    if (value != value) return (uint16_t)(word >> 16 | 64);
    return (uint16_t)((word + 0x7fff + (word >> 16 & 1)) >> 16);
}

typedef float Eight __attribute__((vector_size(32)));
typedef float Four __attribute__((vector_size(16)));

/* By halves, so that additions do not wait for one another. */
static inline float sum(Floats lanes) {
    struct {
        Eight low, high;
    } halves;
    struct {
        Four low, high;
    } quarters;
    memcpy(&halves, &lanes, sizeof lanes);
    Eight eight = halves.low + halves.high;
    memcpy(&quarters, &eight, sizeof eight);
    Four four = quarters.low + quarters.high;
    return (four[0] + four[2]) + (four[1] + four[3]);
}

/* Ask for the `size` bytes that will be wanted a little after those at `from`. */
static inline __attribute__((always_inline)) void ahead(const void *from, int64_t size) {
    for (int64_t line = 0; line < size; line += 64) __builtin_prefetch((const char *)from + AHEAD + line, 0, 3);
}

/* Four sums side by side, because one would wait for each addition to end before the next. */
#define DOT(NAME, TYPE, LOAD, WIDEN)                                                                     \
    static float NAME(const TYPE *weights, const float *x, int64_t count) {                              \
        Floats a = {0}, b = {0}, c = {0}, d = {0};                                                       \
        int64_t i = 0;                                                                                   \
        for (; i + 4 * LANES <= count; i += 4 * LANES) {                                                 \
            ahead(weights + i, 4 * LANES * sizeof(TYPE));                                                \
            a += LOAD(weights + i) * load_floats(x + i);                                                 \
            b += LOAD(weights + i + LANES) * load_floats(x + i + LANES);                                 \
            c += LOAD(weights + i + 2 * LANES) * load_floats(x + i + 2 * LANES);                         \
            d += LOAD(weights + i + 3 * LANES) * load_floats(x + i + 3 * LANES);                         \
        }                                                                                                \
        for (; i + LANES <= count; i += LANES) a += LOAD(weights + i) * load_floats(x + i);              \
        float total = sum((a + b) + (c + d));                                                            \
        for (; i < count; i++) total += WIDEN(weights[i]) * x[i];                                        \
        return total;                                                                                    \
    }
DOT(dot_float32, float, load_floats, )
DOT(dot_bfloat16, uint16_t, load_halves, widen)
DOT(dot_float16, uint16_t, load_ieee, widen_ieee)

/* e^x to about 1e-7 of its value: 2^n times a polynomial of what is left (|r| ≤ ln(2)/2, Taylor to the 7th power). */
static inline Floats exponential(Floats x) {
    const Floats low = {-87, -87, -87, -87, -87, -87, -87, -87, -87, -87, -87, -87, -87, -87, -87, -87};
    Ints inside = (x < low) | (x > -low); /* a not-a-number is neither, and stays */
    Floats edge = (Floats)(((x < low) & (Ints)low) | ((x > -low) & (Ints)-low));
    x = (Floats)((~inside & (Ints)x) | (inside & (Ints)edge));
    Floats whole = (x * 1.44269504f + 12582912.0f) - 12582912.0f; /* adding 1.5 · 2^23 rounds to an integer */
    Floats rest = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
    Floats power = rest * (1.0f / 5040) + 1.0f / 720;
    power = power * rest + 1.0f / 120;
    power = power * rest + 1.0f / 24;
    power = power * rest + 1.0f / 6;
    power = power * rest + 0.5f;
    power = (power * rest + 1.0f) * rest + 1.0f;
    Ints exponent = __builtin_convertvector(whole, Ints);
    return power * (Floats)((exponent + 127) << 23);
}

/* gate := activation(gate) · up, for `count` numbers. */
static void activate(int kind, float *gate, const float *up, int64_t count) {
    for (int64_t i = 0; i < count; i += LANES) {
        int64_t width = count - i < LANES ? count - i : LANES;
        Floats x = {0}, other = {0};
        memcpy(&x, gate + i, width * 4);
        memcpy(&other, up + i, width * 4);
        if (kind == SILU)
            x = x / (1.0f + exponential(-x));
        else
            for (int lane = 0; lane < LANES; lane++)
                x[lane] = kind == RELU ? (x[lane] < 0 ? 0 : x[lane]) : 0.5f * x[lane] * (1 + erff(x[lane] * 0.70710678f));
        x *= other;
        memcpy(gate + i, &x, width * 4);
    }
}

/* y = x / √(mean(x²) + ε) · weight, as transformer.RMSNorm. */
static void normalise(const float *x, const float *weight, float epsilon, int64_t count, float *y) {
    float scale = 1.0f / sqrtf(dot_float32(x, x, count) / (float)count + epsilon);
    for (int64_t i = 0; i < count; i++) y[i] = x[i] * scale * weight[i];
}

/* --- products of a matrix and a vector ---------------------------------------------------------------------------- */

/* A vector as the dot products want it. For quantised weights: whole numbers from -127 to 127 with a scale a group,
 * padded to a block. The scales are repeated for every lane of 4 numbers, and `offsets` holds for each lane what the
 * weights' shift to positive numbers adds to its sum, negated: sums start from it, and are exact. */
typedef struct {
    const float *floats;
    int8_t *bytes;
    float *scales;
    int32_t *offsets;
} Input;

static int64_t padded(int64_t columns) { return (columns + BLOCK - 1) / BLOCK * BLOCK; }

static void quantise(const Input *input, int64_t columns, int format) {
    int32_t shift = format == INT8 ? 128 : 8;
    for (int64_t start = 0; start < padded(columns); start += GROUP) {
        float values[GROUP] = {0}, largest = 0, poison = 0;
        int64_t width = columns - start < GROUP ? columns - start : GROUP;
        if (width > 0) memcpy(values, input->floats + start, width * 4);
        for (int i = 0; i < GROUP; i++) {
            float size = fabsf(values[i]);
            largest = size > largest ? size : largest;
            poison += values[i] * 0.0f; /* 0, or not a number where a value is none: then no product may be one */
        }
        float inverse = largest > 0 ? 127.0f / largest : 0.0f;
        for (int i = 0; i < GROUP; i++) {
            float moved = values[i] * inverse + 12582912.0f;
            int32_t bits;
            memcpy(&bits, &moved, 4);
            input->bytes[start + i] = (int8_t)(bits - 0x4b400000);
        }
        for (int lane = 0; lane < GROUP / 4; lane++) {
            const int8_t *four = input->bytes + start + 4 * lane;
            input->offsets[start / 4 + lane] = -shift * (four[0] + four[1] + four[2] + four[3]);
            input->scales[start / 4 + lane] = largest / 127.0f + poison;
        }
    }
}

#ifdef __AVX512VNNI__
static inline __m512 partial(__m512 total, __m512i weights, const Input *x, int64_t i, __m512 scales) {
    __m512i dot = _mm512_dpbusd_epi32(_mm512_loadu_si512(x->offsets + i / 4), weights, _mm512_loadu_si512(x->bytes + i));
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), scales, total);
}

static float dot_int8(const int8_t *weights, const Input *x, int64_t count) {
    const __m512i shift = _mm512_set1_epi8((char)0x80);
    __m512 a = _mm512_setzero_ps(), b = a;
    for (int64_t i = 0; i < count; i += 128) {
        ahead(weights + i, 128);
        __m512i first = _mm512_xor_si512(_mm512_loadu_si512(weights + i), shift);
        __m512i second = _mm512_xor_si512(_mm512_loadu_si512(weights + i + 64), shift);
        a = partial(a, first, x, i, _mm512_loadu_ps(x->scales + i / 4));
        b = partial(b, second, x, i + 64, _mm512_loadu_ps(x->scales + i / 4 + 16));
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(a, b));
}

static float dot_int4(const uint8_t *weights, const uint16_t *scales, const Input *x, int64_t count) {
    const __m512i low = _mm512_set1_epi8(15);
    const __m512i early = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    const __m512i late = _mm512_add_epi32(early, _mm512_set1_epi32(2));
    __m512 a = _mm512_setzero_ps(), b = a;
    for (int64_t i = 0; i < count; i += BLOCK) {
        ahead(weights + i / 2, 64);
        __m512i both = _mm512_loadu_si512(weights + i / 2);
        __m128i four = _mm_slli_epi32(_mm_cvtepu16_epi32(_mm_loadl_epi64((const __m128i *)(scales + i / GROUP))), 16);
        __m512 wide = _mm512_castps128_ps512(_mm_castsi128_ps(four));
        __m512 first = _mm512_mul_ps(_mm512_permutexvar_ps(early, wide), _mm512_loadu_ps(x->scales + i / 4));
        __m512 second = _mm512_mul_ps(_mm512_permutexvar_ps(late, wide), _mm512_loadu_ps(x->scales + i / 4 + 16));
        a = partial(a, _mm512_and_si512(both, low), x, i, first);
        b = partial(b, _mm512_and_si512(_mm512_srli_epi16(both, 4), low), x, i + 64, second);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(a, b));
}
#else
static float dot_int8(const int8_t *weights, const Input *x, int64_t count) {
    float total = 0;
    for (int64_t i = 0; i < count; i += GROUP) {
        int32_t dot = 0;
        for (int j = 0; j < GROUP; j++) dot += (int32_t)weights[i + j] * x->bytes[i + j];
        total += (float)dot * x->scales[i / 4];
    }
    return total;
}

static float dot_int4(const uint8_t *weights, const uint16_t *scales, const Input *x, int64_t count) {
    float total = 0;
    for (int64_t i = 0; i < count; i += GROUP) {
        const uint8_t *bytes = weights + i / BLOCK * (BLOCK / 2) + i % (BLOCK / 2);
        int shift = i % BLOCK < BLOCK / 2 ? 0 : 4;
        int32_t dot = 0;
        for (int j = 0; j < GROUP; j++) dot += ((bytes[j] >> shift & 15) - 8) * (int32_t)x->bytes[i + j];
        total += (float)dot * widen(scales[i / GROUP]) * x->scales[i / 4];
    }
    return total;
}
#endif

static inline float dot(const Matrix *matrix, int64_t row, const Input *x) {
    const char *values = (const char *)matrix->values + row * matrix->stride;
    switch (matrix->format) {
    case FLOAT32:
        return dot_float32((const float *)values, x->floats, matrix->columns);
    case BFLOAT16:
        return dot_bfloat16((const uint16_t *)values, x->floats, matrix->columns);
    case FLOAT16:
        return dot_float16((const uint16_t *)values, x->floats, matrix->columns);
    case INT8:
        return dot_int8((const int8_t *)values, x, padded(matrix->columns)) * ((const float *)matrix->scales)[row];
    default: {
        int64_t width = padded(matrix->columns);
        const uint16_t *scales = (const uint16_t *)matrix->scales + row * (width / GROUP);
        return dot_int4((const uint8_t *)values, scales, x, width);
    }
    }
}

#endif
