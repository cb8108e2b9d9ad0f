/**
 * The documentation of the API as people read it: in a real browser, under the page's own content security policy, with no
 * network but the node. Every operation is there, can be opened, and can be tried with a token.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BrowserContext, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Dbwitness, isMissing, requirePath, startDbwitness } from '../servers/index.ts';

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

/** A host that browsers do not trust as they trust loopback addresses: what most people will see. */
const ELSEWHERE = 'dbwitness.example';

const missing = isMissing('chromium');
let node: Dbwitness;
let profile: string;
let browser: BrowserContext;
let page: Page;
/** What went wrong in the page, by its console, and requests that left the node. */
const complaints: string[] = [];

beforeAll(async () => {
  if (missing) return;
  profile = mkdtempSync(join(tmpdir(), 'dbw-chromium-'));
  const starting = startDbwitness();
  browser = await chromium.launchPersistentContext(profile, {
    executablePath: requirePath('chromium'),
    headless: true,
    viewport: { width: 1280, height: 900 },
    args: [
      '--no-sandbox', // root has no sandbox
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      `--host-resolver-rules=MAP ${ELSEWHERE} 127.0.0.1`,
    ],
  });
  node = await starting;
  page = await browser.newPage();
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('request', (request) => {
    const { origin, protocol } = new URL(request.url());
    if (protocol.startsWith('http') && origin !== at('').origin) complaints.push(request.url());
  });
});
const at = (path: string): URL => new URL(path, `http://${ELSEWHERE}:${node.apiPort}/`);

afterAll(async () => {
  await browser?.close();
  await node?.stop();
  if (profile !== undefined) rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
});

describe.skipIf(missing)('/api/docs in a browser', () => {
  it('shows every operation of the document, by group, and complains of nothing', async () => {
    await page.goto(at('/api/docs').href);
    await page.waitForSelector('.opblock');
    expect(await page.title()).toBe('dbwitness API');
    const document = (await (await fetch(node.url('/api/docs/openapi.json'))).json()) as Document;
    const documented = Object.entries(document.paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const methods = await page.locator('.opblock-summary-method').allTextContents();
    const paths = await page.locator('.opblock-summary-path').allTextContents();
    // Zero-width spaces let long paths wrap.
    const shown = methods.map((method, i) => `${method} ${paths[i]?.replaceAll('\u200b', '')}`);
    expect(documented.length).toBeGreaterThan(30);
    expect(shown.toSorted()).toEqual(documented.toSorted());
    const groups = await page.locator('.opblock-tag').all();
    const names = await Promise.all(groups.map(async (group) => group.getAttribute('data-tag')));
    expect(names.join(' ')).toBe(
      'login users databases grants keys sessions statements events journal health',
    );
    expect(await page.locator('.opblock-summary-description', { hasText: /^\s*$/ }).count()).toBe(0);
    const screenshot = process.env['DBW_TEST_SCREENSHOT'];
    if (screenshot !== undefined) await page.screenshot({ path: screenshot, fullPage: true });
    expect(complaints).toEqual([]);
  });

  it('tries an operation with a token, as a newcomer would', async () => {
    await page.goto(at('/api/docs').href);
    await page.click('.auth-wrapper .authorize');
    await page.fill('.modal-ux input[type=text]', await node.adminToken());
    await page.click('.modal-ux .authorize');
    await page.click('.modal-ux .btn-done');
    const operation = page.locator('.opblock', { has: page.locator('[data-path="/api/v1/users"]') }).first();
    await operation.locator('.opblock-summary').click();
    await operation.locator('.try-out__btn').click();
    await operation.locator('.execute').click();
    const answer = operation.locator('.live-responses-table .response-col_description');
    await answer.first().waitFor();
    expect(
      await operation.locator('.live-responses-table .response-col_status').last().innerText(),
    ).toContain('200');
    expect(await answer.last().innerText()).toContain('"username": "admin"');
    const screenshot = process.env['DBW_TEST_SCREENSHOT'];
    if (screenshot !== undefined) await page.screenshot({ path: screenshot.replace('.png', '-tried.png') });
    expect(complaints).toEqual([]);
  });
});
