import { expect, test } from 'vitest';
import { decodeParameters } from '../../../wire/postgres/values/decode.ts';
import { maskParameters, secretParameters } from './secret-parameters.ts';

const numbers = (sql: string): unknown => {
  const found = secretParameters(Buffer.from(sql));
  return found instanceof Set ? [...(found as ReadonlySet<number>)] : found;
};

test.each([
  ['ALTER ROLE x PASSWORD $1', 'all'],
  ['/* who */ create user x login -- now\n password $1', 'all'],
  ['UPDATE users SET password = $1 WHERE id = $2', [1]],
  ['UPDATE users SET name = $2, "password_hash"=$1 WHERE id = $3', [1]],
  ['SELECT id FROM users WHERE name = $1 AND passwd = /* plain */ $2', [2]],
  ['SELECT * FROM users WHERE pw = crypt($2, lower($1)) AND id = $3', [2, 1]],
  ['SELECT login(name => $1, secret => $2)', [2]],
  ['INSERT INTO users (name, password) VALUES ($1, $2)', null],
  ['SELECT $1::int', null],
  ['SELECT password FROM users', null],
  ['ALTER TABLE t ADD COLUMN password text', null],
])('%s', (sql, expected) => {
  expect(numbers(sql)).toEqual(expected);
});

test('masks the values of secret parameters, and those alone', () => {
  const bind = Buffer.concat([
    Buffer.from([0, 3, 0, 0, 0, 1, 0, 0]), // text, binary, text
    Buffer.from([0, 3]),
    Buffer.from([0, 0, 0, 4]),
    Buffer.from('alma'),
    Buffer.from([0, 0, 0, 4, 0, 0, 0, 7]),
    Buffer.from([0xff, 0xff, 0xff, 0xff]),
  ]);
  const padded = Buffer.concat([Buffer.from('x'), bind, Buffer.from('y')]);
  const mask = (secrets: 'all' | ReadonlySet<number>): unknown[] =>
    decodeParameters(maskParameters(padded, 1, 1 + bind.length, secrets), [25, 23, 25]).parameters.map(
      (one) => one.value,
    );
  expect(mask(new Set([9]))).toEqual(['alma', 7, null]);
  expect(mask(new Set([1]))).toEqual(['***', 7, null]);
  expect(mask('all')).toEqual(['***', '***', null]);
});
