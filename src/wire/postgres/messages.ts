/**
 * The PostgreSQL frontend/backend protocol, versions 3.0 to 3.2, as pure bytes: no socket, no clock, no state of a
 * session. The relay frames a stream in place, decodes *views* of the few messages it needs, and forwards the original
 * bytes; what dbwitness says itself (refusals, log-ins, its own queries) is made by the encoders.
 *
 *   bytes ─▶ framing: where a message begins and ends, no allocation
 *              ├─▶ startup          packets without a type byte: StartupMessage, CancelRequest, SSLRequest, …
 *              ├─▶ frontend, copy   Query, Parse, Bind, …   views: offsets into the caller's buffer
 *              ├─▶ backend, rows    RowDescription, ReadyForQuery, ErrorResponse, …
 *              ├─▶ authentication   both directions; scram: the SASL exchange inside
 *              └─▶ values/          parameters and results by type, for reading
 *   AppError ─▶ errors ─▶ ErrorResponse
 *
 * Invariants
 *  1. A length is checked against the limit of its message type before any of its bytes is waited for.
 *  2. A reader never looks past the end of its message, whatever the buffer holds behind it.
 *  3. Whatever the input, a decoder returns or throws an `AppError` of kind `protocol`; it never loops, and allocates
 *     no more than in proportion to the message.
 *  4. `decode(encode(m))` equals `m`; every encoder has its decoder and the other way round.
 *  5. Offsets in views refer to the caller's buffer and live exactly as long as its bytes stay where they are.
 *
 * Every message but the first ones of a connection has the same frame:
 *
 *   offset 0  Byte1   type
 *   offset 1  Int32   length, counting itself but not the type byte: 4 + body
 *   offset 5          body
 *
 * Specification: https://www.postgresql.org/docs/current/protocol-message-formats.html
 * What the relay does with each message: docs/protocols/postgres.md
 */
import { limits } from '../../base/limits.ts';

/** Type bytes of what a client sends. */
export const Frontend = {
  Bind: 0x42, // B
  Close: 0x43, // C
  CopyData: 0x64, // d
  CopyDone: 0x63, // c
  CopyFail: 0x66, // f
  Describe: 0x44, // D
  Execute: 0x45, // E
  Flush: 0x48, // H
  FunctionCall: 0x46, // F
  /** PasswordMessage, SASLInitialResponse, SASLResponse, GSSResponse: which one, only the exchange tells. */
  Password: 0x70, // p
  Parse: 0x50, // P
  Query: 0x51, // Q
  Sync: 0x53, // S
  Terminate: 0x58, // X
} as const;

/** Type bytes of what a server sends. */
export const Backend = {
  Authentication: 0x52, // R
  BackendKeyData: 0x4b, // K
  BindComplete: 0x32, // 2
  CloseComplete: 0x33, // 3
  CommandComplete: 0x43, // C
  CopyBothResponse: 0x57, // W
  CopyData: 0x64, // d
  CopyDone: 0x63, // c
  CopyInResponse: 0x47, // G
  CopyOutResponse: 0x48, // H
  DataRow: 0x44, // D
  EmptyQueryResponse: 0x49, // I
  ErrorResponse: 0x45, // E
  FunctionCallResponse: 0x56, // V
  NegotiateProtocolVersion: 0x76, // v
  NoData: 0x6e, // n
  NoticeResponse: 0x4e, // N
  NotificationResponse: 0x41, // A
  ParameterDescription: 0x74, // t
  ParameterStatus: 0x53, // S
  ParseComplete: 0x31, // 1
  PortalSuspended: 0x73, // s
  ReadyForQuery: 0x5a, // Z
  RowDescription: 0x54, // T
} as const;

/** Bytes in front of a message's body. */
export const HEADER_BYTES = 5;

/** PostgreSQL's PQ_SMALL_MESSAGE_LIMIT: the length of messages that carry at most a name. */
const SMALL_MESSAGE_BYTES = 10_000;
/** PostgreSQL's PQ_LARGE_MESSAGE_LIMIT, MaxAllocSize − 1: what the server itself takes. */
const LARGE_MESSAGE_BYTES = 0x3fff_fffe;
/** The largest message a server can build: a StringInfo of MaxAllocSize, and the length itself. */
const LARGEST_BACKEND_MESSAGE_BYTES = 0x3fff_ffff + 4;
/** Short messages of a server. libpq's own limit (VALID_LONG_MESSAGE_TYPE) is 30,000. */
const SHORT_BACKEND_MESSAGE_BYTES = 64 * 1024;
/** Messages of a type we do not know: relayed as they are, so bounded but not tightly. */
const UNKNOWN_BACKEND_MESSAGE_BYTES = 1024 * 1024;

