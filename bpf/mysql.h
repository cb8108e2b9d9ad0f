/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
 *
 * MySQL 5.6 to 9 and MariaDB 10.5 to 11. A connection has a thread while it runs something; a THD is its session.
 *
 *   dispatch_command ── start              net_send_ok, net_send_error ── affected rows, errno
 *     log_slow_statement ── one statement with its text and rows (once per statement of the packet)
 *   … returns ── the return value
 *   thd_init_client_charset ── what the client says of itself      acl_authenticate ── log-in, successful or not
 *   end_connection ── the end
 */
#ifndef DBW_MYSQL_H
#define DBW_MYSQL_H
#include "common.h"

/* Commands that run statements: each ends in log_slow_statement. */
enum { COM_QUERY = 3, COM_CHANGE_USER = 17, COM_STMT_PREPARE = 22, COM_STMT_EXECUTE = 23, COM_STMT_SEND_LONG_DATA = 24, COM_STMT_BULK_EXECUTE = 250 };
#define PAGE_BYTES 4096ull
enum { OPTION_PARAMETERS = 1, OPTION_TEXT_AT_ENTRY = 2, OPTION_SECURITY_INSIDE = 4 };

INLINE u64 field(u64 base, u32 offset) {
  u64 value = 0;
  if (base && offset != ABSENT) read_user(&value, 8, (void *)(base + offset));
  return value;
}

INLINE void string_field(char *to, u32 size, u64 base, u32 offset) {
  u64 at = field(base, offset);
  to[0] = 0;
  if (at && read_user_str(to, size, (void *)at) < 0) to[0] = 0;
}

/*
 * Other commands that are worth a record, made when they begin: init_db 2, field_list 4, create_db 5, drop_db 6, refresh 7,
 * shutdown 8, process_info 10, process_kill 12, binlog_dump 18, table_dump 19, register_slave 21, stmt_prepare 22,
 * binlog_dump_gtid 30, reset_connection 31.
 */
#define RECORDED_COMMANDS                                                                            \
  (1u << 2 | 1u << 4 | 1u << 5 | 1u << 6 | 1u << 7 | 1u << 8 | 1u << 10 | 1u << 12 | 1u << 18 |      \
   1u << 19 | 1u << 21 | 1u << 22 | 1u << 30 | 1u << 31)
enum { COM_INIT_DB = 2 };

INLINE int runs_statements(u32 command) {
  return command == COM_QUERY || command == COM_STMT_EXECUTE || command == COM_STMT_BULK_EXECUTE;
}

INLINE u64 security_of(struct binary *b, u64 thd) {
  if (b->options & OPTION_SECURITY_INSIDE) return thd + b->offset[O_SECURITY];
  return field(thd, b->offset[O_SECURITY]);
}

/* NET, mysql_com.h: {Vio *vio; uchar *buff, *buff_end, *write_pos, *read_pos; int fd; …} */
struct net { u64 vio, buff, buff_end, write_pos, read_pos; s32 fd; u32 unused; };

INLINE int net_of(struct net *net, struct binary *b, u64 thd) {
  if (b->offset[O_NET] == ABSENT || !thd) return 0;
  return !read_user(net, sizeof(*net), (void *)(thd + b->offset[O_NET])) && net->vio;
}

/* Who the connection is: once, and again after it changed. */
INLINE void session(struct thread *t, struct binary *b, u32 cookie, u64 thd, u64 connection) {
  struct my_session *e = RESERVE(struct my_session);
  if (!e) return count(LOST_OTHERS, 1);
  head(&e->h, MY_SESSION, cookie, 0);
  e->connection = connection;
  u64 security = security_of(b, thd);
  string_field(e->user, sizeof(e->user), security, b->offset[O_USER]);
  string_field(e->host, sizeof(e->host), security, b->offset[O_HOST]);
  string_field(e->ip, sizeof(e->ip), security, b->offset[O_IP]);
  struct net net = {};
  e->fd = net_of(&net, b, thd) ? net.fd : -1;
  e->unused = 0;
  SUBMIT(e);
  t->connection = connection;
}

INLINE void my_fill(struct my_fields *f, struct thread *t, struct binary *b, u32 cookie, u64 thd, u32 bytes, u32 total, u64 connection) {
  head(&f->h, MY_STATEMENT, cookie, bytes);
  f->started = t->started;
  f->connection = connection;
  f->query_id = field(thd, b->offset[O_QUERY_ID]);
  f->rows = field(thd, b->offset[O_ROWS]);
  f->affected = t->affected;
  f->insert_id = t->insert_id;
  f->total = total;
  f->command = t->command;
  f->error = t->error;
  f->index = t->statements;
  f->flags = (t->error ? FLAG_ERROR : 0) | (bytes < total ? FLAG_MORE_TEXT : 0);
  f->unused = 0;
  __builtin_memcpy(f->sqlstate, t->sqlstate, 8);
  string_field(f->database, sizeof(f->database), thd, b->offset[O_DATABASE]);
}

