/** Binary geometric values, all made of doubles, as the server's own text. */
import { float8At } from './float.ts';
import { expectBytes, unreadable } from '../../values.ts';

function point(bytes: Buffer, at: number): string {
  return `(${float8At(bytes, at)},${float8At(bytes, at + 8)})`;
}

export function pointText(bytes: Buffer): string {
  expectBytes(bytes, 16, 'point');
  return point(bytes, 0);
}

export function lsegText(bytes: Buffer): string {
  expectBytes(bytes, 32, 'lseg');
  return `[${point(bytes, 0)},${point(bytes, 16)}]`;
}

export function boxText(bytes: Buffer): string {
  expectBytes(bytes, 32, 'box');
  return `${point(bytes, 0)},${point(bytes, 16)}`;
}

export function lineText(bytes: Buffer): string {
  expectBytes(bytes, 24, 'line');
  return `{${float8At(bytes, 0)},${float8At(bytes, 8)},${float8At(bytes, 16)}}`;
}

export function circleText(bytes: Buffer): string {
  expectBytes(bytes, 24, 'circle');
  return `<${point(bytes, 0)},${float8At(bytes, 16)}>`;
}

/** path: `Byte1 closed`, then as polygon. */
export function pathText(bytes: Buffer): string {
  if (bytes.length < 5) throw unreadable('path');
  const points = pointList(bytes, 1, 'path');
  return bytes[0] === 0 ? `[${points}]` : `(${points})`;
}

/** polygon: `Int32 n, n × point`. */
export function polygonText(bytes: Buffer): string {
  return `(${pointList(bytes, 0, 'polygon')})`;
}

function pointList(bytes: Buffer, at: number, type: string): string {
  if (bytes.length < at + 4) throw unreadable(type);
  const count = bytes.readUInt32BE(at);
  expectBytes(bytes, at + 4 + 16 * count, type);
  const points: string[] = [];
  for (let i = 0; i < count; i++) points.push(point(bytes, at + 4 + 16 * i));
  return points.join(',');
}
