import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { readConfig, SETTINGS } from './config.ts';

describe('configuration', () => {
  it('has working defaults', () => {
    const config = readConfig({});
    expect(config.listenPostgres).toEqual({ host: '', port: 5434 });
    expect(config.listenApi).toEqual({ host: '', port: 4200 });
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
    ['DBW_LISTEN_MYSQL', ':3307'],
    ['DBW_TLS', 'yes'],
    ['DBW_MAX_STATEMENT_BYTES', '12'],
    ['DBW_RETENTION_DAYS', '0'],
    ['DBW_COSIGNER_URL', 'http://127.0.0.1/'],
    ['DBW_LISTEN_POSTGRES', ':5434'],
    ['DBW_JOURNAL_ENCRYPTION', 'true'],
  ])('refuses %s=%s and names it', (name, value) => {
    expect(() => readConfig({ [name]: value })).toThrow(/^DBW_[A-Z_]+: /);
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
