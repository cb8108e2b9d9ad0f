/**
 * GEOMETRY as the servers send it, `int<4> SRID` and well-known binary, as well-known text: `POINT(1 2)`, with an SRID
 * other than 0 `SRID=4326;POINT(1 2)`, axes in the order of the bytes.
 *
 *   WKB  int<1> byte order, int<4> type, then by type: 1 point x y · 2 line n points · 3 polygon n rings of n points ·
 *        4 to 6 n points, lines, polygons, each a WKB · 7 collection n WKB
 */
import { unreadable } from '../../values.ts';

const NAMES = [
  'POINT',
  'LINESTRING',
  'POLYGON',
  'MULTIPOINT',
  'MULTILINESTRING',
  'MULTIPOLYGON',
  'GEOMETRYCOLLECTION',
] as const;
const POINT = 1;
const LINE = 2;
const POLYGON = 3;
const COLLECTION = 7;
/** Collections within collections. */
const MAX_DEPTH = 32;
const COORDINATES_BYTES = 16;

/** @throws AppError WIRE_VALUE_MALFORMED. */
export function geometryText(bytes: Buffer): string {
  if (bytes.length < 4) throw unreadable('geometry');
  const srid = bytes.readUInt32LE(0);
  const wkb = new Wkb(bytes, 4);
  const text = wkb.geometry(0);
  if (wkb.at !== bytes.length) throw unreadable('geometry');
  return srid === 0 ? text : `SRID=${srid};${text}`;
}

class Wkb {
  readonly #bytes: Buffer;
  at: number;
  #little = true;

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes;
    this.at = at;
  }

  /** With its name. */
  geometry(depth: number): string {
    const type = this.#head();
    return `${NAMES[type - 1]}${this.#body(type, depth)}`;
  }

  #head(): number {
    const order = this.#bytes[this.#take(1)];
    if (order > 1) throw unreadable('geometry');
    this.#little = order === 1;
    const type = this.#uint32();
    if (type < POINT || type > COLLECTION) throw unreadable('geometry');
    return type;
  }

  #body(type: number, depth: number): string {
    if (depth > MAX_DEPTH) throw unreadable('geometry');
    switch (type) {
      case POINT:
        return `(${this.#coordinates()})`;
      case LINE:
        return this.#list(COORDINATES_BYTES, () => this.#coordinates());
      case POLYGON:
        return this.#list(4, () => this.#list(COORDINATES_BYTES, () => this.#coordinates()));
      case COLLECTION: {
        const body = this.#list(5, () => this.geometry(depth + 1));
        return body === '()' ? ' EMPTY' : body;
      }
      default:
        return this.#list(5, () => {
          const part = this.#head();
          if (part !== type - 3) throw unreadable('geometry');
          return this.#body(part, depth + 1);
        });
    }
  }

  /** A counted list of things of at least `itemBytes` each. */
  #list(itemBytes: number, item: () => string): string {
    const count = this.#uint32();
    if (count * itemBytes > this.#bytes.length - this.at) throw unreadable('geometry');
    const parts: string[] = [];
    for (let i = 0; i < count; i++) parts.push(item());
    return `(${parts.join(',')})`;
  }

  #coordinates(): string {
    const at = this.#take(COORDINATES_BYTES);
    return `${this.#double(at)} ${this.#double(at + 8)}`;
  }

  #double(at: number): string {
    return String(this.#little ? this.#bytes.readDoubleLE(at) : this.#bytes.readDoubleBE(at));
  }

  #uint32(): number {
    const at = this.#take(4);
    return this.#little ? this.#bytes.readUInt32LE(at) : this.#bytes.readUInt32BE(at);
  }

  #take(count: number): number {
    if (count > this.#bytes.length - this.at) throw unreadable('geometry');
    const { at } = this;
    this.at += count;
    return at;
  }
}