export type Phase = 'authenticating' | 'running';

/**
 * The greatest acceptable value of the length field, by type byte; 0: this type may not come now. One table per
 * direction and phase, so that framing is a single look-up.
 */
export interface LengthLimits {
  readonly direction: 'client' | 'upstream';
  readonly phase: Phase;
  readonly maxLengthByType: Int32Array;
}

/** Before a client has proved who it is, it may send nothing but its proof. */
export const clientAuthenticating: LengthLimits = {
  direction: 'client',
  phase: 'authenticating',
  maxLengthByType: table(0, [[Frontend.Password], limits.maxAuthMessageBytes]),
};

/**
 * Messages of an authenticated client. A type that is not in the protocol is refused, as the server refuses it: what it
 * does cannot be recorded.
 * @param maxStatementBytes limit of Query and Parse; PostgreSQL itself stops at 1 GiB.
 */
export function clientRunning(maxStatementBytes: number = limits.maxStatementBytes): LengthLimits {
  const maxTextLength = Math.min(LARGE_MESSAGE_BYTES, maxStatementBytes + SMALL_MESSAGE_BYTES);
  const { Bind, Close, CopyData, CopyDone, CopyFail, Describe, Execute, Flush } = Frontend;
  return {
    direction: 'client',
    phase: 'running',
    maxLengthByType: table(
      0,
      [[Frontend.Query, Frontend.Parse], maxTextLength],
      [[Bind, CopyData, Frontend.FunctionCall], LARGE_MESSAGE_BYTES],
      [[Close, Describe, Execute, CopyDone, CopyFail, Flush], SMALL_MESSAGE_BYTES],
      [[Frontend.Sync, Frontend.Terminate], SMALL_MESSAGE_BYTES],
    ),
  };
}

/** An upstream until its first ReadyForQuery. */
export const upstreamAuthenticating: LengthLimits = {
  direction: 'upstream',
  phase: 'authenticating',
  maxLengthByType: table(
    0,
    [[Backend.Authentication, Backend.NegotiateProtocolVersion], limits.maxAuthMessageBytes],
    [[Backend.ErrorResponse, Backend.NoticeResponse], limits.maxAuthMessageBytes],
    [[Backend.BackendKeyData, Backend.ParameterStatus, Backend.ReadyForQuery], SHORT_BACKEND_MESSAGE_BYTES],
  ),
};

/** An upstream in a session. Unknown types pass: the server is trusted, and newer ones may say more. */
export const upstreamRunning: LengthLimits = {
  direction: 'upstream',
  phase: 'running',
  maxLengthByType: table(
    UNKNOWN_BACKEND_MESSAGE_BYTES,
    [Object.values(Backend), SHORT_BACKEND_MESSAGE_BYTES],
    [[Backend.RowDescription, Backend.DataRow, Backend.CopyData], LARGEST_BACKEND_MESSAGE_BYTES],
    [[Backend.FunctionCallResponse, Backend.NotificationResponse], LARGEST_BACKEND_MESSAGE_BYTES],
    [[Backend.ErrorResponse, Backend.NoticeResponse], LARGEST_BACKEND_MESSAGE_BYTES],
    // The server describes every parameter of a text, also more than its count can say and than anybody can bind.
    [[Backend.ParameterDescription], LARGEST_BACKEND_MESSAGE_BYTES],
    // 65,535 columns of a few bytes each.
    [[Backend.CopyInResponse, Backend.CopyOutResponse, Backend.CopyBothResponse], 8 + 4 * 65_535],
  ),
};

function table(unlisted: number, ...entries: [types: readonly number[], maxLength: number][]): Int32Array {
  const byType = new Int32Array(256).fill(unlisted);
  for (const [types, maxLength] of entries) for (const type of types) byType[type] = maxLength;
  return byType;
}

/** A type byte for people: `'Q'`, or `0x07` when it is not printable. */
export function typeName(type: number): string {
  return type > 0x20 && type < 0x7f
    ? `'${String.fromCharCode(type)}'`
    : `0x${type.toString(16).padStart(2, '0')}`;
}
