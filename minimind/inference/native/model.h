/* What a model is to the decoding step: the tables that Python fills in (minimind/inference/native/layout.py). */
#ifndef MODEL_H
#define MODEL_H
#include <stdint.h>

enum Format { FLOAT32, BFLOAT16, INT8, INT4, FLOAT16 };
enum Activation { SILU, GELU, RELU };

/* [rows, columns]. int8: a scale a row. int4: a bfloat16 scale a group; in each 64 bytes, the low halves are the first
 * 64 weights of a block and the high halves the other 64, both moved up by 8 to be positive. */
typedef struct {
    const void *values;
    const void *scales;
    int64_t stride; /* bytes from a row to the next */
    int32_t rows, columns, format, padding;
} Matrix;

typedef struct {
    Matrix gate, up, down;
} Expert;

typedef struct {
    Matrix query, key, value, output;
    const float *attention_norm, *feed_forward_norm, *query_norm, *key_norm; /* the last two may be NULL */
    Matrix router;         /* no rows where there is one feed-forward */
    const Expert *experts; /* those the router chooses from, then the shared ones */
} Layer;

typedef struct {
    int32_t hidden, layers, heads, groups, head, feed_forward, vocabulary, activation;
    int32_t routed, chosen, shared, normalise, cache_format, embedding_format;
    float epsilon, padding;
    const void *embedding;
    const float *cosine, *sine; /* [positions, head / 2] */
    const float *norm;
    Matrix output;
    const Layer *layer;
} Model;

/* A token to be read at `position`, and the cache [layers, 2, groups, capacity, head] that holds what is before it.
 * Items of one text follow each other in order of position and share its cache. */
typedef struct {
    void *cache;
    int64_t capacity;
    int32_t token, position;
} Item;

#endif
