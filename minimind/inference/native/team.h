/* A team of threads that works on one step at a time. */
#ifndef TEAM_H
#define TEAM_H
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "model.h"

#define LOOKS 4000 /* how often a thread looks whether the others have arrived before it sleeps */

typedef struct Team Team;
typedef struct {
    Team *team;
    int index;
} Member;

struct Team {
    int threads;
    pthread_t *handles;
    Member *members;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    atomic_uint phase, arrived, sleepers; /* of the barrier */
    atomic_uint steps;                    /* begun so far */
    int quit;                             /* guarded by the mutex */
    atomic_llong *counters; /* the next row to be taken, one for each parallel loop of a step */
    int counter_count;
    const Model *model;
    const Item *items;
    int count;
    int64_t positions;
    char *workspace;
    float *logits;
};

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

/* Wait for the whole team. The last to arrive changes the phase; sleepers are counted before they look at it for the
 * last time, so either they see the change or they are seen. */
static void barrier(Team *team) {
    unsigned phase = atomic_load(&team->phase);
    if ((int)atomic_fetch_add(&team->arrived, 1) == team->threads - 1) {
        atomic_store(&team->arrived, 0);
        atomic_fetch_add(&team->phase, 1);
        if (atomic_load(&team->sleepers)) {
            pthread_mutex_lock(&team->mutex);
            pthread_cond_broadcast(&team->changed);
            pthread_mutex_unlock(&team->mutex);
        }
        return;
    }
    for (int look = 0; look < LOOKS; look++) {
        if (atomic_load(&team->phase) != phase) return;
        relax();
    }
    pthread_mutex_lock(&team->mutex);
    atomic_fetch_add(&team->sleepers, 1);
    while (atomic_load(&team->phase) == phase) pthread_cond_wait(&team->changed, &team->mutex);
    atomic_fetch_sub(&team->sleepers, 1);
    pthread_mutex_unlock(&team->mutex);
}

typedef struct {
    int64_t start, end;
} Span;

/* The next rows of the loop `loop` that nobody has taken; 0 where there are none left. */
static int take(Team *team, int loop, int64_t total, int64_t chunk, Span *span) {
    if (team->threads == 1) chunk = total;
    span->start = atomic_fetch_add(&team->counters[loop], chunk);
    if (span->start >= total) return 0;
    span->end = span->start + chunk < total ? span->start + chunk : total;
    return 1;
}

#endif
