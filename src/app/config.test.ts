import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { readConfig, SETTINGS } from './config.ts';

describe('configuration', () => {
  it('has working defaults', () => {
    const config = readConfig({});
    expect(config.listenPostgres).toEqual({ host: '', port: 5434 });
    expect(config.listenMysql).toEqual({ host: '', port: 3307 });
    expect(config.listenApi).toEqual({ host: '', port: 4200 });
    expect(config.mysqlAuth).toEqual(['caching_sha2_password', 'mysql_clear_password']);
    expect(config.mysqlProxyProtocolFrom).toEqual([]);
    expect(config.tls).toBe('on');
    expect(config.retentionDays).toBeNull();
  });

  it.each([
    ['127.0.0.1:15434', { host: '127.0.0.1', port: 15_434 }],
    ['[::1]:15434', { host: '::1', port: 15_434 }],
    [':0', { host: '', port: 0 }],
    ['', null],
  ])('reads the address %j', (text, address) => {
    expect(readConfig({ DBW_LISTEN_PG: text }).listenPostgres).toEqual(address);
  });

  it.each([
    ['DBW_LISTEN_PG', '5434'],
    ['DBW_LISTEN_PG', 'host:99999'],
    ['DBW_LISTEN_MYSQL', '3307'],
    ['DBW_LISTEN_ORA', ':1522'],
    ['DBW_MYSQL_AUTH', 'caching_sha2_password,mysql_old_password'],
    ['DBW_MYSQL_PROXY_PROTOCOL_FROM', '10.0.0.0/33'],
    ['DBW_MYSQL_PROXY_PROTOCOL_FROM', 'balancer.internal'],
    ['DBW_TLS', 'yes'],
    ['DBW_MAX_STATEMENT_BYTES', '12'],
    ['DBW_RETENTION_DAYS', '0'],
    ['DBW_COSIGNER_URL', 'http://127.0.0.1/'],
    ['DBW_LISTEN_POSTGRES', ':5434'],
    ['DBW_JOURNAL_ENCRYPTION', 'true'],
  ])('refuses %s=%s and names it', (name, value) => {
    expect(() => readConfig({ [name]: value })).toThrow(/^DBW_[A-Z_]+: /);
  });

  it('reads lists', () => {
    const config = readConfig({
      DBW_MYSQL_AUTH: ' mysql_native_password , caching_sha2_password,',
      DBW_MYSQL_PROXY_PROTOCOL_FROM: '192.0.2.1, 10.0.0.0/8,2001:db8::/32',
    });
    expect(config.mysqlAuth).toEqual(['caching_sha2_password', 'mysql_native_password']);
    expect(config.mysqlProxyProtocolFrom).toEqual(['192.0.2.1', '10.0.0.0/8', '2001:db8::/32']);
  });

  it('is documented: every setting with its default and meaning', () => {
    const page = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8');
    for (const { name, default: fallback, meaning } of SETTINGS) {
      expect(page).toContain(`| \`${name}\` | ${fallback === '' ? '(empty)' : fallback} | `);
      expect(page).toContain(meaning.replaceAll('|', '\\|'));
    }
    expect(page.match(/^\| `DBW_/gm)).toHaveLength(SETTINGS.length);
  });
});
