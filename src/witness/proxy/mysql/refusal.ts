/**
 * Refusals, said by us: what is refused never reaches the server. MySQL answers each command before it takes the next
 * one, so an ERR packet of ours in the command's place leaves order, transaction and connection as they were.
 */
import { ByteWriter } from '../../../base/bytes.ts';
import { isAppError } from '../../../base/errors.ts';
import { encodeErr } from '../../../wire/mysql/responses.ts';
import type { EndKind } from '../ending.ts';

export interface Refusal {
  readonly errno: number;
  readonly sqlstate: string;
  readonly message: string;
  readonly hint: string;
  readonly detail: string;
}

interface Code {
  readonly errno: number;
  readonly sqlstate: string;
}

/** The servers' own numbers for what they stand for, so that drivers and people recognise them. */
export const CODES = {
  accessDenied: { errno: 1045, sqlstate: '28000' },
  databaseDenied: { errno: 1044, sqlstate: '42000' },
  unknownDatabase: { errno: 1049, sqlstate: '42000' },
  noDatabase: { errno: 1046, sqlstate: '3D000' },
  unknownCommand: { errno: 1047, sqlstate: '08S01' },
  notAllowed: { errno: 1227, sqlstate: '42000' },
  readOnly: { errno: 1792, sqlstate: '25006' },
  quota: { errno: 1226, sqlstate: '42000' },
  tooManyConnections: { errno: 1040, sqlstate: '08004' },
  tooManyStatements: { errno: 1461, sqlstate: '42000' },
  packetTooLarge: { errno: 1153, sqlstate: '08S01' },
  outOfOrder: { errno: 1156, sqlstate: '08S01' },
  malformed: { errno: 1835, sqlstate: 'HY000' },
  handshake: { errno: 1043, sqlstate: '08S01' },
  secureTransport: { errno: 3159, sqlstate: 'HY000' },
  noSuchStatement: { errno: 1243, sqlstate: 'HY000' },
  /** Drivers take it for a sign to send the statement as text. */
  notPreparable: { errno: 1295, sqlstate: 'HY000' },
  noSuchThread: { errno: 1094, sqlstate: 'HY000' },
  killDenied: { errno: 1095, sqlstate: 'HY000' },
  localInfile: { errno: 3948, sqlstate: '42000' },
  journal: { errno: 1026, sqlstate: 'HY000' },
  diskFull: { errno: 1021, sqlstate: 'HY000' },
  shutdown: { errno: 1053, sqlstate: '08S01' },
  killed: { errno: 1317, sqlstate: '70100' },
  cannotConnect: { errno: 1429, sqlstate: 'HY000' },
  internal: { errno: 1105, sqlstate: 'HY000' },
} as const satisfies Record<string, Code>;

export function refusal(code: Code, message: string, hint = '', detail = ''): Refusal {
  return { ...code, message, hint, detail };
}

export function oversizedRefusal(bytes: number, maxBytes: number): Refusal {
  return refusal(
    CODES.packetTooLarge,
    `this statement has ${bytes} bytes; dbwitness passes on at most ${maxBytes}`,
    'Send large data as parameters, or raise DBW_MAX_STATEMENT_BYTES.',
  );
}

export function malformedRefusal(message: string): Refusal {
  return refusal(CODES.malformed, message);
}

const END_CODES = {
  grant_ended: CODES.killed,
  quota: CODES.quota,
  killed: CODES.killed,
  shutdown: CODES.shutdown,
  journal: CODES.journal,
  internal: CODES.internal,
} as const;

/** What a session ends with. @param error of the client's protocol, or ours. */
export function refusalAtEnd(kind: EndKind, message: string, error: unknown): Refusal {
  if (kind !== 'protocol') return refusal(END_CODES[kind], message);
  if (!isAppError(error)) return refusal(CODES.internal, message);
  return refusal(error.code === 'WIRE_SEQUENCE_OUT_OF_ORDER' ? CODES.outOfOrder : CODES.malformed, message);
}

/** Longer messages are cut by clients. */
const MAX_MESSAGE_BYTES = 511;

/** An ERR packet, whole. */
export function errPacket(why: Refusal, sequence: number): Buffer {
  const writer = new ByteWriter(640);
  const said = why.hint === '' ? why.message : `${why.message}. ${why.hint}`;
  const message = cut(said.replaceAll('\0', ''), MAX_MESSAGE_BYTES);
  encodeErr(writer, { number: why.errno, sqlState: why.sqlstate, message }, sequence);
  return writer.copy();
}

function cut(text: string, maxBytes: number): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= maxBytes) return text;
  let end = maxBytes;
  while (end > 0 && (bytes[end] & 0xc0) === 0x80) end--;
  return bytes.toString('utf8', 0, end);
}

export function journalRefusal(failure: string): Refusal {
  return refusal(
    /space|ENOSPC|full/i.test(failure) ? CODES.diskFull : CODES.journal,
    'dbwitness cannot write its journal, so it lets nothing through: the statement was not run',
    'Tell an administrator; statements are accepted again as soon as the journal can be written.',
    failure,
  );
}
