/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
 *
 * What goes through the ring buffer, and what the loader puts into the maps. The offsets are those of
 * src/witness/probe/records.ts; the assertions below hold them in place. Little-endian, 8-byte aligned.
 */
#ifndef DBW_RECORDS_H
#define DBW_RECORDS_H
#include "kernel.h"

enum record_type {
  TEXT = 1,            /* a further piece of the text of the thread's last statement record */
  TEXT_END = 2,        /* its full length, where the pieces did not say it */
  PG_STATEMENT = 10,
  PG_ERROR = 11,
  PG_SESSION = 12,     /* a log-in begins */
  PG_READY = 13,       /* it succeeded */
  PG_APPLICATION = 14,
  PG_TRANSACTION = 15, /* a commit or abort record was written */
  PG_EXIT = 16,
  PG_PARAMETER = 17,
  MY_STATEMENT = 30,
  MY_RETURN = 31,
  MY_SESSION = 32,
  MY_LOGIN = 33,
  MY_EXIT = 34,
  MY_HANDSHAKE = 35,
};

enum { FLAG_MORE_TEXT = 1, FLAG_LIMITED = 2, FLAG_PARAMETERS = 4, FLAG_ERROR = 8, FLAG_RUNNING = 16, FLAG_BEGINS = 32, FLAG_SUSPENDED = 64 };

struct header {
  u16 type;
  u16 binary;  /* the attach cookie: which traced binary */
  u32 pid;
  u32 tid;
  u32 bytes;   /* of text in this record */
  u64 at;      /* CLOCK_MONOTONIC, ns */
};
_Static_assert(sizeof(struct header) == 24, "header");

struct text_small { struct header h; u32 offset; u32 last; char data[4096]; };
struct text_large { struct header h; u32 offset; u32 last; char data[32768]; };
_Static_assert(__builtin_offsetof(struct text_large, data) == 32, "text");
struct text_end { struct header h; u64 total; };

struct pg_fields {
  struct header h;
  u64 started;      /* ns: the end of the statement before in the same message, or PortalRun; 0: with the message */
  u64 message_us;   /* statement_timestamp(): microseconds since 2000-01-01 */
  u64 lsn;
  u32 xid;
  u16 index;        /* statements of the same message that ended before */
  u8 flags;
  u8 unused;
  u64 tag[4];       /* QueryCompletion {u32 tag, u64 rows}; before 13 the tag as text */
};
_Static_assert(sizeof(struct pg_fields) == 88, "pg_fields");
#define PG_SMALL_TEXT 168
#define PG_LARGE_TEXT 936
struct pg_small { struct pg_fields f; char text[PG_SMALL_TEXT]; };
struct pg_large { struct pg_fields f; char text[PG_LARGE_TEXT]; };

struct pg_error {
  struct pg_fields f;   /* the text follows in TEXT records */
  char severity[8];
  char sqlstate[8];
  char message[512];
};
_Static_assert(__builtin_offsetof(struct pg_error, message) == 104, "pg_error");

struct pg_session { struct header h; char address[32]; char database[64]; char user[64]; u64 started_us; char server[32]; u32 postmaster; u32 unused; };
_Static_assert(__builtin_offsetof(struct pg_session, user) == 120, "pg_session");
struct pg_name { struct header h; char name[64]; };
struct pg_transaction { struct header h; u64 xid; u64 lsn; u64 time_us; u64 committed; };
struct pg_exit { struct header h; u64 code; };
struct pg_parameter {
  struct header h;
  u32 index, count, type, flags;  /* flags: 1 null, 2 data was readable */
  u64 value;
  char data[256];
};
_Static_assert(__builtin_offsetof(struct pg_parameter, data) == 48, "pg_parameter");

struct my_fields {
  struct header h;
  u64 started;
  u64 connection;
  u64 query_id;
  u64 rows;
  u64 affected;
  u64 insert_id;
  u32 total;        /* length of the text */
  u32 command;
  u32 error;
  u16 index;        /* statements of the same packet that ended before */
  u8 flags;
  u8 unused;
  char sqlstate[8];
  char database[64];
};
_Static_assert(sizeof(struct my_fields) == 160, "my_fields");
#define MY_SMALL_TEXT 192
#define MY_LARGE_TEXT 1888
struct my_small { struct my_fields f; char text[MY_SMALL_TEXT]; };
struct my_large { struct my_fields f; char text[MY_LARGE_TEXT]; };
/* What came after the last statement record: of a prepared execution its outcome. */
struct my_return { struct header h; s32 result; u32 command; u64 affected; u64 insert_id; u32 error; char sqlstate[8]; u32 unused; };
_Static_assert(sizeof(struct my_return) == 64, "my_return");
struct my_session { struct header h; u64 connection; char user[128]; char host[64]; char ip[64]; s32 fd; u32 unused; };
_Static_assert(sizeof(struct my_session) == 296, "my_session");
struct my_login { struct header h; u64 connection; u32 result; u32 port; char user[128]; char host[64]; char ip[64]; char database[64]; };
_Static_assert(sizeof(struct my_login) == 360, "my_login");
struct my_exit { struct header h; u64 connection; };
/* The packet of a log-in while it is parsed; behind its end is whatever the buffer held. */
struct my_handshake { struct header h; u32 change_user; u32 unused; char data[4096]; };
_Static_assert(__builtin_offsetof(struct my_handshake, data) == 32, "my_handshake");
struct my_message { struct header h; char message[512]; };
#define MY_MESSAGE 36
/* COM_STMT_EXECUTE or COM_STMT_SEND_LONG_DATA as it came, behind its first byte, as far as it was captured. */
#define MY_PACKET 37
struct my_packet { struct header h; u64 connection; u32 command; u32 total; };
_Static_assert(sizeof(struct my_packet) == 40, "my_packet");
struct my_packet_small { struct my_packet p; char data[472]; };
struct my_packet_middle { struct my_packet p; char data[4056]; };
struct my_packet_large { struct my_packet p; char data[32728]; };

/* Which address a handler was attached at, as linked: with the one it runs at that gives the load bias. */
enum entry {
  AT_PORTAL_RUN, AT_END_COMMAND, AT_SENDSTRING, AT_INIT, AT_TREE_STATUS, AT_PORTAL_FAILED, AT_PORTAL_START, AT_SUSPENDED,
  ENTRIES = 8
};
enum global {
  G_QUERY, G_STATEMENT_TIME, G_XID, G_LAST_RECORD, G_PORT, G_APPLICATION, G_STARTED, G_POSTMASTER, G_STOP_TIME, G_ACTIVE_PORTAL,
  GLOBALS = 12
};
enum offset {
  O_THREAD_ID, O_SECURITY, O_USER, O_HOST, O_IP, O_DATABASE, O_QUERY, O_ROWS, O_QUERY_ID,
  O_PARAM_COUNT, O_PARAMS, O_SUSPENDED, O_NET,
  OFFSETS = 14
};
#define ABSENT 0xffffffffu

struct binary {
  u32 engine;
  u32 major;
  u32 max_text;
  u32 options;          /* 1: parameters */
  u64 entry[ENTRIES];
  u64 global[GLOBALS];  /* 0: unknown */
  u32 offset[OFFSETS];  /* ABSENT: unknown */
};
_Static_assert(sizeof(struct binary) == 232, "binary");

/* Counters of what was lost; one page, mapped by the reader. */
enum { LOST_STATEMENTS, LOST_TEXTS, LOST_OTHERS, UNREADABLE, COUNTERS = 8 };
struct counters { u64 count[COUNTERS]; };

#endif
