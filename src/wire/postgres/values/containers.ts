/**
 * Binary arrays, ranges, multiranges and records as the server's own text, quoting included. Their elements are decoded
 * by the codec that the caller finds for their oid.
 */
import { expectBytes, unreadable } from '../../values.ts';

/** The text of a value of a type, by its oid. @param depth how many containers it is in. */
export type ElementText = (oid: number, bytes: Buffer, depth: number) => string;

/** Quoting doubles at each level: text would grow with 2^depth. */
const MAX_DEPTH = 6;
const MAX_DIMENSIONS = 6;
/** Characters of one container's text. */
const MAX_TEXT_CHARS = 16 * 1024 * 1024;
const OID_BOX = 603;

function checkDepth(depth: number, type: string): void {
  if (depth > MAX_DEPTH) throw unreadable(type);
}

function bounded(parts: string[], separator: string, type: string): string {
  let chars = 0;
  for (const part of parts) chars += part.length + 1;
  if (chars > MAX_TEXT_CHARS) throw unreadable(type);
  return parts.join(separator);
}

/**
 * Array: `Int32 dimensions, Int32 has nulls, Int32 element oid`, each dimension `Int32 length, Int32 lower bound`, then
 * the elements, each `Int32 length (−1: NULL), bytes`, last dimension fastest.
 */
export function arrayText(bytes: Buffer, element: ElementText, depth: number): string {
  const { lengths, lowerBounds, oid, elements } = decodeArray(bytes, depth);
  if (lengths.length === 0 || elements.length === 0) return '{}';
  const delimiter = oid === OID_BOX ? ';' : ',';
  let level = elements.map((value) =>
    value === null ? 'NULL' : quoteElement(element(oid, value, depth + 1), delimiter),
  );
  for (let dimension = lengths.length - 1; dimension >= 0; dimension--) {
    const size = lengths[dimension];
    const outer: string[] = [];
    for (let i = 0; i < level.length; i += size)
      outer.push(`{${bounded(level.slice(i, i + size), delimiter, 'array')}}`);
    level = outer;
  }
  const bounds = lowerBounds.every((bound) => bound === 1)
    ? ''
    : `${lowerBounds.map((bound, i) => `[${bound}:${bound + lengths[i] - 1}]`).join('')}=`;
  return bounds + level[0];
}

/** int2vector and oidvector: arrays of one dimension, written without braces. */
export function vectorText(bytes: Buffer, element: ElementText, depth: number): string {
  const { oid, elements } = decodeArray(bytes, depth);
  const texts = elements.map((value) => (value === null ? 'NULL' : element(oid, value, depth + 1)));
  return bounded(texts, ' ', 'vector');
}

interface DecodedArray {
  readonly lengths: readonly number[];
  readonly lowerBounds: readonly number[];
  readonly oid: number;
  readonly elements: readonly (Buffer | null)[];
}

function decodeArray(bytes: Buffer, depth: number): DecodedArray {
  checkDepth(depth, 'array');
  if (bytes.length < 12) throw unreadable('array');
  const dimensions = bytes.readUInt32BE(0);
  const oid = bytes.readUInt32BE(8);
  const elementsAt = 12 + 8 * dimensions;
  if (dimensions > MAX_DIMENSIONS || bytes.length < elementsAt) throw unreadable('array');
  const lengths: number[] = [];
  const lowerBounds: number[] = [];
  let count = dimensions === 0 ? 0 : 1;
  for (let i = 0; i < dimensions; i++) {
    lengths.push(bytes.readInt32BE(12 + 8 * i));
    lowerBounds.push(bytes.readInt32BE(16 + 8 * i));
    // Each element needs its length at least; a product that cannot be there is not waited for.
    if (lengths[i] < 0) throw unreadable('array');
    count *= lengths[i];
    if (count > (bytes.length - elementsAt) / 4) throw unreadable('array');
  }
  const elements: (Buffer | null)[] = [];
  let at = elementsAt;
  for (let i = 0; i < count; i++) {
    const value = countedValue(bytes, at, 'array');
    at += 4 + (value?.length ?? 0);
    elements.push(value);
  }
  if (at !== bytes.length) throw unreadable('array');
  return { lengths, lowerBounds, oid, elements };
}

