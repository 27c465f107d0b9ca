/* What the kernels of a training step have in common.
 *
 * Compiled at first use, once with BFLOAT16 defined and once without (see minimind/native.py): `element` is what tensors
 * hold; every sum is taken in float32. All arrays are contiguous, row after row. Work is shared out so that the order of
 * every sum is the same for any number of threads: a run can be repeated to the last bit.
 */
#pragma once
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef BFLOAT16
typedef uint16_t element;
static inline float widen(element x) {
    union { uint32_t bits; float value; } pun = {(uint32_t)x << 16};
    return pun.value;
}
/* To nearest, ties to even; a number that is none stays none. */
static inline element narrow(float x) {
    union { float value; uint32_t bits; } pun = {x};
    uint32_t rounded = (pun.bits + 0x7fff + ((pun.bits >> 16) & 1)) >> 16;
    return (element)(x != x ? 0x7fc0 : rounded);
}
#else
typedef float element;
static inline float widen(element x) { return x; }
static inline element narrow(float x) { return x; }
#endif

#ifdef __AVX512F__
enum { LANES = 16, QUERIES = 8 };
#elif defined(__AVX__)
enum { LANES = 8, QUERIES = 4 };
#else
enum { LANES = 4, QUERIES = 8 };
#endif
/* One vector register; QUERIES rows of scores are computed together, so that each key is loaded once for all of them. */
typedef float lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));
typedef int32_t integers __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));

static inline lanes load(const float *from) { return *(const lanes *)from; }
static inline void store(float *to, lanes what) { *(lanes *)to = what; }
static inline int64_t up_to(int64_t size, int64_t multiple) { return (size + multiple - 1) / multiple * multiple; }
static inline lanes choose(integers mask, lanes yes, lanes no) {
    return (lanes)((mask & (integers)yes) | (~mask & (integers)no));
}

/* e^x for x <= 88: 2^n · e^r with |r| <= ln(2)/2, e^r by its Taylor polynomial of degree 6 (relative error < 2e-7).
 * Adding 1.5 · 2^23 rounds to a whole number n and leaves it in the lowest bits. */
#define EXPONENTIAL(FLOATS, x) \
    FLOATS shifted = x * 1.44269504f + 12582912.0f, n = shifted - 12582912.0f; \
    FLOATS r = x - n * 0.693359375f + n * 2.12194440e-4f; \
    FLOATS y = 1.0f + r * (1.0f + r * (0.5f + r * (1.66666667e-1f + r * (4.16666667e-2f + r * (8.33333333e-3f + r * 1.38888889e-3f)))));

static inline lanes exponentials(lanes x) {
    lanes least = x - x - 87.0f;
    x = choose(x < least, least, x);
    EXPONENTIAL(lanes, x)
    return (lanes)((integers)y + ((integers)shifted << 23));
}

static inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : x;
    EXPONENTIAL(float, x)
    union { float value; int32_t bits; } one = {y}, power = {shifted};
    one.bits += (int32_t)((uint32_t)power.bits << 23);
    return one.value;
}

/* Sum and largest of a register, by halves: the same order always. */
static inline float sum_of(lanes x) {
    float part[LANES];
    store(part, x);
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) part[i] += part[i + half];
    return part[0];
}

static inline float largest_of(lanes x) {
    float part[LANES];
    store(part, x);
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++) part[i] = part[i + half] > part[i] ? part[i + half] : part[i];
    return part[0];
}
