import { describe, expect, it } from 'vitest';
import { ByteWriter } from '../../base/bytes.ts';
import * as authentication from './authentication.ts';
import { COMPRESSED_HEADER_BYTES, expandFrame, FrameCursor, nextFrame, writeFrames } from './compression.ts';
import {
  decodeHandshakeV10,
  encodeHandshakeV10,
  type HandshakeV10,
  isMariadb,
  plainVersion,
} from './handshake.ts';
import { Capability, MariadbCapability, Status } from './protocol.ts';
import { parseProxyHeader } from './proxy-protocol.ts';
import {
  decodeErr,
  decodeOk,
  encodeErr,
  encodeOk,
  isProgressReport,
  OkView,
  plainOk,
  responseKind,
} from './responses.ts';
import { decodeColumnDefinition, encodeColumnDefinition, type ColumnDefinition } from './resultset.ts';
import { decodeSessionChanges, encodeSessionChanges, type SessionChange } from './session-track.ts';

function encoded(write: (out: ByteWriter) => void): Buffer {
  const out = new ByteWriter(64);
  write(out);
  return out.copy();
}

describe('greetings', () => {
  const mysql: HandshakeV10 = {
    serverVersion: '9.7.4',
    connectionId: 4_000_000_000,
    authData: Buffer.from('0123456789abcdefghij'),
    capabilities: { flags: 0xdfff_ffff, mariadb: 0 },
    collation: 255,
    status: Status.AUTOCOMMIT,
    authPlugin: 'caching_sha2_password',
  };
  const mariadb: HandshakeV10 = {
    ...mysql,
    serverVersion: '5.5.5-10.11.6-MariaDB',
    capabilities: {
      flags: 0xdfff_fffe,
      mariadb: MariadbCapability.STMT_BULK_OPERATIONS | MariadbCapability.CACHE_METADATA,
    },
    authPlugin: 'mysql_native_password',
  };

  it.each([mysql, mariadb])('$serverVersion: there and back', (greeting) => {
    const bytes = encoded((out) => encodeHandshakeV10(out, greeting));
    expect(decodeHandshakeV10(bytes, 4, bytes.length)).toEqual(greeting);
    for (let end = 4; end < bytes.length - greeting.authPlugin.length - 2; end++)
      expect(() => decodeHandshakeV10(bytes, 4, end)).toThrow();
  });

  it('MariaDB is known by its capabilities, its name or its prefix', () => {
    expect([isMariadb(mysql), isMariadb(mariadb)]).toEqual([false, true]);
    expect(isMariadb({ ...mysql, serverVersion: '11.8.6-MariaDB' })).toBe(true);
    expect([plainVersion(mysql.serverVersion), plainVersion(mariadb.serverVersion)]).toEqual([
      '9.7.4',
      '10.11.6-MariaDB',
    ]);
  });

  it('capabilities of MariaDB are not read where MySQL’s bit says that they are none', () => {
    const bytes = encoded((out) => encodeHandshakeV10(out, mysql));
    bytes.fill(0xff, bytes.indexOf('abc') - 10, bytes.indexOf('abc'));
    expect(decodeHandshakeV10(bytes, 4, bytes.length).capabilities.mariadb).toBe(0);
  });
});

describe('authentication', () => {
  it('switch, more, next factor, nonces with their terminator', () => {
    const request = { plugin: 'client_ed25519', data: Buffer.alloc(33, 7) };
    const bytes = encoded((out) => authentication.encodeAuthSwitchRequest(out, request, 2));
    expect(authentication.decodeAuthSwitchRequest(bytes, 4, bytes.length)).toEqual(request);
    const next = encoded((out) => authentication.encodeAuthNextFactor(out, request, 4));
    expect(authentication.decodeAuthNextFactor(next, 4, next.length)).toEqual(request);
    const more = encoded((out) => authentication.encodeAuthMoreData(out, Buffer.from([3]), 2));
    expect([...authentication.decodeAuthMoreData(more, 4, more.length)]).toEqual([3]);
    expect(() => authentication.decodeAuthSwitchRequest(Buffer.from([0xfe]), 0, 1)).toThrow('3.23');
    const nonce = Buffer.from('0123456789abcdefghij\0');
    expect(authentication.nonceOf(nonce, 20)).toHaveLength(20);
    expect(authentication.nonceOf(nonce.subarray(0, 20), 20)).toHaveLength(20);
  });
});

