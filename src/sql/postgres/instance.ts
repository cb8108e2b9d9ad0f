/**
 * PostgreSQL's parser, compiled to WebAssembly (libpg-query), as something that survives its input.
 *
 * The parser recurses while it writes its tree out, so that a deeply nested text overflows the stack: V8 throws a
 * RangeError through the middle of C code, which leaves that instance's stack pointer and memory contexts where they
 * were. Nothing goes on with such an instance: the next one, made beforehand, takes its place, and another is made as
 * soon as this turn of the event loop ends (instantiating is asynchronous in the package's own glue).
 *
 *   parse ─▶ current ──throws──▶ dropped; spare becomes current; a new spare is on its way
 */
import { createRequire } from 'node:module';

/** What we use of Emscripten's module object; libpg-query's own wrapper would convert every text to a string first. */
interface ParserModule {
  readonly HEAPU8: Uint8Array;
  _malloc(size: number): number;
  _free(pointer: number): void;
  _wasm_parse_query_raw(text: number): number;
  _wasm_free_parse_result(result: number): void;
  _wasm_fingerprint(text: number): number;
  _wasm_free_string(text: number): void;
}

type ModuleFactory = (options: {
  print: (line: string) => void;
  printErr: (line: string) => void;
}) => Promise<ParserModule>;

/** An instance whose memory has grown past this is replaced: WebAssembly memory never shrinks. It starts with 128 MiB. */
const MAX_HEAP_BYTES = 192 * 1024 * 1024;
/** Instances kept ready. Two, since several texts of one turn may break theirs. */
const SPARES = 2;

/** The parser's answer, raw: its JSON, or `null` for a text that it does not accept or did not survive. */
export type ParseOutput = string | null;

export class ParserInstance {
  readonly #create: () => Promise<ParserModule>;
  readonly #spares: ParserModule[] = [];
  #current: ParserModule | null = null;
  #pending: Promise<void> | null = null;
  /** Instances given up since the start, for tests and metrics. */
  broken = 0;

  private constructor(create: () => Promise<ParserModule>) {
    this.#create = create;
  }

  static async load(): Promise<ParserInstance> {
    const require = createRequire(import.meta.url);
    const factory = require('libpg-query/wasm/libpg-query.js') as ModuleFactory;
    const instance = new ParserInstance(() => factory({ print: ignore, printErr: ignore }));
    await instance.ready();
    return instance;
  }

  /** Resolves when the spares are there again. Nobody has to wait for it: tests do. */
  ready(): Promise<void> {
    this.#pending ??= this.#refill().finally(() => {
      this.#pending = null;
    });
    return this.#pending;
  }

  /**
   * Whether there is an instance to ask. `false` for the rest of a turn in which every spare broke: answers would be
   * `null`, and say nothing of the text.
   */
  isAvailable(): boolean {
    if (this.#current !== null || this.#spares.length > 0) return true;
    this.#refillSoon();
    return false;
  }

  /** WebAssembly memory of the current instance. */
  get heapBytes(): number {
    return this.#current?.HEAPU8.length ?? 0;
  }

  /** The parse tree as JSON. The text must not hold a NUL: C would stop there. */
  parse(text: Uint8Array, start: number, end: number): ParseOutput {
    return this.#run(text, start, end, (module, input) => {
      const result = module._wasm_parse_query_raw(input);
      if (result === 0) return null;
      const view = heapOf(module);
      // struct { char *tree; char *stderr; PgQueryError *error }
      const tree = view.readUInt32LE(result);
      const error = view.readUInt32LE(result + 8);
      const output = error !== 0 || tree === 0 ? null : stringAt(view, tree);
      module._wasm_free_parse_result(result);
      return output;
    });
  }

  /** The fingerprint in hexadecimal, or `null`. */
  fingerprint(text: Uint8Array): ParseOutput {
    return this.#run(text, 0, text.length, (module, input) => {
      const result = module._wasm_fingerprint(input);
      if (result === 0) return null;
      const output = stringAt(heapOf(module), result);
      module._wasm_free_string(result);
      // The same call returns error messages as text.
      return /^[0-9a-f]{16}$/.test(output) ? output : null;
    });
  }

  #run(
    text: Uint8Array,
    start: number,
    end: number,
    call: (module: ParserModule, input: number) => ParseOutput,
  ): ParseOutput {
    this.#current ??= this.#spares.pop() ?? null;
    const module = this.#current;
    if (module === null) return null;
    const { exitCode } = process;
    try {
      const input = module._malloc(end - start + 1);
      if (input === 0) throw new RangeError('out of memory');
      const heap = module.HEAPU8;
      heap.set(start === 0 && end === text.length ? text : text.subarray(start, end), input);
      heap[input + end - start] = 0;
      const output = call(module, input);
      module._free(input);
      if (module.HEAPU8.length > MAX_HEAP_BYTES) this.#replace();
      return output;
    } catch {
      // Whatever it was (stack, memory, an assertion in C): this instance is in an unknown state.
      this.broken++;
      this.#replace();
      process.exitCode = exitCode; // Emscripten's exit() sets it
      return null;
    }
  }

  #replace(): void {
    this.#current = this.#spares.pop() ?? null;
    this.#refillSoon();
  }

  #refillSoon(): void {
    // Failing leaves no instance; the next text that finds none tries again, and is unparsed until then.
    this.ready().catch(ignore);
  }

  async #refill(): Promise<void> {
    while (this.#spares.length < SPARES) this.#spares.push(await this.#create());
  }
}

function heapOf(module: ParserModule): Buffer {
  const heap = module.HEAPU8;
  return Buffer.from(heap.buffer, heap.byteOffset, heap.byteLength);
}

function stringAt(heap: Buffer, pointer: number): string {
  return heap.toString('utf8', pointer, heap.indexOf(0, pointer));
}

function ignore(): void {
  // The parser's own output says nothing that the result does not.
}