function countedValue(bytes: Buffer, at: number, type: string): Buffer | null {
  if (bytes.length - at < 4) throw unreadable(type);
  const length = bytes.readInt32BE(at);
  if (length === -1) return null;
  if (length < 0 || length > bytes.length - at - 4) throw unreadable(type);
  return bytes.subarray(at + 4, at + 4 + length);
}

function quoteElement(text: string, delimiter: string): string {
  const quoted =
    text === '' ||
    text.toLowerCase() === 'null' ||
    /["\\{} \t\n\v\f\r]/.test(text) ||
    text.includes(delimiter);
  return quoted ? `"${text.replaceAll(/["\\]/g, '\\$&')}"` : text;
}

const RANGE_EMPTY = 0x01;
const LOWER_INCLUSIVE = 0x02;
const UPPER_INCLUSIVE = 0x04;
const LOWER_INFINITE = 0x08;
const UPPER_INFINITE = 0x10;

/** Range: `Byte1 flags`, then of the bounds that exist `Int32 length, bytes`. */
export function rangeText(bytes: Buffer, boundOid: number, element: ElementText, depth: number): string {
  checkDepth(depth, 'range');
  if (bytes.length === 0) throw unreadable('range');
  const flags = bytes[0];
  if ((flags & RANGE_EMPTY) !== 0) {
    expectBytes(bytes, 1, 'range');
    return 'empty';
  }
  let at = 1;
  const bound = (infinite: number): string => {
    if ((flags & infinite) !== 0) return '';
    const value = countedValue(bytes, at, 'range');
    if (value === null) throw unreadable('range');
    at += 4 + value.length;
    return quoteBound(element(boundOid, value, depth + 1));
  };
  const lower = bound(LOWER_INFINITE);
  const upper = bound(UPPER_INFINITE);
  expectBytes(bytes, at, 'range');
  const open = (flags & LOWER_INCLUSIVE) !== 0 ? '[' : '(';
  const close = (flags & UPPER_INCLUSIVE) !== 0 ? ']' : ')';
  return `${open}${lower},${upper}${close}`;
}

function quoteBound(text: string): string {
  return text === '' || /["\\()[\], \t\n\v\f\r]/.test(text) ? `"${text.replaceAll(/["\\]/g, '$&$&')}"` : text;
}

/** Multirange: `Int32 n`, n × `Int32 length, range`. */
export function multirangeText(bytes: Buffer, boundOid: number, element: ElementText, depth: number): string {
  checkDepth(depth, 'multirange');
  if (bytes.length < 4) throw unreadable('multirange');
  const count = bytes.readUInt32BE(0);
  if (count > (bytes.length - 4) / 5) throw unreadable('multirange');
  const ranges: string[] = [];
  let at = 4;
  for (let i = 0; i < count; i++) {
    const value = countedValue(bytes, at, 'multirange');
    if (value === null) throw unreadable('multirange');
    at += 4 + value.length;
    ranges.push(rangeText(value, boundOid, element, depth + 1));
  }
  expectBytes(bytes, at, 'multirange');
  return `{${bounded(ranges, ',', 'multirange')}}`;
}

/** record: `Int32 n`, n × `Int32 oid, Int32 length (−1: NULL), bytes`. */
export function recordText(bytes: Buffer, element: ElementText, depth: number): string {
  checkDepth(depth, 'record');
  if (bytes.length < 4) throw unreadable('record');
  const count = bytes.readUInt32BE(0);
  if (count > (bytes.length - 4) / 8) throw unreadable('record');
  const columns: string[] = [];
  let at = 4;
  for (let i = 0; i < count; i++) {
    if (bytes.length - at < 4) throw unreadable('record');
    const oid = bytes.readUInt32BE(at);
    const value = countedValue(bytes, at + 4, 'record');
    at += 8 + (value?.length ?? 0);
    columns.push(value === null ? '' : quoteColumn(element(oid, value, depth + 1)));
  }
  expectBytes(bytes, at, 'record');
  return `(${bounded(columns, ',', 'record')})`;
}

function quoteColumn(text: string): string {
  return text === '' || /["\\(), \t\n\v\f\r]/.test(text) ? `"${text.replaceAll(/["\\]/g, '$&$&')}"` : text;
}
