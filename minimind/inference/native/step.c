/* One decoding step of a MiniMind model on a CPU: the next token of a few texts at once, most often of one.
 *
 * At batch 1 every weight is read once a token and used once, so the limit is how fast memory is read, not arithmetic.
 * What follows from that:
 *   - a matrix is read once for all items of a step, row by row; the row stays in the first-level cache between items;
 *   - weights are stored in as few bytes as their format has and widened in registers;
 *   - one parallel region a step; whatever is small (norms, quantised inputs, the router) every thread computes for
 *     itself, which is cheaper than waiting for another thread to share it;
 *   - threads take rows in chunks as they become free, so a core that another program wants delays nobody;
 *   - a waiting thread looks for some 50 microseconds and then sleeps, within a step and after it: quick where tokens
 *     follow each other at once, and no core is kept busy where they do not.
 * A product of a row and an item is always summed in the same order. So the result depends neither on the number of
 * threads nor on which other items are in the step. Not-a-numbers stay what they are: compile without -ffast-math.
 * Products are in products.h, threads in team.h. */
#include "products.h"
#include "team.h"

#define LONG_RUN 131072 /* bytes */

/* Rows to take at once: enough that memory is read in long runs, few enough that the threads end together. */
static int64_t chunk_of(const Team *team, const Matrix *matrix, int64_t rows) {
    int64_t bytes = rows * matrix->stride / (team->threads * 4);
    int64_t chunk = (bytes < LONG_RUN ? bytes : LONG_RUN) / (matrix->stride ? matrix->stride : 1);
    return chunk < 1 ? 1 : chunk;
}

/* --- the step ---------------------------------------------------------------------------------------------------- */

/* Buffers in the workspace. Those below `inputs` are each thread's own. `slots` is the feed-forwards of an item. */
typedef struct {
    float *stream, *query_key_value, *mixed, *gate, *up;
    float *normal, *scores, *weights;
    int32_t *choices;
    Input *inputs;
} Buffers;

static int64_t slots(const Model *model) { return model->routed ? model->chosen + model->shared : 1; }

static char *carve(char **next, int64_t bytes) {
    char *here = *next;
    *next += (bytes + 63) / 64 * 64;
    return here;
}

static int64_t largest(int64_t a, int64_t b, int64_t c) { return a > b ? (a > c ? a : c) : (b > c ? b : c); }

/* Divide the workspace; with `fill` 0 only its size is counted. Returns the end. */
static char *divide(const Model *model, int64_t count, int64_t positions, int threads, int thread, char *at, Buffers *to,
                    int fill) {
    int64_t rows = (model->heads + 2 * (int64_t)model->groups) * model->head, ways = slots(model);
    int64_t width = padded(largest(model->hidden, model->heads * (int64_t)model->head, model->feed_forward));
    to->stream = (float *)carve(&at, count * model->hidden * 4);
    to->query_key_value = (float *)carve(&at, count * rows * 4);
    to->mixed = (float *)carve(&at, count * model->heads * model->head * 4);
    to->gate = (float *)carve(&at, count * ways * model->feed_forward * 4);
    to->up = (float *)carve(&at, count * ways * model->feed_forward * 4);
    for (int other = 0; other < threads; other++) {
        Buffers mine = *to;
        mine.normal = (float *)carve(&at, count * model->hidden * 4);
        mine.scores = (float *)carve(&at, (largest(positions, model->routed, 0) + LANES) * 4);
        mine.weights = (float *)carve(&at, count * ways * 4);
        mine.choices = (int32_t *)carve(&at, count * ways * 4);
        mine.inputs = (Input *)carve(&at, count * ways * (int64_t)sizeof(Input));
        for (int64_t i = 0; i < count * ways; i++) {
            int8_t *bytes = (int8_t *)carve(&at, width);
            float *scales = (float *)carve(&at, width);
            int32_t *offsets = (int32_t *)carve(&at, width);
            if (fill && other == thread) mine.inputs[i] = (Input){NULL, bytes, scales, offsets};
        }
        if (fill && other == thread) *to = mine;
    }
    return at;
}

/* Make `count` vectors ready for a matrix: they lie one after the other. */
static void prepare(Input *inputs, const float *from, int64_t count, int64_t columns, int format) {
    for (int64_t i = 0; i < count; i++) {
        inputs[i].floats = from + i * columns;
        if (format == INT8 || format == INT4) quantise(&inputs[i], columns, format);
    }
}

