/* Byte-level BPE in one pass: cut a text as GPT-2's pattern does, then join the bytes of each piece by the learnt merges.

   The pattern is  's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+  (Radford et al. 2019); a
   piece is joined by always applying its earliest learnt merge, the leftmost first (Sennrich et al. 2016, section 3.2).
   What a character is, a letter, a number, white space or none of them, stands in a table that the caller took from the
   tokenizer itself. Texts are valid UTF-8. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { OTHER, LETTER, NUMBER, SPACE };
enum { PLACE_BITS = 12, LONGEST_PIECE = 1 << PLACE_BITS, MOST_MERGES = (1 << 20) - 1 };
enum { KEPT_BYTES = 24, KEPT_IDS = 8, KEPT_PIECES = 1 << 14, LANES = 16, WAYS = 4 };
#define NO_MERGE UINT32_MAX

/* Four merges side by side, looked at without a branch; an empty place has rank NO_MERGE. A full one goes on in the
   next. */
typedef struct { uint64_t pairs[WAYS]; uint32_t ranks[WAYS]; } Bucket;
typedef struct { uint8_t bytes[KEPT_BYTES]; uint32_t ids[KEPT_IDS]; uint8_t size, count; } Kept;

typedef struct {
    const uint8_t *classes;   /* [0x110000] */
    const uint32_t *byte_ids; /* [256] */
    uint32_t *byte_ranks;     /* [256][256]: of the merge of two bytes */
    uint32_t *results;        /* of each merge, by rank */
    Bucket *buckets;
    uint64_t most;            /* number of the last bucket, 2^k - 1 */
    Kept *kept;               /* short pieces met before, [KEPT_PIECES] */
} Encoder;

static uint64_t scatter(uint64_t key) { key *= 0x9E3779B97F4A7C15u; return key ^ key >> 32; }

static uint64_t pair_of(uint32_t left, uint32_t right) { return (uint64_t)left << 32 | right; }

/* The rank of the merge of two ids; NO_MERGE where there is none. */
static inline uint32_t rank_of(const Encoder *encoder, uint32_t left, uint32_t right) {
    uint64_t pair = pair_of(left, right), at = scatter(pair);
    for (;; at++) {
        const Bucket *bucket = &encoder->buckets[at & encoder->most];
        uint32_t rank = NO_MERGE;
        for (int way = 0; way < WAYS; way++) rank = bucket->pairs[way] == pair ? bucket->ranks[way] : rank;
        if (rank != NO_MERGE || bucket->ranks[WAYS - 1] == NO_MERGE) return rank;
    }
}

static void put(Encoder *encoder, uint32_t left, uint32_t right, uint32_t rank) {
    uint64_t pair = pair_of(left, right);
    for (uint64_t at = scatter(pair);; at++) {
        Bucket *bucket = &encoder->buckets[at & encoder->most];
        for (int way = 0; way < WAYS; way++)
            if (bucket->ranks[way] == NO_MERGE || bucket->pairs[way] == pair) {
                bucket->pairs[way] = pair;
                bucket->ranks[way] = rank;
                return;
            }
    }
}

void encoder_free(Encoder *encoder) {
    if (!encoder) return;
    free(encoder->byte_ranks);
    free(encoder->results);
    free(encoder->buckets);
    free(encoder->kept);
    free(encoder);
}

/* `triples` is [count][3]: left, right and resulting id, in the order they were learnt. The tables must outlive it.
   NULL where there is no memory or there are more than MOST_MERGES. */