describe('responses', () => {
  const tracked = { flags: Capability.SESSION_TRACK, mariadb: 0 };

  it('an OK with every kind of session change', () => {
    const changes: SessionChange[] = [
      { kind: 'system-variable', name: 'sql_mode', value: 'ANSI_QUOTES' },
      { kind: 'schema', name: 'é' },
      { kind: 'state', changed: true },
      { kind: 'gtids', gtids: '0-1-2' },
      { kind: 'transaction-characteristics', statements: 'START TRANSACTION;' },
      { kind: 'transaction-state', state: 'T_______' },
      { kind: 'unknown', type: 77, data: Buffer.from('?') },
    ];
    const ok = {
      affectedRows: 2 ** 40,
      lastInsertId: 251,
      status: Status.SESSION_STATE_CHANGED,
      warnings: 3,
      info: 'Rows matched: 1',
      sessionChanges: encodeSessionChanges(changes),
    };
    const bytes = encoded((out) => encodeOk(out, ok, tracked, 1, 0xfe));
    const view = new OkView();
    decodeOk(bytes, 4, bytes.length, tracked, view);
    expect([view.affectedRows, view.lastInsertId, view.warnings]).toEqual([2 ** 40, 251, 3]);
    expect(bytes.toString('utf8', view.infoStart, view.infoEnd)).toBe('Rows matched: 1');
    expect(decodeSessionChanges(bytes, view)).toEqual(changes);
  });

  it('an OK of nothing, with and without session tracking', () => {
    for (const capabilities of [tracked, { flags: 0, mariadb: 0 }]) {
      const bytes = encoded((out) => encodeOk(out, plainOk(2), capabilities, 1));
      expect(bytes.toString('hex')).toBe('0700000100000002000000');
      const view = new OkView();
      decodeOk(bytes, 4, bytes.length, capabilities, view);
      expect([view.status, view.infoStart, view.infoEnd, view.stateStart]).toEqual([2, 11, 11, 11]);
    }
  });

  it('errors with and without SQLSTATE, and reports of progress', () => {
    for (const error of [
      { number: 1045, sqlState: '28000', message: 'Access denied, é' },
      { number: 1040, sqlState: '', message: 'Too many connections' },
      { number: 1, sqlState: 'HY000', message: '#x' },
    ]) {
      const bytes = encoded((out) => encodeErr(out, error, 1));
      expect(decodeErr(bytes, 4, bytes.length)).toEqual(error);
      expect(responseKind(bytes, 4, bytes.length)).toBe('err');
      expect(isProgressReport(bytes, 4, bytes.length)).toBe(false);
    }
    const unclear = encoded((out) => encodeErr(out, { number: 1, sqlState: '', message: '#12345' }, 1));
    expect(decodeErr(unclear, 4, unclear.length)).toEqual({
      number: 1,
      sqlState: 'HY000',
      message: '#12345',
    });
  });
});

describe('column definitions', () => {
  const column: ColumnDefinition = {
    schema: 'test',
    table: 't',
    originalTable: 'items',
    name: 'é',
    originalName: 'e',
    collation: 255,
    length: 40,
    type: 253,
    flags: 1,
    decimals: 0,
    extended: null,
  };
  it.each([
    ['plain', column, false],
    ['an empty extension', { ...column, extended: { typeName: '', format: '' } }, false],
    ['a type', { ...column, extended: { typeName: 'uuid', format: '' } }, false],
    ['type and format', { ...column, extended: { typeName: 'inet6', format: 'json' } }, false],
    // 0x0c bytes of extension look like the length of the fixed part.
    ['twelve bytes of extension', { ...column, extended: { typeName: 'abcdefghij', format: '' } }, false],
    ['no default', { ...column, defaultValue: null }, true],
    ['a default', { ...column, defaultValue: Buffer.from('x') }, true],
  ] as const)('%s: there and back, without being told', (_, definition, fieldList) => {
    const bytes = encoded((out) => encodeColumnDefinition(out, definition, 1));
    expect(decodeColumnDefinition(bytes, 4, bytes.length, fieldList)).toEqual(definition);
  });
});

describe('compression', () => {
  it.each(['zlib', 'zstd'] as const)(
    '%s: short contents as they are, long ones smaller, from every cut',
    (algorithm) => {
      const source = Buffer.concat([Buffer.alloc(200, 'ab'), Buffer.from('end')]);
      for (const part of [source.subarray(0, 49), source]) {
        const bytes = encoded((out) => {
          expect(writeFrames(out, part, 0, part.length, 255, algorithm, 3)).toBe(0);
        });
        const cursor = new FrameCursor();
        for (let end = 0; end < bytes.length; end++) {
          expect(nextFrame(bytes, 0, end, cursor)).toBe(false);
          expect(cursor.end).toBe(end < COMPRESSED_HEADER_BYTES ? -1 : bytes.length);
        }
        expect(nextFrame(bytes, 0, bytes.length, cursor)).toBe(true);
        expect([cursor.sequence, cursor.expandedBytes]).toEqual([255, part.length < 50 ? 0 : part.length]);
        expect(expandFrame(bytes, cursor, algorithm)).toEqual(part);
      }
    },
  );
});

describe('PROXY headers', () => {
  const parse = (bytes: Buffer): ReturnType<typeof parseProxyHeader> => {
    for (let end = 0; end < bytes.length; end++) expect(parseProxyHeader(bytes.subarray(0, end))).toBeNull();
    return parseProxyHeader(Buffer.concat([bytes, Buffer.from('J\0\0\0')]));
  };

  it('version 1', () => {
    const line = Buffer.from('PROXY TCP4 192.0.2.1 198.51.100.7 56324 3306\r\n');
    expect(parse(line)).toEqual({
      bytes: line.length,
      source: { address: '192.0.2.1', port: 56_324 },
      destination: { address: '198.51.100.7', port: 3306 },
    });
    const six = Buffer.from('PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 1 65535\r\n');
    expect(parse(six)).toMatchObject({ source: { address: '2001:db8::1', port: 1 } });
  });

  it('version 2: IPv4 with TLVs, IPv6, LOCAL, UNIX', () => {
    const start = '0d0a0d0a000d0a515549540a';
    const four = Buffer.from(
      `${start}2111000f c0000201 c6336407 dc04 0cea 040000`.replaceAll(' ', ''),
      'hex',
    );
    expect(parse(four)).toMatchObject({ bytes: 31, source: { address: '192.0.2.1', port: 56_324 } });
    const six = Buffer.from(
      `${start}21210024 20010db8000000000000000000000001 ${'00'.repeat(16)} 0001 0cea`.replaceAll(' ', ''),
      'hex',
    );
    expect(parse(six)).toMatchObject({
      source: { address: '2001:db8::1', port: 1 },
      destination: { address: '::', port: 3306 },
    });
    for (const head of ['20000000', '21310000'])
      expect(parse(Buffer.from(start + head, 'hex'))).toEqual({ bytes: 16, source: null, destination: null });
  });
});