static void embed(const Model *model, const Item *items, int count, float *stream) {
    for (int i = 0; i < count; i++) {
        int64_t start = (int64_t)items[i].token * model->hidden;
        for (int64_t j = 0; j < model->hidden; j++)
            stream[(int64_t)i * model->hidden + j] = model->embedding_format == FLOAT32
                                                         ? ((const float *)model->embedding)[start + j]
                                                         : widen(((const uint16_t *)model->embedding)[start + j]);
    }
}

/* Turn pairs that stand half a head apart by the position's angles. */
static void rotate(const Model *model, float *vector, int position) {
    int half = model->head / 2;
    const float *cosine = model->cosine + (int64_t)position * half, *sine = model->sine + (int64_t)position * half;
    for (int i = 0; i < half; i++) {
        float first = vector[i], second = vector[i + half];
        vector[i] = first * cosine[i] - second * sine[i];
        vector[i + half] = second * cosine[i] + first * sine[i];
    }
}

/* Where the keys (`which` 0) or values (1) of a layer's group begin in an item's cache. */
static char *cached(const Model *model, const Item *item, int64_t layer, int which, int64_t group) {
    int64_t size = model->cache_format == FLOAT32 ? 4 : 2;
    return (char *)item->cache + ((layer * 2 + which) * model->groups + group) * item->capacity * model->head * size;
}

/* Norm and turn the new key of one group, and put key and value into the cache. */
static void remember(const Model *model, int layer, const Item *item, float *key, const float *value, int group) {
    const float *weight = model->layer[layer].key_norm;
    if (weight) normalise(key, weight, model->epsilon, model->head, key);
    rotate(model, key, item->position);
    for (int which = 0; which < 2; which++) {
        const float *from = which ? value : key;
        char *place = cached(model, item, layer, which, group);
        int64_t start = (int64_t)item->position * model->head;
        for (int i = 0; i < model->head; i++)
            if (model->cache_format == FLOAT32)
                ((float *)place)[start + i] = from[i];
            else
                ((uint16_t *)place)[start + i] = narrow(from[i]);
    }
}

/* softmax over `count` scores, in place; the room behind them up to a full vector is overwritten. */
static void softmax(float *scores, int64_t count) {
    float top = -INFINITY, total = 0;
    for (int64_t i = 0; i < count; i++) top = scores[i] > top ? scores[i] : top;
    for (int64_t i = 0; i < count; i += LANES) {
        Floats powers = exponential(load_floats(scores + i) - top);
        memcpy(scores + i, &powers, sizeof powers);
    }
    for (int64_t i = 0; i < count; i++) total += scores[i];
    for (int64_t i = 0; i < count; i++) scores[i] /= total;
}

/* One query head of one item looks at its own position and everything before it. */
static void attend(const Model *model, int layer, const Item *item, float *query, int head, float *scores, float *mixed) {
    int size = model->head, group = head / (model->heads / model->groups);
    int64_t length = (int64_t)item->position + 1;
    if (model->layer[layer].query_norm) normalise(query, model->layer[layer].query_norm, model->epsilon, size, query);
    rotate(model, query, item->position);
    float scale = 1.0f / sqrtf((float)size);
    const char *keys = cached(model, item, layer, 0, group), *values = cached(model, item, layer, 1, group);
    for (int64_t i = 0; i < length; i++)
        scores[i] = scale * (model->cache_format == FLOAT32 ? dot_float32((const float *)keys + i * size, query, size)
                                                            : dot_bfloat16((const uint16_t *)keys + i * size, query, size));
    softmax(scores, length);
    memset(mixed, 0, (size_t)size * 4);
    for (int64_t i = 0; i < length; i++) {
        if (model->cache_format == FLOAT32)
            for (int j = 0; j < size; j++) mixed[j] += scores[i] * ((const float *)values)[i * size + j];
        else
            for (int j = 0; j < size; j++) mixed[j] += scores[i] * widen(((const uint16_t *)values)[i * size + j]);
    }
}

