/**
 * Parameters of a bound portal as the server holds them (Datum): by value in the record, or by reference with the first
 * bytes of what is pointed to. Shown as text where the type is known, else as bytes.
 *
 * varlena headers, postgres.h: a first byte with its lowest bit set is a short header (length in the upper seven, 0x01 a
 * pointer to a TOAST value), else a 32-bit word whose upper 30 bits are the length and whose bit 1 says compressed.
 */
import type { ParameterFields } from '../event-writer.ts';
import { u32At } from '../records.ts';

const DATA_BYTES = 256;
const EPOCH_MS = 946_684_800_000;
const DAY_MS = 86_400_000;
const NO_BYTES = Buffer.alloc(0);

/** `data` at `at`: a PG_PARAMETER record, see records.ts. */
export function readParameter(data: Buffer, at: number): ParameterFields {
  const type = u32At(data, at + 32);
  const flags = u32At(data, at + 36);
  if ((flags & 1) !== 0) return { type, isNull: true, value: NO_BYTES, bytes: 0 };
  const plain = byValue(type, data, at + 40);
  if (plain !== null) return textual(type, plain);
  const readable = (flags & 2) !== 0 ? DATA_BYTES : (flags & 4) !== 0 ? 32 : 0;
  if (readable === 0) return raw(type, data, at + 40, 8, 8);
  if (type === 2950) return textual(type, uuid(data, at + 48));
  if (type === 19) return raw(type, data, at + 48, nameLength(data, at + 48, 64), 0);
  return varlena(type, data, at + 48, readable);
}

function textual(type: number, text: string): ParameterFields {
  const value = Buffer.from(text);
  return { type, isNull: false, value, bytes: value.length };
}

function raw(type: number, data: Buffer, from: number, captured: number, full: number): ParameterFields {
  const value = Buffer.from(data.subarray(from, from + captured));
  return { type, isNull: false, value, bytes: full || captured };
}

function byValue(type: number, data: Buffer, at: number): string | null {
  switch (type) {
    case 16: // bool
      return (data[at] & 1) === 0 ? 'f' : 't';
    case 18: // "char"
      return String.fromCharCode(data[at]);
    case 21: // int2
      return String(data.readInt16LE(at));
    case 23: // int4
      return String(data.readInt32LE(at));
    case 20: // int8
      return String(data.readBigInt64LE(at));
    case 26: // oid
      return String(data.readUInt32LE(at));
    case 700:
      return String(data.readFloatLE(at));
    case 701:
      return String(data.readDoubleLE(at));
    case 1082: // date
      return new Date(EPOCH_MS + data.readInt32LE(at) * DAY_MS).toISOString().slice(0, 10);
    case 1114: // timestamp
    case 1184: // timestamptz
      return timestamp(data.readBigInt64LE(at), type === 1184);
    default:
      return null;
  }
}

function timestamp(us: bigint, zoned: boolean): string {
  const ms = EPOCH_MS + Number(us / 1000n);
  if (!(Math.abs(ms) <= 8.64e15)) return us > 0n ? 'infinity' : '-infinity';
  const text = new Date(ms).toISOString();
  return zoned ? text : text.slice(0, -1);
}

function uuid(data: Buffer, at: number): string {
  const hex = data.toString('hex', at, at + 16);
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

function nameLength(data: Buffer, at: number, max: number): number {
  const zero = data.indexOf(0, at);
  return zero < 0 || zero > at + max ? max : zero - at;
}

function varlena(type: number, data: Buffer, at: number, readable: number): ParameterFields {
  const first = data[at];
  if (first === 1) return { type, isNull: false, value: NO_BYTES, bytes: 1 };
  const short = (first & 1) !== 0;
  const header = short ? 1 : 4;
  const full = (short ? first >>> 1 : data.readUInt32LE(at) >>> 2) - header;
  const compressed = !short && (first & 3) === 2;
  if (full < 0 || full > 0x3fff_ffff) return raw(type, data, at - 8, 8, 8); // by value after all
  const captured = Math.min(full, readable - header);
  if (compressed) return { type, isNull: false, value: NO_BYTES, bytes: full };
  return raw(type, data, at + header, captured, full);
}
