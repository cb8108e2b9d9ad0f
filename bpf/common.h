/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
 *
 * The thread's state, and texts of any length. A record that does not fit into the ring is counted, never waited for.
 */
#ifndef DBW_COMMON_H
#define DBW_COMMON_H
#include "records.h"

MAP(ring);      /* BPF_MAP_TYPE_RINGBUF */
MAP(threads);   /* BPF_MAP_TYPE_LRU_HASH: u32 tid → struct thread */
MAP(binaries);  /* BPF_MAP_TYPE_ARRAY: attach cookie → struct binary */
MAP(losses);    /* BPF_MAP_TYPE_ARRAY of one, BPF_F_MMAPABLE: struct counters */
MAP(sink);      /* BPF_MAP_TYPE_PERCPU_ARRAY of one: 32 KiB where bytes go that are only counted */

enum { CLOSED = 0, OPEN = 1, LIMITED = 2 };

struct thread {
  u64 started;
  u64 message_us;
  u64 bias;
  u64 commit_lsn;
  u64 commit_message; /* message_us of the statement whose transaction ended with commit_xid */
  u64 failed_message; /* the same of the last one whose portal failed */
  u32 commit_xid;
  u32 tgid;
  u32 owner;          /* cookie of the attachment whose handlers may touch this thread */
  u16 index;
  u8 open;
  u8 error_string;    /* strings of the error report so far; 0: none is under way */
  u8 parameters;
  u8 login;
  u8 depth;           /* stored programs under way */
  u8 statements;      /* of this packet, capped */
  u32 command;
  u32 error;
  char severity[8];
  char sqlstate[8];
  u32 unused;
  u64 thd;
  u64 connection;     /* whose session record was sent */
  u64 affected;
  u64 insert_id;
  u64 peer_port;
  u32 port;
  u32 result;
};
_Static_assert(sizeof(struct thread) == 144, "thread: THREAD_BYTES of src/witness/probe/object.ts; without holes");

INLINE void count(u32 what, u64 by) {
  u32 zero = 0;
  struct counters *c = map_lookup(&losses, &zero);
  if (c) __sync_fetch_and_add(&c->count[what], by);
}

INLINE u32 cookie_of(void *ctx) { return (u32)attach_cookie(ctx); }

/* The thread's state, made when it is not there; NULL when another attachment to the same code owns the thread. */
INLINE struct thread *thread_of(u32 cookie) {
  u64 id = current_pid_tgid();
  u32 tid = (u32)id, tgid = id >> 32;
  struct thread *t = map_lookup(&threads, &tid);
  if (t && t->tgid == tgid) return t->owner == cookie ? t : 0;
  struct thread fresh = {};
  fresh.tgid = tgid;
  fresh.owner = cookie;
  map_update(&threads, &tid, &fresh, MAP_ANY);
  return map_lookup(&threads, &tid);
}

/* The same, but never made. */
INLINE struct thread *known_thread(u32 cookie) {
  u64 id = current_pid_tgid();
  u32 tid = (u32)id;
  struct thread *t = map_lookup(&threads, &tid);
  return t && t->tgid == (u32)(id >> 32) && t->owner == cookie ? t : 0;
}

INLINE void head(struct header *h, u16 type, u32 cookie, u32 bytes) {
  u64 id = current_pid_tgid();
  h->type = type;
  h->binary = (u16)cookie;
  h->pid = id >> 32;
  h->tid = (u32)id;
  h->bytes = bytes;
  h->at = ktime_ns();
}

#define RESERVE(type) ((type *)ring_reserve(&ring, sizeof(type), 0))
#define SUBMIT(record) ring_submit(record, RING_NO_WAKEUP)

INLINE void text_end(u32 cookie, u64 total) {
  struct text_end *e = RESERVE(struct text_end);
  if (!e) return count(LOST_TEXTS, 1);
  head(&e->h, TEXT_END, cookie, 0);
  e->total = total;
  SUBMIT(e);
}

/* Counts what is left of a NUL-terminated text, up to 64 MiB further. */
INLINE u64 length_of_rest(u64 from) {
  u32 zero = 0;
  u64 n = 0;
  char *nowhere = map_lookup(&sink, &zero);
  if (!nowhere) return 0;
  for (int i = 0; i < 2048; i++) {
    long got = read_user_str(nowhere, 32768, (void *)(from + n));
    if (got <= 0) break;
    n += got - 1;
    if (got < 32768) break;
  }
  return n;
}

#define STRING_PIECE(TYPE) ({                                                                     \
  int more = -1;                                                                                  \
  TYPE *e = RESERVE(TYPE);                                                                        \
  if (e) {                                                                                        \
    long got = read_user_str(e->data, sizeof(e->data), (void *)(from + at));                      \
    if (got <= 0) { got = 1; count(UNREADABLE, 1); }                                              \
    u32 n = (u32)got - 1;                                                                         \
    more = n == sizeof(e->data) - 1;                                                              \
    head(&e->h, TEXT, cookie, n);                                                                 \
    e->offset = at;                                                                               \
    e->last = !more;                                                                              \
    SUBMIT(e);                                                                                    \
    at += n;                                                                                      \
  }                                                                                               \
  more; })

/* What is left of a NUL-terminated text behind `at` bytes that were sent, up to `max` in all; then its length. */
INLINE void rest_of_string(u64 from, u32 at, u32 max, u32 cookie) {
  int more = STRING_PIECE(struct text_small);
  for (int i = 0; i < 33; i++) {
    if (more <= 0 || at >= max) break;
    more = STRING_PIECE(struct text_large);
  }
  if (more == 0) return;
  if (more < 0) count(LOST_TEXTS, 1);
  text_end(cookie, at + length_of_rest(from + at));
}

#define BYTES_PIECE(TYPE, SIZE) ({                                                                \
  TYPE *e = RESERVE(TYPE);                                                                        \
  if (!e) return count(LOST_TEXTS, 1);                                                            \
  if (read_user(e->data, SIZE, (void *)(from + at))) count(UNREADABLE, 1);                        \
  head(&e->h, TEXT, cookie, SIZE);                                                                \
  e->offset = at;                                                                                 \
  e->last = at + (SIZE) >= length;                                                                \
  SUBMIT(e); })

/* What is left of a text of known length: whole pieces of 32 KiB (a constant, for the verifier), and the rest. */
INLINE void rest_of_bytes(u64 from, u32 at, u32 length, u32 cookie) {
  for (int i = 0; i < 33; i++) {
    if (length - at <= 32768) break;
    BYTES_PIECE(struct text_large, 32768);
    at += 32768;
  }
  u32 n = length - at;
  barrier_var(n);
  if (n <= 4096) BYTES_PIECE(struct text_small, n);
  else if (n <= 32768) BYTES_PIECE(struct text_large, n);
}

#endif
