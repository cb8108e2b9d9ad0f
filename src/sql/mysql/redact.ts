/**
 * Passwords out of SQL, before anything is stored (HOSTILE.md 75b). Literals are replaced by `'***'`; every other byte
 * stays as it was. What is hidden is decided in `secret-reader.ts`, for every way in which the text may be read; here the
 * edits of all readings are put together. Where two of them overlap, the whole stretch is hidden.
 */
import type { LexicalSettings, Redaction } from '../dialect.ts';
import { charsetKind, maskMultibyte } from './charset.ts';
import type { Reading } from './lexer.ts';
import { charsetOf, quotingsFor } from './readings.ts';
import { type Edit, HIDDEN, readSecrets, type Secrets } from './secret-reader.ts';
import { mayHoldSecret } from './secret-scan.ts';

/** Three quotings, versioned comments as code or not. Longer texts are only read as the session most likely does. */
const MAX_READINGS = 6;
const MAX_COMPARED_BYTES = 1024 * 1024;

/** Parameters of a statement that stand where a literal would be hidden. */
export interface SecretParameters {
  /** Their numbers, from 0; `all` where it cannot be told which. */
  readonly numbers: ReadonlySet<number> | 'all';
  /** How many parameters the statement has, as far as this was read right: with another number all are secret. */
  readonly counts: readonly number[];
}

/** What is recorded of a statement that is prepared; `secrets` of `null`: no parameter is one, as nearly always. */
export interface PreparedRedaction extends Redaction {
  readonly secrets: SecretParameters | null;
}

export function redact(text: Buffer, start: number, end: number, settings: LexicalSettings): Redaction {
  const view = start === 0 && end === text.length ? text : text.subarray(start, end);
  if (!mayHoldSecret(text, start, end)) return { text: view, redacted: false };
  return applied(view, read(view, settings));
}

/** {@link redact} of a statement whose values come later. */
export function redactPrepared(
  text: Buffer,
  start: number,
  end: number,
  settings: LexicalSettings,
): PreparedRedaction {
  const view = start === 0 && end === text.length ? text : text.subarray(start, end);
  if (!mayHoldSecret(text, start, end)) return { text: view, redacted: false, secrets: null };
  const readings = read(view, settings);
  return { ...applied(view, readings), secrets: secretParameters(readings) };
}

function read(view: Buffer, settings: LexicalSettings): Secrets[] {
  return readingsFor(view, settings).map((reading, i) => readAs(view, reading, i === 0, settings));
}

function applied(view: Buffer, readings: readonly Secrets[]): Redaction {
  const edits = union(readings.map((one) => one.edits));
  return edits.length === 0 ? { text: view, redacted: false } : { text: apply(view, edits), redacted: true };
}

function secretParameters(readings: readonly Secrets[]): SecretParameters | null {
  const numbers = new Set<number>();
  const counts = readings.map((one) => one.parameterCount);
  for (const { parameters } of readings) {
    if (parameters === 'all') return { numbers: 'all', counts };
    for (const number of parameters) numbers.add(number);
  }
  return numbers.size === 0 ? null : { numbers, counts };
}

function readAs(view: Buffer, reading: Reading, believed: boolean, settings: LexicalSettings): Secrets {
  let lexable = view;
  if (charsetKind(charsetOf(settings)) === 'hazardous')
    lexable = maskMultibyte(view, 0, view.length, charsetOf(settings)) ?? view;
  return readSecrets(lexable, view, reading, believed);
}

/** Versioned comments are code in one half of the readings, and comments in the other. The first is the believed one. */
function readingsFor(view: Buffer, settings: LexicalSettings): Reading[] {
  const longest = view.length > MAX_COMPARED_BYTES ? 1 : MAX_READINGS;
  const versioned = view.includes('/*!') || view.includes('/*M!');
  const quotings = quotingsFor(view, 0, view.length, settings);
  return (versioned ? [true, false] : [true])
    .flatMap((runs) =>
      quotings.map((quoting): Reading => ({ ...quoting, runs: () => runs, highBytes: 'letters' })),
    )
    .slice(0, longest);
}

function union(lists: readonly Edit[][]): Edit[] {
  if (lists.length === 1) return lists[0];
  const all = lists.flat().sort((a, b) => a.start - b.start || a.end - b.end);
  const merged: Edit[] = [];
  for (const next of all) {
    const last = merged.at(-1);
    if (last === undefined || next.start >= last.end) {
      merged.push(next);
      continue;
    }
    if (last.start === next.start && last.end === next.end && last.replacement.equals(next.replacement))
      continue;
    merged[merged.length - 1] = {
      start: last.start,
      end: Math.max(last.end, next.end),
      replacement: HIDDEN,
    };
  }
  return merged;
}

/** `edits` in order and without overlap. */
export function apply(text: Buffer, edits: readonly Edit[]): Buffer {
  const pieces: Buffer[] = [];
  let at = 0;
  for (const each of edits) {
    pieces.push(text.subarray(at, each.start), each.replacement);
    at = each.end;
  }
  pieces.push(text.subarray(at));
  return Buffer.concat(pieces);
}
