/* Causal attention within documents.
 *
 * queries [batch, time, heads, head], keys and values [batch, time, groups, head]; `documents` [batch, time] numbers the
 * document of each position. A document is an unbroken run of one number; a position sees itself and what came before in
 * its document, and work is done only there: no mask, no scores of other documents, none of the future.
 * One piece of work is one document of one key/value group. Its scores never leave the cache: they are computed
 * for QUERIES queries at a time, and anew in the backward pass (Dao et al. 2022, "FlashAttention", section 3.1).
 */
#include "elements.h"

/* out[i][j] = q[i] · kt[:, j] for QUERIES rows i; `keys` is a multiple of 2 · LANES, kt [head, stride]. */
static inline void products(const float *q, const float *kt, float *out, int64_t keys, int64_t head, int64_t stride) {
    for (int64_t j = 0; j < keys; j += 2 * LANES) {
        lanes left[QUERIES] = {0}, right[QUERIES] = {0};
        for (int64_t c = 0; c < head; c++) {
            lanes first = load(kt + c * stride + j), second = load(kt + c * stride + j + LANES);
#pragma GCC unroll 8
            for (int i = 0; i < QUERIES; i++) left[i] += first * q[i * head + c], right[i] += second * q[i * head + c];
        }
#pragma GCC unroll 8
        for (int i = 0; i < QUERIES; i++) store(out + i * stride + j, left[i]), store(out + i * stride + j + LANES, right[i]);
    }
}

/* out[i] = Σ_j p[i][j] · v[j] for QUERIES rows i; head is a multiple of LANES. */
static inline void averages(const float *p, const float *v, float *out, int64_t keys, int64_t head, int64_t stride) {
    for (int64_t c = 0; c < head; c += LANES) {
        lanes sum[QUERIES] = {0};
        for (int64_t j = 0; j < keys; j++) {
            lanes value = load(v + j * head + c);
#pragma GCC unroll 8
            for (int i = 0; i < QUERIES; i++) sum[i] += value * p[i * stride + j];
        }
#pragma GCC unroll 8
        for (int i = 0; i < QUERIES; i++) store(out + i * head + c, sum[i]);
    }
}

/* total[j] += Σ_i p[i][j] · x[i] over QUERIES rows i. */
static inline void spread(const float *p, const float *x, float *total, int64_t keys, int64_t head, int64_t stride) {
    for (int64_t c = 0; c < head; c += LANES) {
        lanes row[QUERIES];
#pragma GCC unroll 8
        for (int i = 0; i < QUERIES; i++) row[i] = load(x + i * head + c);
        for (int64_t j = 0; j < keys; j++) {
            lanes sum = load(total + j * head + c);
#pragma GCC unroll 8
            for (int i = 0; i < QUERIES; i++) sum += row[i] * p[i * stride + j];
            store(total + j * head + c, sum);
        }
    }
}

static inline lanes counting(int64_t from) {
    lanes numbers;
    for (int i = 0; i < LANES; i++) numbers[i] = (float)(from + i);
    return numbers;
}

/* The first `seen` of a row of scores become e^(score - largest), the others up to `span` 0; returns the largest. */
static inline float soften(float *row, int64_t seen, int64_t span, float *sum) {
    lanes zero = {0}, lowest = zero - INFINITY, largest = lowest, total = zero, end = zero + (float)seen;
    lanes number = counting(0);
    for (int64_t j = 0; j < span; j += LANES, number += (float)LANES) {
        lanes score = choose(number < end, load(row + j), lowest);
        largest = choose(score > largest, score, largest);
    }
    float top = largest_of(largest);
    number = counting(0);
    for (int64_t j = 0; j < span; j += LANES, number += (float)LANES) {
        lanes weight = choose(number < end, exponentials(load(row + j) - top), zero);
        store(row + j, weight);
        total += weight;
    }
    *sum = sum_of(total);
    return top;
}

/* The way back: scores become weights e^(score - log_sum), and dscores weight · (dscore - delta); 0 from `seen` on. */
static inline void soften_gradient(float *row, float *drow, int64_t seen, int64_t span, float log_sum, float delta) {
    lanes zero = {0}, end = zero + (float)seen, number = counting(0);
    for (int64_t j = 0; j < span; j += LANES, number += (float)LANES) {
        lanes weight = choose(number < end, exponentials(load(row + j) - log_sum), zero);
        store(row + j, weight);
        store(drow + j, choose(number < end, weight * (load(drow + j) - delta), zero));
    }
}

/* A document: positions start … start + length - 1 of the flattened batch. */
typedef struct { int64_t start, length; } document;

/* Finds the documents; the caller frees them. Null where there is no memory. */
static document *find_documents(const int64_t *numbers, int64_t batch, int64_t time, int64_t *count, int64_t *longest) {
    document *found = malloc((size_t)(batch * time + 1) * sizeof(document));
    *count = *longest = 0;
    if (!found) return 0;
    for (int64_t at = 0; at < batch * time; at++) {
        if (at % time == 0 || numbers[at] != numbers[at - 1]) found[(*count)++] = (document){at, 0};
        document *last = &found[*count - 1];
        last->length++;
        if (last->length > *longest) *longest = last->length;
    }
    return found;
}