INLINE void my_statement(struct thread *t, struct binary *b, u32 cookie, u64 thd, u64 text, u32 total, u8 flags) {
  u64 connection = field(thd, b->offset[O_THREAD_ID]) & 0xffffffff;
  if (t->connection != connection + 1 || t->command == COM_CHANGE_USER) {
    session(t, b, cookie, thd, connection);
    if (t->connection == connection) t->connection = connection + 1;
  }
  u32 n = total;
  barrier_var(n);
  if (n <= MY_SMALL_TEXT) {
    struct my_small *e = RESERVE(struct my_small);
    if (!e) return count(LOST_STATEMENTS, 1);
    if (n && read_user(e->text, n, (void *)text)) count(UNREADABLE, 1);
    my_fill(&e->f, t, b, cookie, thd, n, total, connection);
    e->f.flags |= flags;
    SUBMIT(e);
    return;
  }
  if (n > MY_LARGE_TEXT) n = MY_LARGE_TEXT;
  struct my_large *e = RESERVE(struct my_large);
  if (!e) return count(LOST_STATEMENTS, 1);
  if (read_user(e->text, n, (void *)text)) count(UNREADABLE, 1);
  my_fill(&e->f, t, b, cookie, thd, n, total, connection);
  e->f.flags |= flags;
  SUBMIT(e);
  u32 max = b->max_text;
  if (total > n) rest_of_bytes(text, n, total < max ? total : max, cookie);
}

INLINE int dispatch(u32 cookie, u64 thd, u32 command, u64 packet, u32 length) {
  struct thread *t = thread_of(cookie);
  struct binary *b = map_lookup(&binaries, &cookie);
  if (!t || !b) return 0;
  t->started = ktime_ns();
  t->thd = thd;
  t->command = command;
  t->open = OPEN;
  t->depth = 0;
  t->statements = 0;
  t->error = 0;
  t->sqlstate[0] = 0;
  t->affected = 0;
  t->insert_id = 0;
  int begins = runs_statements(command) ? b->options & OPTION_TEXT_AT_ENTRY : command < 32 && RECORDED_COMMANDS >> command & 1;
  if (!begins) return 0;
  if (command != COM_QUERY && command != COM_STMT_PREPARE && command != COM_INIT_DB) length = 0;
  my_statement(t, b, cookie, thd, packet, length, FLAG_BEGINS);
  return 0;
}

#define PACKET(TYPE) ({                                                                           \
  TYPE *e = RESERVE(TYPE);                                                                        \
  if (!e) return count(LOST_OTHERS, 1);                                                           \
  if (n > sizeof(e->data)) n = sizeof(e->data);                                                   \
  if (n && read_user(e->data, n, (void *)packet)) { count(UNREADABLE, 1); n = 0; }                \
  head(&e->p.h, MY_PACKET, cookie, n);                                                            \
  e->p.connection = field(thd, b->offset[O_THREAD_ID]) & 0xffffffff;                              \
  e->p.command = command;                                                                         \
  e->p.total = length;                                                                            \
  SUBMIT(e); })

/* The values of a prepared execution, for servers that hand on the packet itself. */
INLINE void parameters(u32 cookie, u64 thd, u32 command, u64 packet, u32 length) {
  if (command != COM_STMT_EXECUTE && command != COM_STMT_SEND_LONG_DATA) return;
  struct binary *b = map_lookup(&binaries, &cookie);
  if (!b || !(b->options & OPTION_PARAMETERS) || !thread_of(cookie)) return;
  u32 n = length;
  barrier_var(n);
  if (n <= sizeof(((struct my_packet_small *)0)->data) || command == COM_STMT_SEND_LONG_DATA) PACKET(struct my_packet_small);
  else if (n <= sizeof(((struct my_packet_middle *)0)->data)) PACKET(struct my_packet_middle);
  else PACKET(struct my_packet_large);
}

/* dispatch_command(enum_server_command, THD *, char *packet, uint length[, …]): MySQL 5.6, MariaDB */
SEC("uprobe/my") int my_dispatch_packet(struct pt_regs *ctx) {
  parameters(cookie_of(ctx), ARG2(ctx), (u32)ARG1(ctx), ARG3(ctx), (u32)ARG4(ctx));
  return dispatch(cookie_of(ctx), ARG2(ctx), (u32)ARG1(ctx), ARG3(ctx), (u32)ARG4(ctx));
}

