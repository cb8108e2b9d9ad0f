/**
 * A recorded connection as messages: framed with the tables of its phases, and each message decoded and encoded again.
 * The golden traces, the hostile tests and the fuzzer share it.
 */
import { ByteWriter } from '../../../src/base/bytes.ts';
import * as authentication from '../../../src/wire/postgres/authentication.ts';
import * as backend from '../../../src/wire/postgres/backend.ts';
import * as copy from '../../../src/wire/postgres/copy.ts';
import { MessageCursor, nextMessage } from '../../../src/wire/postgres/framing.ts';
import * as frontend from '../../../src/wire/postgres/frontend.ts';
import {
  Backend,
  clientAuthenticating,
  clientRunning,
  Frontend,
  upstreamAuthenticating,
  upstreamRunning,
} from '../../../src/wire/postgres/messages.ts';
import * as rows from '../../../src/wire/postgres/rows.ts';
import * as startup from '../../../src/wire/postgres/startup.ts';

export type Direction = 'client' | 'upstream';

/** One message, or one packet without a type byte. */
export interface Framed {
  readonly kind: 'startup' | 'byte' | 'message';
  /** Type byte, or the version or request code of a start-up packet. */
  readonly type: number;
  readonly start: number;
  readonly body: number;
  readonly end: number;
}

const running = clientRunning();

/** Frames one direction of a connection; feed it growing buffers. Keeps nothing but where it is. */
export class Framer {
  readonly messages: Framed[] = [];
  readonly #direction: Direction;
  readonly #cursor = new MessageCursor();
  #unframedBytes: number;
  #phase: 'startup' | 'authenticating' | 'running';
  #at = 0;

  /** @param encryptionReplies one-byte answers that come first (upstream only). */
  constructor(direction: Direction, encryptionReplies = 0) {
    this.#direction = direction;
    this.#unframedBytes = encryptionReplies;
    this.#phase = direction === 'client' ? 'startup' : 'authenticating';
  }

  get consumed(): number {
    return this.#at;
  }