static inline void take_row(const element *from, float factor, float *to, int64_t head) {
#pragma omp simd
    for (int64_t c = 0; c < head; c++) to[c] = widen(from[c]) * factor;
}

static inline void put_row(const float *from, float factor, element *to, int64_t head) {
#pragma omp simd
    for (int64_t c = 0; c < head; c++) to[c] = narrow(from[c] * factor);
}

/* A document's rows, `step` elements apart, as wide [length, padded]. */
static void gather(const element *from, int64_t length, int64_t step, int64_t head, int64_t padded, float *wide) {
    for (int64_t j = 0; j < length; j++) take_row(from + j * step, 1.0f, wide + j * padded, head);
}

/* The same turned round: [head, stride]. */
static void gather_turned(const element *from, int64_t length, int64_t step, int64_t head, int64_t stride, float *turned) {
    for (int64_t j = 0; j < length; j++)
        for (int64_t c = 0; c < head; c++) turned[c * stride + j] = widen(from[j * step + c]);
}

/* QUERIES rows from `first` on, times `factor`, zeros after the last one of the document. */
static inline void gather_rows(
    const element *from, int64_t first, int64_t length, int64_t step, int64_t head, int64_t padded, float factor, float *rows) {
    memset(rows, 0, (size_t)(QUERIES * padded) * sizeof(float));
    for (int64_t i = 0; i < QUERIES && first + i < length; i++)
        take_row(from + (first + i) * step, factor, rows + i * padded, head);
}

typedef struct {
    const element *queries, *keys, *values;
    int64_t heads, groups, head, padded, stride;
    float scale;
} problem;

/* Floats of scratch for a document of `stride` positions. */
static size_t scratch_size(const problem *p, int wide, int rows, int blocks) {
    return (size_t)(wide * p->stride * p->padded + rows * QUERIES * p->padded + blocks * QUERIES * p->stride);
}

/* One document of one group, forwards. `log_sums` [positions, heads] are log Σ e^score, for the way back. */
static void attend_document(const problem *p, document at, int64_t group, float *scratch, element *out, float *log_sums) {
    int64_t many = p->heads / p->groups, key_step = p->groups * p->head, step = p->heads * p->head;
    float *turned = scratch, *values = turned + p->stride * p->padded, *q = values + p->stride * p->padded;
    float *mixed = q + QUERIES * p->padded, *scores = mixed + QUERIES * p->padded;
    int64_t offset = at.start * key_step + group * p->head;
    gather_turned(p->keys + offset, at.length, key_step, p->head, p->stride, turned);
    gather(p->values + offset, at.length, key_step, p->head, p->padded, values);
    for (int64_t h = group * many; h < (group + 1) * many; h++)
        for (int64_t first = 0; first < at.length; first += QUERIES) {
            int64_t keys = first + QUERIES < at.length ? first + QUERIES : at.length, span = up_to(keys, LANES);
            gather_rows(p->queries + at.start * step + h * p->head, first, at.length, step, p->head, p->padded, p->scale, q);
            products(q, turned, scores, up_to(keys, 2 * LANES), p->padded, p->stride);
            float sums[QUERIES];
            for (int64_t i = 0; i < QUERIES; i++) {
                int64_t seen = first + i + 1 < keys ? first + i + 1 : keys;
                float sum, largest = soften(scores + i * p->stride, seen, span, &sum);
                sums[i] = sum;
                if (first + i < at.length) log_sums[(at.start + first + i) * p->heads + h] = largest + logf(sum);
            }
            averages(scores, values, mixed, keys, p->padded, p->stride);
            for (int64_t i = 0; i < QUERIES && first + i < at.length; i++)
                put_row(mixed + i * p->padded, 1.0f / sums[i], out + (at.start + first + i) * step + h * p->head, p->head);
        }
}

/* Returns 0, or -1 where there is no memory. */
int attend(
    const element *queries, const element *keys, const element *values, const int64_t *documents, element *out,
    float *log_sums, int64_t batch, int64_t time, int64_t heads, int64_t groups, int64_t head, int threads) {
    int64_t count, longest;
    document *found = find_documents(documents, batch, time, &count, &longest);
    if (!found) return -1;
    problem p = {queries, keys, values, heads, groups, head, up_to(head, LANES), up_to(longest, 2 * LANES) + LANES, 1.0f / sqrtf((float)head)};
    int failed = 0;
#pragma omp parallel num_threads(threads)
    {
        float *scratch = calloc(scratch_size(&p, 2, 2, 1), sizeof(float));
        if (!scratch) {
#pragma omp atomic write
            failed = -1;
        }
#pragma omp for schedule(dynamic)
        for (int64_t item = 0; item < count * groups; item++)
            if (scratch) attend_document(&p, found[item / groups], item % groups, scratch, out, log_sums);
        free(scratch);
    }
    free(found);
    return failed;
}