/* dispatch_command(THD *, const COM_DATA *, enum_server_command): MySQL 5.7 and later. COM_DATA: {text, u32 length} */
SEC("uprobe/my") int my_dispatch_data(struct pt_regs *ctx) {
  u64 data[2] = {};
  u32 command = (u32)ARG3(ctx);
  if (command == COM_QUERY || command == COM_STMT_PREPARE || command == COM_INIT_DB) read_user(data, 16, (void *)ARG2(ctx));
  return dispatch(cookie_of(ctx), ARG1(ctx), command, data[0], (u32)data[1]);
}

SEC("uretprobe/my") int my_dispatch_end(struct pt_regs *ctx) {
  u32 cookie = cookie_of(ctx);
  struct thread *t = known_thread(cookie);
  if (!t || !t->open) return 0;
  t->open = CLOSED;
  struct my_return *e = RESERVE(struct my_return);
  if (!e) { count(LOST_OTHERS, 1); return 0; }
  head(&e->h, MY_RETURN, cookie, t->statements);
  e->result = (s32)RESULT(ctx);
  e->command = t->command;
  e->affected = t->affected;
  e->insert_id = t->insert_id;
  e->error = t->error;
  e->unused = 0;
  __builtin_memcpy(e->sqlstate, t->sqlstate, 8);
  SUBMIT(e);
  return 0;
}

/* void log_slow_statement(THD *): after each statement of the packet, and in stored programs, which are not ours */
SEC("uprobe/my") int my_statement_end(struct pt_regs *ctx) {
  u32 cookie = cookie_of(ctx);
  struct thread *t = known_thread(cookie);
  struct binary *b = map_lookup(&binaries, &cookie);
  if (!t || !b || !t->open || t->depth || (b->options & OPTION_TEXT_AT_ENTRY)) return 0;
  u64 thd = ARG1(ctx), text[2] = {};
  if (thd != t->thd) return 0;
  if (!runs_statements(t->command)) return 0;
  read_user(text, 16, (void *)(thd + b->offset[O_QUERY]));
  my_statement(t, b, cookie, thd, text[0], text[0] ? (u32)text[1] : 0, 0);
  if (t->statements < 255) t->statements++;
  t->started = ktime_ns();
  t->error = 0;
  t->sqlstate[0] = 0;
  t->affected = 0;
  t->insert_id = 0;
  return 0;
}

INLINE int ok(void *ctx, u64 affected, u64 insert_id) {
  struct thread *t = known_thread(cookie_of(ctx));
  if (!t || !t->open) return 0;
  t->affected = affected;
  t->insert_id = insert_id;
  return 0;
}
/* (Protocol *this, THD *, status, warnings, affected, insert id, message, …): MariaDB */
SEC("uprobe/my") int my_ok_protocol(struct pt_regs *ctx) { return ok(ctx, ARG5(ctx), ARG6(ctx)); }
/* (THD * or this, status, warnings, affected, insert id, message): MySQL */
SEC("uprobe/my") int my_ok(struct pt_regs *ctx) { return ok(ctx, ARG4(ctx), ARG5(ctx)); }

INLINE int failed(void *ctx, u32 error, u64 message, u64 sqlstate) {
  u32 cookie = cookie_of(ctx);
  struct thread *t = known_thread(cookie);
  if (!t || !t->open) return 0;
  t->error = error;
  t->sqlstate[0] = 0;
  if (sqlstate) read_user_str(t->sqlstate, sizeof(t->sqlstate), (void *)sqlstate);
  struct my_message *e = RESERVE(struct my_message);
  if (!e) { count(LOST_OTHERS, 1); return 0; }
  head(&e->h, MY_MESSAGE, cookie, 0);
  if (read_user_str(e->message, sizeof(e->message), (void *)message) < 0) e->message[0] = 0;
  SUBMIT(e);
  return 0;
}
/* (Protocol *this, THD *, errno, message, sqlstate): MariaDB */
SEC("uprobe/my") int my_error_protocol(struct pt_regs *ctx) { return failed(ctx, (u32)ARG3(ctx), ARG4(ctx), ARG5(ctx)); }
/* (THD * or this, errno, message, sqlstate): MySQL */
SEC("uprobe/my") int my_error(struct pt_regs *ctx) { return failed(ctx, (u32)ARG2(ctx), ARG3(ctx), ARG4(ctx)); }

/* bool sp_head::execute(THD *, bool): a stored program */
SEC("uprobe/my") int my_program(struct pt_regs *ctx) {
  struct thread *t = known_thread(cookie_of(ctx));
  if (t && t->open && t->depth < 255) t->depth++;
  return 0;
}
SEC("uretprobe/my") int my_program_end(struct pt_regs *ctx) {
  struct thread *t = known_thread(cookie_of(ctx));
  if (t && t->depth) t->depth--;
  return 0;
}