  /** Frames what is whole in `bytes[0, end)`, the whole stream so far. */
  feed(bytes: Buffer, end: number = bytes.length): void {
    while (this.#at < end) {
      if (this.#unframedBytes > 0) {
        this.messages.push({
          kind: 'byte',
          type: bytes[this.#at],
          start: this.#at,
          body: this.#at,
          end: this.#at + 1,
        });
        this.#unframedBytes--;
        this.#at++;
        continue;
      }
      if (!(this.#phase === 'startup' ? this.#startup(bytes, end) : this.#message(bytes, end))) return;
    }
  }

  #startup(bytes: Buffer, end: number): boolean {
    if (!startup.nextStartupPacket(bytes, this.#at, end, this.#cursor)) return false;
    const kind = startup.startupKind(this.#cursor);
    if (kind === 'startup') this.#phase = 'authenticating';
    this.#push('startup');
    return true;
  }

  #message(bytes: Buffer, end: number): boolean {
    const client = this.#direction === 'client';
    // A test knows no more of a log-in than that its last 'p' is followed by something else.
    if (client && bytes[this.#at] !== Frontend.Password) this.#phase = 'running';
    const authenticating = this.#phase === 'authenticating';
    const table = client
      ? authenticating
        ? clientAuthenticating
        : running
      : authenticating
        ? upstreamAuthenticating
        : upstreamRunning;
    if (!nextMessage(bytes, this.#at, end, table, this.#cursor)) return false;
    if (!client && this.#cursor.type === Backend.ReadyForQuery) this.#phase = 'running';
    this.#push('message');
    return true;
  }

  #push(kind: 'startup' | 'message'): void {
    const { type, start, body, end } = this.#cursor;
    this.messages.push({ kind, type, start, body, end });
    this.#at = end;
  }
}

const parse = new frontend.ParseView();
const bind = new frontend.BindView();
const execute = new frontend.ExecuteView();
const target = new frontend.TargetView();
const call = new frontend.FunctionCallView();

/** What a client's `p` is. */
export type PasswordKind = 'password' | 'sasl-initial' | 'sasl-response';

/** Decodes a message and writes it again; what has no decoder is copied. @throws AppError for a malformed one. */
export function recode(
  direction: Direction,
  message: Framed,
  bytes: Buffer,
  password: PasswordKind = 'password',
): Buffer {
  const out = new ByteWriter(256);
  if (message.kind === 'byte') out.u8(message.type);
  else if (message.kind === 'startup') recodeStartup(message, bytes, out);
  else if (direction === 'client') recodeClient(message, bytes, out, password);
  else recodeUpstream(message, bytes, out);
  return out.copy();
}

function recodeStartup({ type, start, end }: Framed, bytes: Buffer, out: ByteWriter): void {
  if (type === startup.SSL_REQUEST_CODE) startup.encodeEncryptionRequest(out, 'ssl');
  else if (type === startup.GSSENC_REQUEST_CODE) startup.encodeEncryptionRequest(out, 'gssenc');
  else if (type === startup.CANCEL_REQUEST_CODE)
    startup.encodeCancelRequest(out, startup.decodeCancelRequest(bytes, start, end));
  else startup.encodeStartupMessage(out, startup.decodeStartupMessage(bytes, start, end));
}

function recodeClient(message: Framed, bytes: Buffer, out: ByteWriter, password: PasswordKind): void {
  const { type, start, body, end } = message;
  switch (type) {
    case Frontend.Query:
      return frontend.encodeQuery(out, bytes.subarray(body, frontend.decodeQuery(bytes, body, end)));
    case Frontend.Parse:
      frontend.decodeParse(bytes, body, end, parse);
      return frontend.encodeParse(out, {
        name: parse.name,
        text: bytes.subarray(parse.textStart, parse.textEnd),
        types: frontend.typeOids(bytes, parse.typesStart, parse.typeCount),
      });
    case Frontend.Bind:
      frontend.decodeBind(bytes, body, end, bind);
      return frontend.encodeBind(out, {
        portal: bind.portal,
        statement: bind.statement,
        formats: frontend.formatCodes(bytes, bind.formatsStart, bind.formatCount),
        parameters: frontend.parameterValues(bytes, bind.parametersStart, bind.parameterCount),
        resultFormats: frontend.formatCodes(bytes, bind.resultFormatsStart, bind.resultFormatCount),
      });
    case Frontend.Execute:
      frontend.decodeExecute(bytes, body, end, execute);
      return frontend.encodeExecute(out, execute.portal, execute.maxRows);
    case Frontend.Describe:
      frontend.decodeDescribe(bytes, body, end, target);
      return frontend.encodeDescribe(out, target.target, target.name);
    case Frontend.Close:
      frontend.decodeClose(bytes, body, end, target);
      return frontend.encodeClose(out, target.target, target.name);
    case Frontend.FunctionCall: {
      frontend.decodeFunctionCall(bytes, body, end, call);
      const formatCount = bytes.readUInt16BE(call.formatsStart);
      const parametersStart = call.formatsStart + 2 + 2 * formatCount;
      return frontend.encodeFunctionCall(out, {
        functionOid: call.functionOid,
        formats: frontend.formatCodes(bytes, call.formatsStart, formatCount),
        parameters: frontend.parameterValues(bytes, parametersStart, call.argumentCount),
        resultFormat: call.resultFormat,
      });
    }
    case Frontend.Sync:
    case Frontend.Flush:
    case Frontend.Terminate:
    case Frontend.CopyDone:
      frontend.decodeEmpty(body, end, 'Sync');
      return out.raw(bytes, start, end);
    case Frontend.CopyData:
      return copy.encodeCopyData(out, bytes.subarray(body, end));
    case Frontend.CopyFail:
      return copy.encodeCopyFail(out, copy.decodeCopyFail(bytes, body, end));
    case Frontend.Password:
      if (password === 'sasl-response')
        return authentication.encodeSaslResponse(out, bytes.subarray(body, end));
      return password === 'password'
        ? authentication.encodePassword(out, authentication.decodePassword(bytes, body, end))
        : authentication.encodeSaslInitialResponse(
            out,
            authentication.decodeSaslInitialResponse(bytes, body, end),
          );
    default:
      throw new Error(`no decoder for client message ${type}`);
  }
}

function recodeUpstream(message: Framed, bytes: Buffer, out: ByteWriter): void {
  const { type, start, body, end } = message;
  switch (type) {
    case Backend.Authentication:
      return authentication.encodeAuthentication(out, authentication.decodeAuthentication(bytes, body, end));
    case Backend.BackendKeyData:
      return startup.encodeBackendKeyData(out, startup.decodeBackendKeyData(bytes, body, end));
    case Backend.NegotiateProtocolVersion:
      return startup.encodeNegotiateProtocolVersion(
        out,
        startup.decodeNegotiateProtocolVersion(bytes, body, end),
      );
    case Backend.ParameterStatus:
      return backend.encodeParameterStatus(out, backend.decodeParameterStatus(bytes, body, end));
    case Backend.ReadyForQuery:
      return backend.encodeReadyForQuery(out, backend.decodeReadyForQuery(bytes, body, end));
    case Backend.ErrorResponse:
      return backend.encodeErrorResponse(out, backend.decodeErrorFields(bytes, body, end));
    case Backend.NoticeResponse:
      return backend.encodeNoticeResponse(out, backend.decodeErrorFields(bytes, body, end));
    case Backend.NotificationResponse:
      return backend.encodeNotification(out, backend.decodeNotification(bytes, body, end));
    case Backend.RowDescription:
      return rows.encodeRowDescription(out, rows.decodeRowDescription(bytes, body, end));
    case Backend.DataRow:
      return rows.encodeDataRow(out, rows.decodeDataRow(bytes, body, end));
    case Backend.CommandComplete:
      return rows.encodeCommandComplete(out, rows.decodeCommandComplete(bytes, body, end));
    case Backend.ParameterDescription:
      return rows.encodeParameterDescription(out, rows.decodeParameterDescription(bytes, body, end));
    case Backend.FunctionCallResponse:
      return rows.encodeFunctionCallResponse(out, rows.decodeFunctionCallResponse(bytes, body, end));
    case Backend.CopyInResponse:
      return copy.encodeCopyResponse(out, 'in', copy.decodeCopyResponse(bytes, body, end));
    case Backend.CopyOutResponse:
      return copy.encodeCopyResponse(out, 'out', copy.decodeCopyResponse(bytes, body, end));
    case Backend.CopyBothResponse:
      return copy.encodeCopyResponse(out, 'both', copy.decodeCopyResponse(bytes, body, end));
    case Backend.CopyData:
      return copy.encodeCopyData(out, bytes.subarray(body, end));
    case Backend.ParseComplete:
    case Backend.BindComplete:
    case Backend.CloseComplete:
    case Backend.NoData:
    case Backend.PortalSuspended:
    case Backend.EmptyQueryResponse:
    case Backend.CopyDone:
      frontend.decodeEmpty(body, end, 'completion');
      return out.raw(bytes, start, end);
    default:
      // By the rule for unknown messages of a server: relayed as it is.
      return out.raw(bytes, start, end);
  }
}