static void attention(Team *team, Buffers *at, int layer, int loop) {
    const Model *model = team->model;
    const Layer *here = &model->layer[layer];
    int count = team->count, size = model->head;
    int64_t queries = (int64_t)model->heads * size, keys = (int64_t)model->groups * size, rows = queries + 2 * keys;
    for (int i = 0; i < count; i++)
        normalise(at->stream + (int64_t)i * model->hidden, here->attention_norm, model->epsilon, model->hidden,
                  at->normal + (int64_t)i * model->hidden);
    prepare(at->inputs, at->normal, count, model->hidden, here->query.format);
    for (Span span; take(team, loop, rows, chunk_of(team, &here->query, rows), &span);)
        for (int64_t row = span.start; row < span.end; row++) {
            const Matrix *matrix = row < queries ? &here->query : row < queries + keys ? &here->key : &here->value;
            int64_t inside = row < queries ? row : row < queries + keys ? row - queries : row - queries - keys;
            for (int i = 0; i < count; i++) at->query_key_value[i * rows + row] = dot(matrix, inside, &at->inputs[i]);
        }
    barrier(team);
    for (Span span; take(team, loop + 1, (int64_t)count * model->groups, 1, &span);)
        for (int64_t one = span.start; one < span.end; one++) {
            int64_t i = one / model->groups, group = one % model->groups;
            float *key = at->query_key_value + i * rows + queries + group * size;
            remember(model, layer, &team->items[i], key, key + keys, (int)group);
        }
    barrier(team);
    for (Span span; take(team, loop + 2, (int64_t)count * model->heads, 1, &span);)
        for (int64_t one = span.start; one < span.end; one++) {
            int64_t i = one / model->heads, head = one % model->heads;
            attend(model, layer, &team->items[i], at->query_key_value + i * rows + head * size, (int)head, at->scores,
                   at->mixed + i * queries + head * size);
        }
    barrier(team);
    prepare(at->inputs, at->mixed, count, queries, here->output.format);
    for (Span span; take(team, loop + 3, model->hidden, chunk_of(team, &here->output, model->hidden), &span);)
        for (int64_t row = span.start; row < span.end; row++)
            for (int i = 0; i < count; i++)
                at->stream[(int64_t)i * model->hidden + row] += dot(&here->output, row, &at->inputs[i]);
    barrier(team);
}

/* Which experts work on an item, and with what weight: as moe.MixtureOfExperts. */
static void choose(const Model *model, const Layer *layer, const Input *input, float *scores, int32_t *choices,
                   float *weights) {
    float total = 0;
    for (int expert = 0; expert < model->routed; expert++) scores[expert] = dot(&layer->router, expert, input);
    softmax(scores, model->routed);
    for (int rank = 0; rank < model->chosen; rank++) {
        int best = -1;
        for (int expert = 0; expert < model->routed; expert++) {
            int taken = 0;
            for (int earlier = 0; earlier < rank; earlier++) taken |= choices[earlier] == expert;
            if (!taken && (best < 0 || scores[expert] > scores[best])) best = expert;
        }
        choices[rank] = best;
        weights[rank] = scores[best];
        total += scores[best];
    }
    for (int rank = 0; rank < model->chosen && model->normalise; rank++) weights[rank] /= total;
    for (int rank = 0; rank < model->shared; rank++) {
        choices[model->chosen + rank] = model->routed + rank;
        weights[model->chosen + rank] = 1;
    }
}

static void feed_forward(Team *team, Buffers *at, int layer, int loop) {
    const Model *model = team->model;
    const Layer *here = &model->layer[layer];
    int64_t count = team->count, ways = slots(model), wide = model->feed_forward, uses = count * ways;
    for (int64_t i = 0; i < count; i++)
        normalise(at->stream + i * model->hidden, here->feed_forward_norm, model->epsilon, model->hidden,
                  at->normal + i * model->hidden);
    prepare(at->inputs, at->normal, count, model->hidden, here->experts->gate.format);
    for (int64_t i = 0; i < uses; i++) at->choices[i] = 0, at->weights[i] = 1;
    for (int64_t i = 0; i < count && model->routed; i++)
        choose(model, here, &at->inputs[i], at->scores, at->choices + i * ways, at->weights + i * ways);
    for (Span span; take(team, loop + 4, wide, chunk_of(team, &here->experts->gate, wide), &span);) {
        for (int64_t row = span.start; row < span.end; row++)
            for (int64_t use = 0; use < uses; use++) {
                const Expert *expert = &here->experts[at->choices[use]];
                at->gate[use * wide + row] = dot(&expert->gate, row, &at->inputs[use / ways]);
                at->up[use * wide + row] = dot(&expert->up, row, &at->inputs[use / ways]);
            }
        for (int64_t use = 0; use < uses; use++)
            activate(model->activation, at->gate + use * wide + span.start, at->up + use * wide + span.start,
                     span.end - span.start);
    }
    barrier(team);
    prepare(at->inputs, at->gate, uses, wide, here->experts->down.format);
    for (Span span; take(team, loop + 5, model->hidden, chunk_of(team, &here->experts->down, model->hidden), &span);)
        for (int64_t row = span.start; row < span.end; row++)
            for (int64_t use = 0; use < uses; use++)
                at->stream[use / ways * model->hidden + row] +=
                    at->weights[use] * dot(&here->experts[at->choices[use]].down, row, &at->inputs[use]);
    barrier(team);
}