/* void thd_set_peer_addr(THD *, sockaddr_storage *, const char *ip, uint port, …): MariaDB */
SEC("uprobe/my") int my_peer_set(struct pt_regs *ctx) {
  struct thread *t = thread_of(cookie_of(ctx));
  if (t) t->port = (u32)ARG4(ctx);
  return 0;
}
/* bool vio_peer_addr(Vio *, char *ip, uint16 *port, size_t): MySQL */
SEC("uprobe/my") int my_peer(struct pt_regs *ctx) {
  struct thread *t = thread_of(cookie_of(ctx));
  if (t) t->peer_port = ARG3(ctx);
  return 0;
}
SEC("uretprobe/my") int my_peer_end(struct pt_regs *ctx) {
  struct thread *t = known_thread(cookie_of(ctx));
  u16 port = 0;
  if (!t || !t->peer_port) return 0;
  read_user(&port, 2, (void *)t->peer_port);
  t->port = port;
  t->peer_port = 0;
  return 0;
}

/* bool thd_init_client_charset(THD *, uint): the packet of a log-in or of COM_CHANGE_USER is in the buffer */
SEC("uprobe/my") int my_handshake(struct pt_regs *ctx) {
  u32 cookie = cookie_of(ctx);
  struct thread *t = thread_of(cookie);
  struct binary *b = map_lookup(&binaries, &cookie);
  struct net net = {};
  if (!t || !b || !net_of(&net, b, ARG1(ctx))) return 0;
  if (net.read_pos < net.buff || net.read_pos >= net.buff_end) return 0;
  u64 n = net.buff_end - net.read_pos;
  if (n > sizeof(((struct my_handshake *)0)->data)) n = sizeof(((struct my_handshake *)0)->data);
  struct my_handshake *e = RESERVE(struct my_handshake);
  if (!e) { count(LOST_OTHERS, 1); return 0; }
  barrier_var(n);
  if (n > sizeof(e->data)) n = sizeof(e->data);
  if (read_user(e->data, n, (void *)net.read_pos)) {
    /* The buffer was not used further than this page yet: nor does the packet go further. */
    n = PAGE_BYTES - (net.read_pos & (PAGE_BYTES - 1));
    barrier_var(n);
    if (n > sizeof(e->data)) n = sizeof(e->data);
    if (read_user(e->data, n, (void *)net.read_pos)) { count(UNREADABLE, 1); n = 0; }
  }
  head(&e->h, MY_HANDSHAKE, cookie, n);
  e->change_user = t->open && t->command == COM_CHANGE_USER;
  e->unused = 0;
  SUBMIT(e);
  return 0;
}

/* acl_authenticate(THD *, …): also for COM_CHANGE_USER */
SEC("uprobe/my") int my_login(struct pt_regs *ctx) {
  struct thread *t = thread_of(cookie_of(ctx));
  if (t) t->thd = ARG1(ctx);
  return 0;
}
SEC("uretprobe/my") int my_login_end(struct pt_regs *ctx) {
  u32 cookie = cookie_of(ctx);
  struct thread *t = known_thread(cookie);
  struct binary *b = map_lookup(&binaries, &cookie);
  if (!t || !b) return 0;
  struct my_login *e = RESERVE(struct my_login);
  if (!e) { count(LOST_OTHERS, 1); return 0; }
  head(&e->h, MY_LOGIN, cookie, 0);
  e->connection = field(t->thd, b->offset[O_THREAD_ID]) & 0xffffffff;
  e->result = (u32)RESULT(ctx) & 0xff;
  e->port = t->port;
  u64 security = security_of(b, t->thd);
  string_field(e->user, sizeof(e->user), security, b->offset[O_USER]);
  string_field(e->host, sizeof(e->host), security, b->offset[O_HOST]);
  string_field(e->ip, sizeof(e->ip), security, b->offset[O_IP]);
  string_field(e->database, sizeof(e->database), t->thd, b->offset[O_DATABASE]);
  SUBMIT(e);
  t->connection = 0;
  if (t->open == CLOSED) t->port = 0;
  return 0;
}

/* void end_connection(THD *) */
SEC("uprobe/my") int my_exit(struct pt_regs *ctx) {
  u32 cookie = cookie_of(ctx);
  struct thread *t = thread_of(cookie);
  struct binary *b = map_lookup(&binaries, &cookie);
  if (!t || !b) return 0;
  t->connection = 0;
  struct my_exit *e = RESERVE(struct my_exit);
  if (!e) { count(LOST_OTHERS, 1); return 0; }
  head(&e->h, MY_EXIT, cookie, 0);
  e->connection = field(ARG1(ctx), b->offset[O_THREAD_ID]) & 0xffffffff;
  SUBMIT(e);
  return 0;
}

#endif
