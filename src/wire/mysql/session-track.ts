/** Session state changes in an OK (CLIENT_SESSION_TRACK): n × `int<1> type, string<lenenc> data`. */
import type { ByteWriter } from '../../base/bytes.ts';
import { ByteWriter as Writer } from '../../base/bytes.ts';
import { PayloadReader } from './reader.ts';
import type { OkView } from './responses.ts';
import { writeLenencBytes, writeLenencString } from './writer.ts';

const SYSTEM_VARIABLES = 0;
const SCHEMA = 1;
const STATE_CHANGE = 2;
const GTIDS = 3;
const TRANSACTION_CHARACTERISTICS = 4;
const TRANSACTION_STATE = 5;

export type SessionChange =
  | { readonly kind: 'system-variable'; readonly name: string; readonly value: string }
  /** The default database now. */
  | { readonly kind: 'schema'; readonly name: string }
  | { readonly kind: 'state'; readonly changed: boolean }
  | { readonly kind: 'gtids'; readonly gtids: string }
  /** Statements that restart the transaction: `SET TRANSACTION …; START TRANSACTION …;`. */
  | { readonly kind: 'transaction-characteristics'; readonly statements: string }
  /** Eight characters: `T` explicit or `I` implicit or `_`, reads, writes, … */
  | { readonly kind: 'transaction-state'; readonly state: string }
  | { readonly kind: 'unknown'; readonly type: number; readonly data: Uint8Array };

/** The changes in an OK; none when it has none. Data of unknown types are views. */
export function decodeSessionChanges(bytes: Buffer, ok: OkView): SessionChange[] {
  const changes: SessionChange[] = [];
  if (ok.stateStart === ok.stateEnd) return changes;
  const reader = new PayloadReader().over(bytes, ok.stateStart, ok.stateEnd, 'OK');
  while (reader.remaining > 0) {
    const type = reader.uint8();
    const start = reader.lenencBytes();
    readChange(type, new PayloadReader().over(bytes, start, reader.at, 'OK'), changes);
  }
  return changes;
}

function readChange(type: number, data: PayloadReader, changes: SessionChange[]): void {
  switch (type) {
    case SYSTEM_VARIABLES:
      // MariaDB puts several into one.
      while (data.remaining > 0) {
        const name = data.lenencString();
        changes.push({ kind: 'system-variable', name, value: data.lenencString() });
      }
      return;
    case SCHEMA:
      changes.push({ kind: 'schema', name: data.lenencString() });
      return;
    case STATE_CHANGE:
      // One character, without a length of its own.
      changes.push({ kind: 'state', changed: data.restString() === '1' });
      return;
    case GTIDS:
      data.take(1); // the encoding, of which there is one
      changes.push({ kind: 'gtids', gtids: data.lenencString() });
      return;
    case TRANSACTION_CHARACTERISTICS:
      changes.push({ kind: 'transaction-characteristics', statements: data.lenencString() });
      return;
    case TRANSACTION_STATE:
      changes.push({ kind: 'transaction-state', state: data.lenencString() });
      return;
    default:
      changes.push({ kind: 'unknown', type, data: data.restView() });
  }
}

/** For `OkPacket.sessionChanges`. */
export function encodeSessionChanges(changes: readonly SessionChange[]): Buffer {
  const out = new Writer(256);
  const data = new Writer(256);
  for (const change of changes) {
    data.reset();
    out.u8(writeChange(data, change));
    writeLenencBytes(out, data.view());
  }
  return out.copy();
}

function writeChange(data: ByteWriter, change: SessionChange): number {
  switch (change.kind) {
    case 'system-variable':
      writeLenencString(data, change.name);
      writeLenencString(data, change.value);
      return SYSTEM_VARIABLES;
    case 'schema':
      writeLenencString(data, change.name);
      return SCHEMA;
    case 'state':
      data.u8(change.changed ? 0x31 : 0x30);
      return STATE_CHANGE;
    case 'gtids':
      data.u8(0);
      writeLenencString(data, change.gtids);
      return GTIDS;
    case 'transaction-characteristics':
      writeLenencString(data, change.statements);
      return TRANSACTION_CHARACTERISTICS;
    case 'transaction-state':
      writeLenencString(data, change.state);
      return TRANSACTION_STATE;
    case 'unknown':
      data.raw(change.data);
      return change.type;
  }
}
