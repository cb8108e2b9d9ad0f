import { describe, expect, it } from 'vitest';
import { ByteWriter } from '../../base/bytes.ts';
import { AppError, ERROR_KINDS } from '../../base/errors.ts';
import { decodeErrorFields } from './backend.ts';
import { encodeAppError, SQLSTATE_OF_KIND, SqlState } from './errors.ts';

function decoded(error: AppError, options?: Parameters<typeof encodeAppError>[2]): Record<string, string> {
  const out = new ByteWriter(16);
  encodeAppError(out, error, options);
  return Object.fromEntries(decodeErrorFields(out.copy(), 5, out.length));
}

describe('ErrorResponse of an AppError', () => {
  it('every kind has a SQLSTATE of its own', () => {
    const states = ERROR_KINDS.map((kind) => decoded(new AppError(kind, 'X', 'm'))['C']);
    expect(states).toEqual(ERROR_KINDS.map((kind) => SQLSTATE_OF_KIND[kind]));
    expect(new Set(states).size).toBe(ERROR_KINDS.length);
  });

  it('every SQLSTATE is five characters', () => {
    for (const state of [...Object.values(SQLSTATE_OF_KIND), ...Object.values(SqlState)])
      expect(state).toMatch(/^[0-9A-Z]{5}$/);
  });

  it('says what it is told to say', () => {
    const error = new AppError('denied', 'ACCESS_READ_ONLY', 'not allowed');
    expect(
      decoded(error, {
        severity: 'FATAL',
        sqlState: '25006',
        detail: 'why',
        hint: 'what to do',
        position: 7,
      }),
    ).toEqual({
      S: 'FATAL',
      V: 'FATAL',
      C: '25006',
      M: 'not allowed',
      D: 'why',
      H: 'what to do',
      P: '7',
      R: 'ACCESS_READ_ONLY',
    });
  });

  it('a NUL in a message that quotes somebody does not end it', () => {
    expect(decoded(new AppError('invalid', 'X', 'role "a\0b"'))['M']).toBe('role "a\uFFFDb"');
  });
});