Encoder *encoder_new(const uint8_t *classes, const uint32_t *byte_ids, const uint32_t *triples, int64_t count) {
    Encoder *encoder = count < MOST_MERGES ? calloc(1, sizeof *encoder) : NULL;
    if (!encoder) return NULL;
    encoder->classes = classes;
    encoder->byte_ids = byte_ids;
    for (encoder->most = 255; encoder->most < (uint64_t)count;) encoder->most = 2 * encoder->most + 1;
    encoder->byte_ranks = malloc(256 * 256 * sizeof *encoder->byte_ranks);
    encoder->results = malloc((count + 1) * sizeof *encoder->results);
    encoder->buckets = malloc((encoder->most + 1) * sizeof *encoder->buckets);
    encoder->kept = calloc(KEPT_PIECES, sizeof *encoder->kept);
    if (!encoder->byte_ranks || !encoder->results || !encoder->buckets || !encoder->kept) {
        encoder_free(encoder);
        return NULL;
    }
    memset(encoder->buckets, 0xFF, (encoder->most + 1) * sizeof *encoder->buckets);
    for (int64_t rank = 0; rank < count; rank++) {
        const uint32_t *triple = triples + 3 * rank;
        put(encoder, triple[0], triple[1], (uint32_t)rank);
        encoder->results[rank] = triple[2];
    }
    for (int left = 0; left < 256; left++)
        for (int right = 0; right < 256; right++)
            encoder->byte_ranks[left << 8 | right] = rank_of(encoder, byte_ids[left], byte_ids[right]);
    return encoder;
}

/* Bytes of the character at `text`. */
static int64_t width(const uint8_t *text) { return *text < 0x80 ? 1 : *text < 0xE0 ? 2 : *text < 0xF0 ? 3 : 4; }

static int class_of(const Encoder *encoder, const uint8_t *text) {
    uint32_t code = *text;
    if (code >= 0xF0) code = (code & 7) << 18 | (text[1] & 63u) << 12 | (text[2] & 63u) << 6 | (text[3] & 63u);
    else if (code >= 0xE0) code = (code & 15) << 12 | (text[1] & 63u) << 6 | (text[2] & 63u);
    else if (code >= 0xC0) code = (code & 31) << 6 | (text[1] & 63u);
    return encoder->classes[code];
}

static int64_t contraction(const uint8_t *text, int64_t left) {
    if (left < 2) return 0;
    if (strchr("stmd", text[1]) && text[1]) return 2;
    if (left < 3) return 0;
    return !memcmp(text + 1, "re", 2) || !memcmp(text + 1, "ve", 2) || !memcmp(text + 1, "ll", 2) ? 3 : 0;
}

/* Bytes of the first piece of `text`, which has `left` bytes, at least one. */
static int64_t piece(const Encoder *encoder, const uint8_t *text, int64_t left) {
    int64_t end = 0, last = 0;
    if (*text == '\'' && (end = contraction(text, left))) return end;
    int kind = class_of(encoder, text);
    if (*text == ' ' && left > 1) {
        int next = class_of(encoder, text + 1);
        if (next != SPACE) { kind = next; end = 1; }
    }
    while (end < left && class_of(encoder, text + end) == kind) { last = end; end += width(text + end); }
    /* White space before a word leaves its last character to it. */
    return kind == SPACE && end < left && last > 0 ? last : end;
}

/* A merge and where it can be applied as one number, so that the smallest is the next to apply. */
static uint32_t key(uint32_t rank, uint32_t at) { return rank == NO_MERGE ? NO_MERGE : rank << PLACE_BITS | at; }

/* The smallest of `keys`, whose number is rounded up to a multiple of LANES. */
static uint32_t smallest(const uint32_t *keys, int32_t end) {
    uint32_t lanes[LANES];
    memcpy(lanes, keys, sizeof lanes);
    for (int32_t i = LANES; i < end; i += LANES)
        for (int lane = 0; lane < LANES; lane++) lanes[lane] = keys[i + lane] < lanes[lane] ? keys[i + lane] : lanes[lane];
    for (int half = LANES / 2; half; half /= 2)
        for (int lane = 0; lane < half; lane++) lanes[lane] = lanes[lane + half] < lanes[lane] ? lanes[lane + half] : lanes[lane];
    return lanes[0];
}

