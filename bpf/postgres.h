/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
 *
 * PostgreSQL 10 to 18, by functions that every build exports. A backend is a process with one thread.
 *
 *   EndCommand ── the statement with its text, tag, rows, xid, LSN: the one hook of a statement that succeeds
 *   PostgresMain, where it says PortalSuspended ── the same of a run that stopped at its row limit
 *   MarkPortalFailed ── the error that follows is of a statement that ran
 *   EmitErrorReport ─ pq_sendstring × 4 ── the error with its statement
 *   TransactionIdSetTreeStatus ── where the transaction ended in the WAL
 *   InitPostgres ── log-in, and its success    proc_exit ── the end
 *
 * A statement begins with its message (statement_timestamp()), a later one of the same message where the one before
 * ended. PortalRun is attached to only where that, or the place of PortalSuspended, is not found in the binary.
 */
#ifndef DBW_POSTGRES_H
#define DBW_POSTGRES_H
#include "common.h"

#define FETCH_ALL 0x7fffffffffffffffLL
enum { DEST_REMOTE = 2, DEST_REMOTE_EXECUTE = 3 };
enum { STATUS_COMMITTED = 1, STATUS_ABORTED = 2 };
enum { OPTION_SUSPENDED_RBP = 8 };

INLINE u64 global_value(struct thread *t, struct binary *b, u32 which) {
  u64 value = 0, at = b->global[which];
  if (at) read_user(&value, 8, (void *)(t->bias + at));
  return value;
}

/* Where the thread is: in the same message as before, or in a new one, whose statements are counted anew. */
INLINE void place_in_message(struct thread *t, struct binary *b) {
  u64 now = global_value(t, b, G_STATEMENT_TIME);
  if (now && now == t->message_us) return;
  t->message_us = now;
  t->index = 0;
  if (!t->open) t->started = 0;
}

/* After place_in_message(). */
INLINE void fields(struct pg_fields *f, u16 type, struct thread *t, struct binary *b, u32 cookie, u32 bytes) {
  head(&f->h, type, cookie, bytes);
  f->started = t->started;
  f->message_us = t->message_us;
  f->index = t->index;
  f->flags = t->parameters ? FLAG_PARAMETERS : 0;
  f->unused = 0;
  f->lsn = 0;
  u64 xid = global_value(t, b, G_XID);
  if (xid) f->lsn = global_value(t, b, G_LAST_RECORD);
  int ended = t->commit_xid && t->commit_message == t->message_us;
  f->xid = xid ? (u32)xid : ended ? t->commit_xid : 0;
  if (!f->lsn && ended) f->lsn = t->commit_lsn;
}

INLINE void completion(struct pg_fields *f, struct binary *b, u64 completion) {
  f->tag[0] = f->tag[1] = f->tag[2] = f->tag[3] = 0;
  if (!completion) return;
  if (b->major >= 13) read_user(f->tag, 16, (void *)completion);
  else read_user_str(f->tag, 32, (void *)completion);
}

/* One statement record with its text. `completed` is the QueryCompletion or tag, 0 where there is none. */
INLINE void statement(struct thread *t, struct binary *b, u32 cookie, u64 completed, u8 flags) {
  place_in_message(t, b);
  u64 sql = global_value(t, b, G_QUERY);
  char small[PG_SMALL_TEXT];
  long got = sql ? read_user_str(small, sizeof(small), (void *)sql) : 1;
  if (got <= 0) {
    got = 1;
    small[0] = 0;
    count(UNREADABLE, 1);
  }
  if (got < PG_SMALL_TEXT) {
    struct pg_small *e = RESERVE(struct pg_small);
    if (!e) return count(LOST_STATEMENTS, flags & FLAG_LIMITED ? 0 : 1);
    fields(&e->f, PG_STATEMENT, t, b, cookie, (u32)got - 1);
    e->f.flags |= flags;
    completion(&e->f, b, completed);
    __builtin_memcpy(e->text, small, sizeof(small));
    SUBMIT(e);
    return;
  }
  struct pg_large *e = RESERVE(struct pg_large);
  if (!e) return count(LOST_STATEMENTS, flags & FLAG_LIMITED ? 0 : 1);
  got = read_user_str(e->text, sizeof(e->text), (void *)sql);
  if (got <= 0) got = 1;
  int more = got == PG_LARGE_TEXT;
  fields(&e->f, PG_STATEMENT, t, b, cookie, (u32)got - 1);
  e->f.flags |= flags | (more ? FLAG_MORE_TEXT : 0);
  completion(&e->f, b, completed);
  SUBMIT(e);
  if (more) rest_of_string(sql, PG_LARGE_TEXT - 1, b->max_text, cookie);
}