static void step(Team *team, int thread) {
    const Model *model = team->model;
    int count = team->count;
    Buffers at = {0};
    divide(model, count, team->positions, team->threads, thread, team->workspace, &at, 1);
    for (int layer = 0; layer < model->layers; layer++) {
        attention(team, &at, layer, layer * 6);
        feed_forward(team, &at, layer, layer * 6);
    }
    for (int i = 0; i < count; i++)
        normalise(at.stream + (int64_t)i * model->hidden, model->norm, model->epsilon, model->hidden,
                  at.normal + (int64_t)i * model->hidden);
    prepare(at.inputs, at.normal, count, model->hidden, model->output.format);
    int64_t rows = model->vocabulary;
    for (Span span; take(team, model->layers * 6, rows, chunk_of(team, &model->output, rows), &span);)
        for (int64_t row = span.start; row < span.end; row++)
            for (int i = 0; i < count; i++)
                team->logits[(int64_t)i * model->vocabulary + row] = dot(&model->output, row, &at.inputs[i]);
    barrier(team);
}

static void *serve(void *argument) {
    Member *member = argument;
    Team *team = member->team;
    unsigned done = 0;
    for (;;) {
        for (int look = 0; look < LOOKS && atomic_load(&team->steps) == done; look++) relax();
        pthread_mutex_lock(&team->mutex);
        while (atomic_load(&team->steps) == done && !team->quit) pthread_cond_wait(&team->changed, &team->mutex);
        done = atomic_load(&team->steps);
        int quit = team->quit;
        pthread_mutex_unlock(&team->mutex);
        if (quit) return NULL;
        step(team, member->index);
    }
}

/* --- what Python calls ------------------------------------------------------------------------------------------- */

void team_free(Team *team) {
    pthread_mutex_lock(&team->mutex);
    team->quit = 1;
    pthread_cond_broadcast(&team->changed);
    pthread_mutex_unlock(&team->mutex);
    for (int i = 1; i < team->threads; i++) pthread_join(team->handles[i], NULL);
    pthread_cond_destroy(&team->changed);
    pthread_mutex_destroy(&team->mutex);
    free(team->handles);
    free(team->members);
    free(team->counters);
    free(team);
}

/* A team of `threads` for models of `layers`, of fewer where the system gives fewer; NULL where it gives no memory. */
Team *team_new(int threads, int layers) {
    Team *team = calloc(1, sizeof *team);
    if (!team) return NULL;
    team->counter_count = layers * 6 + 1;
    team->handles = calloc((size_t)threads, sizeof *team->handles);
    team->members = calloc((size_t)threads, sizeof *team->members);
    team->counters = calloc((size_t)team->counter_count, sizeof *team->counters);
    pthread_mutex_init(&team->mutex, NULL);
    pthread_cond_init(&team->changed, NULL);
    team->threads = 1;
    if (!team->handles || !team->members || !team->counters) {
        team_free(team);
        return NULL;
    }
    for (int i = 1; i < threads; i++) {
        team->members[i] = (Member){team, i};
        if (pthread_create(&team->handles[i], NULL, serve, &team->members[i])) break;
        team->threads = i + 1;
    }
    return team;
}

/* Bytes of workspace for `count` items at positions below `positions`. */
int64_t workspace_size(const Team *team, const Model *model, int count, int64_t positions) {
    Buffers unused = {0};
    return divide(model, count, positions, team->threads, 0, NULL, &unused, 0) - (char *)NULL;
}

/* Read `count` items at positions below `positions`; their keys and values go into their caches, their logits
 * [count, vocabulary] into `logits`. */
void decode_step(Team *team, const Model *model, const Item *items, int count, int64_t positions, char *workspace,
                 float *logits) {
    team->model = model;
    team->items = items;
    team->count = count;
    team->positions = positions;
    team->workspace = workspace;
    team->logits = logits;
    for (int i = 0; i < team->counter_count; i++) atomic_store(&team->counters[i], 0);
    embed(model, items, count, (float *)workspace); /* where `divide` puts the stream */
    pthread_mutex_lock(&team->mutex);
    atomic_fetch_add(&team->steps, 1);
    pthread_cond_broadcast(&team->changed);
    pthread_mutex_unlock(&team->mutex);
    step(team, 0);
}
