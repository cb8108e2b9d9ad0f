/**
 * How results look. `--json`: one object per line, everything that is known. For people: an aligned table of lists, and
 * `name  value` lines for one object. Both pass through `safe-text.ts`, here and nowhere else.
 */
import { cutTo, displayWidth } from './display-width.ts';
import type { Io } from './io.ts';
import { safeBlock, safeJson, safeLine } from './safe-text.ts';

export interface Column<T> {
  readonly title: string;
  /** As it is; it is made safe for the terminal here. */
  readonly value: (item: T) => string;
  readonly align?: 'left' | 'right';
  /** Gets the width that is left, and is cut when a terminal is too narrow. The last column should. */
  readonly flexible?: boolean;
}

const GAP = '  ';
const MIN_FLEXIBLE = 20;

export class Output {
  readonly #io: Io;
  readonly json: boolean;

  constructor(io: Io, json: boolean) {
    this.#io = io;
    this.json = json;
  }

  /** One object of JSON on a line of its own, whatever the format. */
  line(value: unknown): void {
    this.#io.write(`${safeJson(value)}\n`);
  }

  list<T>(items: readonly T[], columns: readonly Column<T>[], empty: string): void {
    if (this.json) for (const item of items) this.line(item);
    else if (items.length === 0) this.#io.note(empty);
    else this.#io.write(table(items, columns, this.#io.width));
  }

  /** One object; `fields` name what people see of it, in order. Values with line ends come on lines of their own. */
  one(object: object, fields: readonly (readonly [name: string, value: string])[]): void {
    if (this.json) return this.line(object);
    const width = Math.max(...fields.map(([name]) => name.length));
    for (const [name, value] of fields) {
      const text = safeBlock(value);
      this.#io.write(
        text.includes('\n')
          ? `${name}\n${text.replaceAll(/^/gm, '    ')}\n`
          : `${name.padEnd(width)}${GAP}${text}\n`.replace(/ +\n$/, '\n'),
      );
    }
  }

  /** Something was done: for people a sentence, for programs the object. */
  done(object: object, sentence: string): void {
    if (this.json) this.line(object);
    else this.#io.write(`${safeLine(sentence)}\n`);
  }
}

/** With a title line; the flexible column is cut so that a line fits into `width`, if that is known. */
export function table<T>(items: readonly T[], columns: readonly Column<T>[], width: number | null): string {
  const cells = items.map((item) => columns.map((column) => safeLine(column.value(item))));
  // Titles are names of result columns too: the client chose them.
  const titles = columns.map((column) => safeLine(column.title));
  const widths = columns.map((_, i) =>
    Math.max(...[titles, ...cells].map((row) => displayWidth(row[i] ?? ''))),
  );
  const flexible = columns.findIndex((column) => column.flexible === true);
  if (width !== null && flexible >= 0) {
    const others = widths.reduce((sum, each, i) => sum + (i === flexible ? 0 : each + GAP.length), 0);
    widths[flexible] = Math.min(widths[flexible] ?? 0, Math.max(MIN_FLEXIBLE, width - others));
  }
  const lines = [titles, ...cells].map((row) =>
    row
      .map((cell, i) => {
        const cut = cutTo(cell, widths[i] ?? 0);
        const padding = ' '.repeat(Math.max(0, (widths[i] ?? 0) - displayWidth(cut)));
        return columns[i]?.align === 'right' ? padding + cut : cut + padding;
      })
      .join(GAP)
      .trimEnd(),
  );
  return `${lines.join('\n')}\n`;
}