INLINE void ended(struct thread *t) {
  t->started = ktime_ns();
  t->open = CLOSED;
  t->commit_xid = 0;
  t->commit_lsn = 0;
}

/* bool PortalRun(Portal portal, long count, bool isTopLevel, …) */
SEC("uprobe/pg") int pg_portal_run(struct pt_regs *ctx) {
  if (!(ARG3(ctx) & 0xff)) return 0;
  u32 cookie = cookie_of(ctx);
  struct thread *t = thread_of(cookie);
  struct binary *b = map_lookup(&binaries, &cookie);
  if (!t || !b) return 0;
  t->bias = ADDRESS(ctx) - b->entry[AT_PORTAL_RUN];
  t->started = ktime_ns();
  t->commit_xid = 0;
  t->commit_lsn = 0;
  t->open = OPEN;
  if ((s64)ARG2(ctx) == FETCH_ALL) return 0;
  /* It may end without EndCommand (PortalSuspended), and then its text is gone. */
  t->open = LIMITED;
  statement(t, b, cookie, 0, FLAG_LIMITED);
  return 0;
}

/* void EndCommand(const QueryCompletion *qc, CommandDest dest, …); before 13 the first is the tag */
SEC("uprobe/pg") int pg_end_command(struct pt_regs *ctx) {
  u32 destination = (u32)ARG2(ctx);
  if (destination != DEST_REMOTE && destination != DEST_REMOTE_EXECUTE) return 0;
  u32 cookie = cookie_of(ctx);
  struct thread *t = thread_of(cookie);
  struct binary *b = map_lookup(&binaries, &cookie);
  if (!t || !b) return 0;
  t->bias = ADDRESS(ctx) - b->entry[AT_END_COMMAND];
  statement(t, b, cookie, ARG1(ctx), 0);
  t->index++;
  ended(t);
  return 0;
}

/* In PostgresMain: pq_putemptymessage('s'), the run stopped at its row limit. Its QueryCompletion is in the frame. */
SEC("uprobe/pg") int pg_suspended(struct pt_regs *ctx) {
  u32 cookie = cookie_of(ctx);
  struct thread *t = thread_of(cookie);
  struct binary *b = map_lookup(&binaries, &cookie);
  if (!t || !b) return 0;
  t->bias = ADDRESS(ctx) - b->entry[AT_SUSPENDED];
  /* Both are loaded: the verifier wants a constant place in the context. */
  u64 frame = ctx->rsp, pointer = ctx->rbp;
  barrier_var(frame);
  barrier_var(pointer);
  if (b->options & OPTION_SUSPENDED_RBP) frame = pointer;
  u32 displacement = b->offset[O_SUSPENDED];
  statement(t, b, cookie, displacement == ABSENT ? 0 : frame + (s64)(s32)displacement, FLAG_SUSPENDED);
  ended(t);
  return 0;
}

/* void MarkPortalFailed(Portal portal) */
SEC("uprobe/pg") int pg_portal_failed(struct pt_regs *ctx) {
  u32 cookie = cookie_of(ctx);
  struct thread *t = thread_of(cookie);
  struct binary *b = map_lookup(&binaries, &cookie);
  if (!t || !b) return 0;
  t->bias = ADDRESS(ctx) - b->entry[AT_PORTAL_FAILED];
  t->failed_message = global_value(t, b, G_STATEMENT_TIME);
  return 0;
}

/* void EmitErrorReport(void) */
SEC("uprobe/pg") int pg_error_report(struct pt_regs *ctx) {
  struct thread *t = thread_of(cookie_of(ctx));
  if (t) t->error_string = 1;
  return 0;
}

INLINE void error_record(struct thread *t, struct binary *b, u32 cookie, u64 message) {
  /* Parallel workers report theirs to their leader, which reports it to the client. */
  if (!global_value(t, b, G_PORT)) return;
  place_in_message(t, b);
  u64 sql = global_value(t, b, G_QUERY);
  struct pg_error *e = RESERVE(struct pg_error);
  if (!e) {
    if (sql) count(LOST_STATEMENTS, 1);
    else count(LOST_OTHERS, 1);
    return;
  }
  fields(&e->f, PG_ERROR, t, b, cookie, 0);
  int running = t->open || (t->message_us && t->failed_message == t->message_us);
  e->f.flags |= FLAG_ERROR | (sql ? FLAG_MORE_TEXT : 0) | (running ? FLAG_RUNNING : 0);
  e->f.tag[0] = t->login;
  e->f.tag[1] = e->f.tag[2] = e->f.tag[3] = 0;
  __builtin_memcpy(e->severity, t->severity, 8);
  __builtin_memcpy(e->sqlstate, t->sqlstate, 8);
  if (read_user_str(e->message, sizeof(e->message), (void *)message) < 0) e->message[0] = 0;
  SUBMIT(e);
  t->open = CLOSED;
  if (sql) rest_of_string(sql, 0, b->max_text, cookie);
}