/* Ids of one piece of 2 to LONGEST_PIECE bytes into `ids`; returns how many. The symbols are a linked list in place. */
static int64_t join(Encoder *encoder, const uint8_t *text, int64_t size, uint32_t *ids) {
    uint32_t keys[LONGEST_PIECE];
    int16_t after[LONGEST_PIECE], before[LONGEST_PIECE];
    int32_t end = (int32_t)size;
    for (int32_t i = 0; i < end; i++) {
        ids[i] = encoder->byte_ids[text[i]];
        after[i] = (int16_t)(i + 1);
        before[i] = (int16_t)(i - 1);
    }
    for (int32_t i = 0; i + 1 < end; i++) keys[i] = key(encoder->byte_ranks[text[i] << 8 | text[i + 1]], i);
    for (int32_t i = end - 1; i % LANES || i < end; i++) keys[i] = NO_MERGE;
    for (;;) {
        uint32_t best = smallest(keys, end);
        if (best == NO_MERGE) break;
        int32_t at = best & (LONGEST_PIECE - 1), gone = after[at], next = after[gone], last = before[at];
        ids[at] = encoder->results[best >> PLACE_BITS];
        after[at] = (int16_t)next;
        keys[gone] = keys[at] = NO_MERGE;
        if (next < end) {
            before[next] = (int16_t)at;
            keys[at] = key(rank_of(encoder, ids[at], ids[next]), at);
        }
        if (last >= 0) keys[last] = key(rank_of(encoder, ids[last], ids[at]), last);
    }
    int64_t count = 0;
    for (int32_t i = 0; i < end; i = after[i]) ids[count++] = ids[i];
    return count;
}

static int64_t join_kept(Encoder *encoder, const uint8_t *text, int64_t size, uint32_t *ids) {
    uint8_t padded[KEPT_BYTES] = {0};
    uint64_t words[3];
    memcpy(padded, text, size);
    memcpy(words, padded, sizeof words);
    uint64_t hash = scatter(words[0] ^ scatter(words[1] ^ scatter(words[2] + size)));
    Kept *kept = &encoder->kept[hash >> 20 & (KEPT_PIECES - 1)];
    if (kept->size == size && !memcmp(kept->bytes, padded, sizeof padded)) {
        memcpy(ids, kept->ids, kept->count * sizeof *ids);
        return kept->count;
    }
    int64_t count = join(encoder, text, size, ids);
    if (count <= KEPT_IDS) {
        memcpy(kept->bytes, padded, sizeof padded);
        memcpy(kept->ids, ids, count * sizeof *ids);
        kept->size = size;
        kept->count = count;
    }
    return count;
}

/* Encode `count` texts that lie one after another in `text`; text i ends at `ends[i]`. `first` and `last` (negative:
   none) stand before and after each. Writes all ids to `ids`, which has room for as many as there are bytes and two a
   text, and how many each text has to `lengths`; -1 for a text with a piece beyond LONGEST_PIECE, whose ids are left
   out. Returns how many ids were written. Not for two threads at once. */
int64_t encoder_encode(Encoder *encoder, const uint8_t *text, const int64_t *ends, int64_t count, int64_t first,
                       int64_t last, uint32_t *ids, int64_t *lengths) {
    uint32_t *to = ids;
    int64_t at = 0;
    for (int64_t i = 0; i < count; at = ends[i++]) {
        uint32_t *began = to;
        if (first >= 0) *to++ = (uint32_t)first;
        while (at < ends[i]) {
            int64_t size = piece(encoder, text + at, ends[i] - at);
            if (size > LONGEST_PIECE) break;
            if (size == 1) *to++ = encoder->byte_ids[text[at]];
            else to += (size <= KEPT_BYTES ? join_kept : join)(encoder, text + at, size, to);
            at += size;
        }
        if (at < ends[i]) { to = began; lengths[i] = -1; continue; }
        if (last >= 0) *to++ = (uint32_t)last;
        lengths[i] = to - began;
    }
    return to - ids;
}
