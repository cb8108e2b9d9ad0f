import { describe, expect, it } from 'vitest';
import { AppError } from '../base/errors.ts';
import { isDuplicate, isRetryable, toStoreError } from './errors.ts';

const withCode = (code: string): Error => Object.assign(new Error('secret value'), { code });

describe('errors of the back ends', () => {
  it.each([
    ['08006', 'unavailable', true],
    ['57P01', 'unavailable', true],
    ['ECONNREFUSED', 'unavailable', true],
    ['28P01', 'unavailable', true],
    ['3D000', 'unavailable', true],
    ['57014', 'unavailable', true],
    ['53100', 'exhausted', true],
    ['40001', 'conflict', true],
    ['23505', 'conflict', false],
    ['23503', 'conflict', false],
    ['23514', 'invalid', false],
    ['22P02', 'invalid', false],
    ['42501', 'denied', true],
    ['XX001', 'corrupt', false],
  ] as const)('%s is %s', (code, kind, retry) => {
    const error = toStoreError(withCode(code));
    expect(error).toBeInstanceOf(AppError);
    expect(error).toMatchObject({ kind, details: { cause: code } });
    expect(isRetryable(error)).toBe(retry);
    expect(isDuplicate(error)).toBe(code === '23505');
    expect(JSON.stringify(error) + String(error)).not.toContain('secret');
    expect((error as Error).cause).toBeUndefined();
  });

  it('that are bugs of ours pass as they are', () => {
    const bug = withCode('42601');
    expect(toStoreError(bug)).toBe(bug);
    const thrown = new TypeError('x');
    expect(toStoreError(thrown)).toBe(thrown);
    expect(toStoreError(new Error('Connection terminated unexpectedly'))).toMatchObject({
      kind: 'unavailable',
    });
  });
});