/* void pq_sendstring(StringInfo buf, const char *str): in an error report severity, the same untranslated, SQLSTATE, message */
SEC("uprobe/pg") int pg_send_string(struct pt_regs *ctx) {
  u32 cookie = cookie_of(ctx);
  struct thread *t = known_thread(cookie);
  if (!t || !t->error_string) return 0;
  void *string = (void *)ARG2(ctx);
  u8 nth = t->error_string++;
  if (nth == 2) read_user_str(t->severity, sizeof(t->severity), string);
  else if (nth == 3) read_user_str(t->sqlstate, sizeof(t->sqlstate), string);
  else if (nth == 4) {
    struct binary *b = map_lookup(&binaries, &cookie);
    t->error_string = 0;
    char level = t->severity[0];
    if (!b || (level != 'E' && level != 'F' && level != 'P')) return 0;
    t->bias = ADDRESS(ctx) - b->entry[AT_SENDSTRING];
    error_record(t, b, cookie, (u64)string);
  }
  return 0;
}

/* void TransactionIdSetTreeStatus(TransactionId xid, int n, TransactionId *children, XidStatus status, XLogRecPtr lsn) */
SEC("uprobe/pg") int pg_tree_status(struct pt_regs *ctx) {
  u32 xid = (u32)ARG1(ctx), status = (u32)ARG4(ctx);
  if (status != STATUS_COMMITTED && status != STATUS_ABORTED) return 0;
  u32 cookie = cookie_of(ctx);
  struct thread *t = thread_of(cookie);
  struct binary *b = map_lookup(&binaries, &cookie);
  if (!t || !b) return 0;
  t->bias = ADDRESS(ctx) - b->entry[AT_TREE_STATUS];
  /* Another than the thread's own: a subtransaction that is rolled back. None: COMMIT PREPARED. */
  u64 own = global_value(t, b, G_XID);
  if (own && (u32)own != xid) return 0;
  /* Whoever has written nothing replays what others did: recovery. */
  u64 lsn = global_value(t, b, G_LAST_RECORD);
  if (!lsn && b->global[G_LAST_RECORD]) return 0;
  t->commit_xid = xid;
  t->commit_lsn = lsn;
  t->commit_message = global_value(t, b, G_STATEMENT_TIME);
  struct pg_transaction *e = RESERVE(struct pg_transaction);
  if (!e) { count(LOST_OTHERS, 1); return 0; }
  head(&e->h, PG_TRANSACTION, cookie, 0);
  e->xid = xid;
  e->lsn = lsn;
  e->time_us = own ? global_value(t, b, G_STOP_TIME) : 0;
  e->committed = status == STATUS_COMMITTED;
  SUBMIT(e);
  return 0;
}

/* void InitPostgres(const char *in_dbname, Oid dboid, const char *username, …): a new backend, before authentication */
SEC("uprobe/pg") int pg_init(struct pt_regs *ctx) {
  u32 cookie = cookie_of(ctx);
  u64 id = current_pid_tgid();
  u32 tid = (u32)id;
  if (!ARG3(ctx)) return 0;
  struct thread *t = map_lookup(&threads, &tid);
  /* A second attachment to the same code comes within the same breath; an older state is of a former process. */
  if (t && t->owner != cookie && ktime_ns() - t->started < 1000000) return 0;
  struct binary *b = map_lookup(&binaries, &cookie);
  struct thread fresh = {};
  fresh.tgid = id >> 32;
  fresh.owner = cookie;
  fresh.started = ktime_ns();
  if (!b) return 0;
  fresh.bias = ADDRESS(ctx) - b->entry[AT_INIT];
  u64 port = 0;
  if (b->global[G_PORT]) read_user(&port, 8, (void *)(fresh.bias + b->global[G_PORT]));
  if (!port) return 0;
  fresh.login = 1;
  map_update(&threads, &tid, &fresh, MAP_ANY);
  struct pg_session *e = RESERVE(struct pg_session);
  if (!e) { count(LOST_OTHERS, 1); return 0; }
  head(&e->h, PG_SESSION, cookie, 0);
  /* Port: {sock, noblock, proto, SockAddr laddr @16, SockAddr raddr @152} */
  if (read_user(e->address, sizeof(e->address), (void *)(port + 152))) e->address[0] = e->address[1] = 0;
  if (read_user(e->server, sizeof(e->server), (void *)(port + 16))) e->server[0] = e->server[1] = 0;
  if (read_user_str(e->database, sizeof(e->database), (void *)ARG1(ctx)) < 0) e->database[0] = 0;
  if (read_user_str(e->user, sizeof(e->user), (void *)ARG3(ctx)) < 0) e->user[0] = 0;
  e->started_us = 0;
  e->postmaster = e->unused = 0;
  if (b->global[G_POSTMASTER]) read_user(&e->postmaster, 4, (void *)(fresh.bias + b->global[G_POSTMASTER]));
  if (b->global[G_STARTED]) read_user(&e->started_us, 8, (void *)(fresh.bias + b->global[G_STARTED]));
  SUBMIT(e);
  return 0;
}