typedef struct {
    const element *out, *dout;
    const float *log_sums;
    element *dqueries, *dkeys, *dvalues;
} gradients;

/* One document of one group, backwards: with P = softmax(S), dV = Pᵀ dO, dS = P ⊙ (dO Vᵀ - rowsum(dO ⊙ O)),
 * dQ = dS K and dK = dSᵀ Q, both times the scale. */
static void attend_document_gradient(const problem *p, const gradients *g, document at, int64_t group, float *scratch) {
    int64_t many = p->heads / p->groups, key_step = p->groups * p->head, step = p->heads * p->head;
    size_t plane = (size_t)(p->stride * p->padded), block = (size_t)(QUERIES * p->padded);
    float *keys_turned = scratch, *values_turned = scratch + plane, *keys_wide = scratch + 2 * plane;
    float *dkeys = scratch + 3 * plane, *dvalues = scratch + 4 * plane, *q = scratch + 5 * plane, *d = q + block;
    float *dq = d + block, *weights = dq + block, *dscores = weights + QUERIES * p->stride;
    int64_t offset = at.start * key_step + group * p->head;
    gather(p->keys + offset, at.length, key_step, p->head, p->padded, keys_wide);
    gather_turned(p->keys + offset, at.length, key_step, p->head, p->stride, keys_turned);
    gather_turned(p->values + offset, at.length, key_step, p->head, p->stride, values_turned);
    memset(dkeys, 0, (size_t)(at.length * p->padded) * sizeof(float));
    memset(dvalues, 0, (size_t)(at.length * p->padded) * sizeof(float));
    for (int64_t h = group * many; h < (group + 1) * many; h++)
        for (int64_t first = 0; first < at.length; first += QUERIES) {
            int64_t keys = first + QUERIES < at.length ? first + QUERIES : at.length, span = up_to(keys, LANES);
            int64_t here = at.start * step + h * p->head;
            gather_rows(p->queries + here, first, at.length, step, p->head, p->padded, p->scale, q);
            gather_rows(g->dout + here, first, at.length, step, p->head, p->padded, 1.0f, d);
            products(q, keys_turned, weights, up_to(keys, 2 * LANES), p->padded, p->stride);
            products(d, values_turned, dscores, up_to(keys, 2 * LANES), p->padded, p->stride);
            for (int64_t i = 0; i < QUERIES; i++) {
                int64_t seen = first + i < at.length ? first + i + 1 : 0;
                int64_t position = at.start + (seen ? first + i : first);
                const element *o = g->out + position * step + h * p->head;
                float delta = 0;
#pragma omp simd reduction(+ : delta)
                for (int64_t c = 0; c < p->head; c++) delta += d[i * p->padded + c] * widen(o[c]);
                soften_gradient(
                    weights + i * p->stride, dscores + i * p->stride, seen, span, g->log_sums[position * p->heads + h], delta);
            }
            averages(dscores, keys_wide, dq, keys, p->padded, p->stride);
            spread(dscores, q, dkeys, keys, p->padded, p->stride);
            spread(weights, d, dvalues, keys, p->padded, p->stride);
            for (int64_t i = 0; i < QUERIES && first + i < at.length; i++)
                put_row(dq + i * p->padded, p->scale, g->dqueries + here + (first + i) * step, p->head);
        }
    for (int64_t j = 0; j < at.length; j++) {
        put_row(dkeys + j * p->padded, 1.0f, g->dkeys + offset + j * key_step, p->head);
        put_row(dvalues + j * p->padded, 1.0f, g->dvalues + offset + j * key_step, p->head);
    }
}

/* Returns 0, or -1 where there is no memory. */
int attend_gradient(
    const element *queries, const element *keys, const element *values, const int64_t *documents, const element *out,
    const float *log_sums, const element *dout, element *dqueries, element *dkeys, element *dvalues, int64_t batch,
    int64_t time, int64_t heads, int64_t groups, int64_t head, int threads) {
    int64_t count, longest;
    document *found = find_documents(documents, batch, time, &count, &longest);
    if (!found) return -1;
    problem p = {queries, keys, values, heads, groups, head, up_to(head, LANES), up_to(longest, 2 * LANES) + LANES, 1.0f / sqrtf((float)head)};
    gradients g = {out, dout, log_sums, dqueries, dkeys, dvalues};
    int failed = 0;
#pragma omp parallel num_threads(threads)
    {
        float *scratch = calloc(scratch_size(&p, 5, 3, 2), sizeof(float));
        if (!scratch) {
#pragma omp atomic write
            failed = -1;
        }
#pragma omp for schedule(dynamic)
        for (int64_t item = 0; item < count * groups; item++)
            if (scratch) attend_document_gradient(&p, &g, found[item / groups], item % groups, scratch);
        free(scratch);
    }
    free(found);
    return failed;
}
