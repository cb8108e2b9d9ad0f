/**
 * Parameters of prepared executions where the server leaves them out of its text: from the packets that came, decoded
 * with the types that came with them or with an earlier execution, and with what came as long data before.
 */
import { isAppError } from '../../../base/errors.ts';
import { ByteWriter } from '../../../base/bytes.ts';
import { Lexer, Token } from '../../../sql/mysql/lexer.ts';
import { decodeExecute, ExecuteView, recordedType, writeBind } from '../../../wire/mysql/parameters.ts';
import { decodeParameters } from '../../../wire/mysql/values/decode.ts';
import type { ParameterFields } from '../event-writer.ts';

export const COM_STMT_EXECUTE = 23;
export const COM_STMT_SEND_LONG_DATA = 24;
const MAX_PARAMETERS = 64;
const MAX_VALUE_BYTES = 256;
/** Remembered per connection; a statement that is not, shows its parameters again when its types are sent again. */
const MAX_STATEMENTS = 1_024;
const MARK = 0x3f; // ?
const NONE: readonly ParameterFields[] = [];
const NO_BYTES = Buffer.alloc(0);
const READING = { singleEscapes: true, doubleEscapes: true, runs: () => true, highBytes: 'letters' } as const;
const PLAIN = { flags: 0, mariadb: 0 };

interface Prepared {
  /** Types as sent last; `null`: before our time. */
  types: Uint16Array | null;
  /** Since the last execution, by parameter: the first bytes, and how many there were in all. */
  readonly long: Map<number, { value: Buffer; bytes: number }>;
}

export class ConnectionParameters {
  readonly #statements = new Map<number, Prepared>();
  readonly #view = new ExecuteView();
  #packet: Buffer | null = null;
  #whole = false;

  /** A packet as captured, behind its command byte; `total`: how long it was. It is copied. */
  packet(command: number, data: Buffer, total: number): void {
    if (command === COM_STMT_EXECUTE) {
      this.#packet = Buffer.concat([Buffer.of(COM_STMT_EXECUTE), data]);
      this.#whole = data.length === total;
    } else if (data.length >= 6) this.#longData(data, total - 6);
  }

  #longData(data: Buffer, bytes: number): void {
    const { long } = this.#prepared(data.readUInt32LE(0));
    const index = data.readUInt16LE(4);
    const before = long.get(index) ?? { value: NO_BYTES, bytes: 0 };
    const value = Buffer.concat([before.value, data.subarray(6)]).subarray(0, MAX_VALUE_BYTES);
    if (long.has(index) || long.size < MAX_PARAMETERS)
      long.set(index, { value, bytes: before.bytes + bytes });
  }

  #prepared(id: number): Prepared {
    let prepared = this.#statements.get(id);
    if (prepared === undefined) {
      const oldest =
        this.#statements.size >= MAX_STATEMENTS ? this.#statements.keys().next().value : undefined;
      if (oldest !== undefined) this.#statements.delete(oldest);
      prepared = { types: null, long: new Map() };
      this.#statements.set(id, prepared);
    }
    return prepared;
  }

  /** Of the execution that ended, whose text is `text`; none where they are in the text, or cannot be told. */
  take(text: Buffer): readonly ParameterFields[] {
    const packet = this.#packet;
    this.#packet = null;
    if (packet === null || packet.length < 10) return NONE;
    const prepared = this.#prepared(packet.readUInt32LE(1));
    const long = new Map(prepared.long);
    prepared.long.clear();
    const count = marks(text);
    return count === 0 ? NONE : this.#decoded(packet, prepared, long, count);
  }

  #decoded(
    packet: Buffer,
    prepared: Prepared,
    long: Prepared['long'],
    count: number,
  ): readonly ParameterFields[] {
    const view = this.#view;
    const sent = new Set(long.keys());
    view.valuesStart = 0;
    try {
      decodeExecute(packet, 0, packet.length, PLAIN, count, prepared.types, sent, view);
    } catch (error) {
      if (!isAppError(error)) throw error;
      if (view.valuesStart > 0 && view.newTypes) prepared.types = view.types.slice(0, count);
      return NONE;
    }
    if (view.newTypes) prepared.types = view.types.slice(0, count);
    // Another number of parameters than the packet's: the text is not what we took it for.
    if (!this.#whole || view.valuesEnd !== packet.length) return NONE;
    const out = new ByteWriter(packet.length + MAX_VALUE_BYTES);
    const values = new Map([...long].map(([index, { value }]) => [index, value]));
    writeBind(out, packet, view, values);
    const types = Array.from({ length: count }, (_, i) => recordedType(view, i, values));
    return decodeParameters(out.copy(), types)
      .parameters.slice(0, MAX_PARAMETERS)
      .map(({ value }, i) => shown(types[i] & 0xff, value, long.get(i)?.bytes));
  }
}

function shown(type: number, value: unknown, bytes?: number): ParameterFields {
  if (value === null) return { type, isNull: true, value: NO_BYTES, bytes: 0 };
  const text = Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
  return { type, isNull: false, value: text.subarray(0, MAX_VALUE_BYTES), bytes: bytes ?? text.length };
}

/** How many `?` a statement has outside of its quotes and comments. */
function marks(text: Buffer): number {
  const lexer = new Lexer(text, 0, text.length, READING);
  let found = 0;
  for (;;) {
    const token = lexer.next();
    if (token === Token.end || token === Token.broken || token === Token.obscure) return found;
    if (token === Token.symbol && text[lexer.tokenStart] === MARK) found++;
  }
}
