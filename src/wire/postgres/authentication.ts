/**
 * The log-in's messages, both directions. All of a server's requests are `R` with a code; all of a client's answers are
 * `p`, and only the exchange tells which one: the caller knows what it asked for.
 *
 * https://www.postgresql.org/docs/current/sasl-authentication.html; the exchange inside SASL is in `scram.ts`.
 */
import type { ByteWriter } from '../../base/bytes.ts';
import { unreachable } from '../../base/assert.ts';
import { Backend, Frontend } from './messages.ts';
import { malformed, MessageReader, stringEnd } from './reader.ts';
import { beginMessage, endMessage, writeLatin1, writeString } from './writer.ts';

export type Authentication =
  | { readonly kind: 'ok' }
  | { readonly kind: 'kerberos5' }
  | { readonly kind: 'cleartext' }
  | { readonly kind: 'md5'; readonly salt: Uint8Array }
  | { readonly kind: 'gss' }
  | { readonly kind: 'gss-continue'; readonly data: Uint8Array }
  | { readonly kind: 'sspi' }
  | { readonly kind: 'sasl'; readonly mechanisms: readonly string[] }
  | { readonly kind: 'sasl-continue'; readonly data: Uint8Array }
  | { readonly kind: 'sasl-final'; readonly data: Uint8Array }
  /** A method that the protocol has not known so far. */
  | { readonly kind: 'unknown'; readonly code: number };

const CODES = {
  ok: 0,
  kerberos5: 2,
  cleartext: 3,
  md5: 5,
  gss: 7,
  'gss-continue': 8,
  sspi: 9,
  sasl: 10,
  'sasl-continue': 11,
  'sasl-final': 12,
} as const;
const KINDS = new Map<number, keyof typeof CODES>(
  Object.entries(CODES).map(([kind, code]) => [code, kind as keyof typeof CODES]),
);

/** `Int32 code`, then what the code asks for. Data are views of the buffer. */
export function decodeAuthentication(bytes: Buffer, start: number, end: number): Authentication {
  const reader = new MessageReader(bytes, start, end, 'Authentication');
  const code = reader.uint32();
  const kind = KINDS.get(code);
  switch (kind) {
    case undefined:
      return { kind: 'unknown', code };
    case 'md5': {
      const salt = reader.view(4);
      reader.finish();
      return { kind, salt };
    }
    case 'sasl':
      return { kind, mechanisms: decodeMechanisms(reader) };
    case 'gss-continue':
    case 'sasl-continue':
    case 'sasl-final':
      return { kind, data: reader.view(reader.remaining) };
    case 'ok':
    case 'kerberos5':
    case 'cleartext':
    case 'gss':
    case 'sspi':
      reader.finish();
      return { kind };
    default:
      return unreachable(kind);
  }
}

function decodeMechanisms(reader: MessageReader): string[] {
  const mechanisms: string[] = [];
  for (;;) {
    const name = reader.latin1();
    if (name === '') break;
    mechanisms.push(name);
  }
  reader.finish();
  return mechanisms;
}

export function encodeAuthentication(out: ByteWriter, message: Authentication): void {
  const mark = beginMessage(out, Backend.Authentication);
  out.u32be(message.kind === 'unknown' ? message.code : CODES[message.kind]);
  switch (message.kind) {
    case 'md5':
      out.raw(message.salt);
      break;
    case 'sasl':
      for (const name of message.mechanisms) writeLatin1(out, name);
      out.u8(0);
      break;
    case 'gss-continue':
    case 'sasl-continue':
    case 'sasl-final':
      out.raw(message.data);
      break;
    case 'ok':
    case 'kerberos5':
    case 'cleartext':
    case 'gss':
    case 'sspi':
    case 'unknown':
      break;
    default:
      unreachable(message);
  }
  endMessage(out, mark);
}

/** PasswordMessage: `String password`, clear or the MD5 response. */
export function decodePassword(bytes: Buffer, start: number, end: number): string {
  const stop = stringEnd(bytes, start, end, 'PasswordMessage');
  if (stop + 1 !== end) throw malformed('PasswordMessage', 'bytes follow its string');
  return bytes.toString('utf8', start, stop);
}

export function encodePassword(out: ByteWriter, password: string): void {
  const mark = beginMessage(out, Frontend.Password);
  writeString(out, password);
  endMessage(out, mark);
}

export interface SaslInitialResponse {
  readonly mechanism: string;
  /** `null`: the client waits for the server's first message. A view when decoded. */
  readonly data: Uint8Array | null;
}

/** SASLInitialResponse: `String mechanism, Int32 length, bytes`. */
export function decodeSaslInitialResponse(bytes: Buffer, start: number, end: number): SaslInitialResponse {
  const reader = new MessageReader(bytes, start, end, 'SASLInitialResponse');
  const mechanism = reader.latin1();
  const data = reader.value();
  reader.finish();
  return { mechanism, data };
}

export function encodeSaslInitialResponse(out: ByteWriter, message: SaslInitialResponse): void {
  const mark = beginMessage(out, Frontend.Password);
  writeLatin1(out, message.mechanism);
  if (message.data === null) out.u32be(0xffff_ffff);
  else {
    out.u32be(message.data.length);
    out.raw(message.data);
  }
  endMessage(out, mark);
}

/** SASLResponse and GSSResponse: the body is the data, so there is nothing to decode. */
export function encodeSaslResponse(out: ByteWriter, data: Uint8Array): void {
  const mark = beginMessage(out, Frontend.Password);
  out.raw(data);
  endMessage(out, mark);
}