SEC("uretprobe/pg") int pg_init_end(struct pt_regs *ctx) {
  u32 cookie = cookie_of(ctx);
  struct thread *t = known_thread(cookie);
  struct binary *b = map_lookup(&binaries, &cookie);
  if (!t || !b || !t->login) return 0;
  t->login = 0;
  struct pg_name *e = RESERVE(struct pg_name);
  if (!e) { count(LOST_OTHERS, 1); return 0; }
  head(&e->h, PG_READY, cookie, 0);
  u64 name = global_value(t, b, G_APPLICATION);
  if (!name || read_user_str(e->name, sizeof(e->name), (void *)name) < 0) e->name[0] = 0;
  SUBMIT(e);
  return 0;
}

/* void pgstat_report_appname(const char *appname) */
SEC("uprobe/pg") int pg_application(struct pt_regs *ctx) {
  u32 cookie = cookie_of(ctx);
  struct thread *t = thread_of(cookie);
  if (!t || t->login) return 0;
  struct pg_name *e = RESERVE(struct pg_name);
  if (!e) { count(LOST_OTHERS, 1); return 0; }
  head(&e->h, PG_APPLICATION, cookie, 0);
  if (read_user_str(e->name, sizeof(e->name), (void *)ARG1(ctx)) < 0) e->name[0] = 0;
  SUBMIT(e);
  return 0;
}

/* void proc_exit(int code) */
SEC("uprobe/pg") int pg_exit(struct pt_regs *ctx) {
  u32 cookie = cookie_of(ctx);
  u32 tid = (u32)current_pid_tgid();
  struct thread *t = thread_of(cookie);
  if (!t) return 0;
  struct pg_exit *e = RESERVE(struct pg_exit);
  if (e) {
    head(&e->h, PG_EXIT, cookie, 0);
    e->code = ARG1(ctx);
    SUBMIT(e);
  } else count(LOST_OTHERS, 1);
  map_delete(&threads, &tid);
  return 0;
}

struct param_external { u64 value; u8 isnull; u8 unused; u16 pflags; u32 type; };

/* void PortalStart(Portal portal, ParamListInfo params, int eflags, Snapshot snapshot) */
SEC("uprobe/pg") int pg_portal_start(struct pt_regs *ctx) {
  u32 cookie = cookie_of(ctx);
  struct thread *t = thread_of(cookie);
  struct binary *b = map_lookup(&binaries, &cookie);
  if (!t || !b) return 0;
  t->bias = ADDRESS(ctx) - b->entry[AT_PORTAL_START];
  /* Inside of another: a cursor of a function. */
  if (t->open == OPEN || global_value(t, b, G_ACTIVE_PORTAL)) return 0;
  t->parameters = 0;
  u64 list = ARG2(ctx);
  if (!list) return 0;
  u32 n = 0;
  if (read_user(&n, 4, (void *)(list + b->offset[O_PARAM_COUNT])) || !n) return 0;
  for (u32 i = 0; i < 64; i++) {
    if (i >= n) break;
    struct param_external p;
    if (read_user(&p, sizeof(p), (void *)(list + b->offset[O_PARAMS] + 16ull * i))) break;
    struct pg_parameter *e = RESERVE(struct pg_parameter);
    if (!e) { count(LOST_OTHERS, 1); break; }
    head(&e->h, PG_PARAMETER, cookie, 0);
    e->index = i;
    e->count = n;
    e->type = p.type;
    e->flags = p.isnull ? 1 : 0;
    e->value = p.value;
    if (!p.isnull && p.value > 0x10000 && p.value < (1ull << 47)) {
      if (!read_user(e->data, 256, (void *)p.value)) e->flags |= 2;
      else if (!read_user(e->data, 32, (void *)p.value)) e->flags |= 4;
    }
    SUBMIT(e);
    t->parameters = 1;
  }
  return 0;
}

#endif
