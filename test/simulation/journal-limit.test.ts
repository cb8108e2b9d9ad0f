/** A fault of the real system that needs no privileges: the process's limit on file sizes (RLIMIT_FSIZE, EFBIG). */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { JournalReader } from '../../src/journal/reader.ts';
import { verifyJournal } from '../../src/journal/verify.ts';

test('a write that the system refuses in its middle is finished when it may be', {
  timeout: 60_000,
}, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'dbw-journal-'));
  try {
    const script = fileURLToPath(new URL('./journal-limit-child.ts', import.meta.url));
    const command = 'ulimit -S -f 100; exec "$0" "$@"';
    const child = spawn('bash', ['-c', command, process.execPath, script, folder], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const lines: string[] = [];
    for await (const line of createInterface(child.stdout)) {
      lines.push(line);
      if (line.startsWith('failing'))
        execFileSync('prlimit', ['--pid', String(child.pid), '--fsize=unlimited:']);
    }
    expect(lines[0]).toBe(`failing the file size limit of this process is reached in ${folder}`);
    expect(lines[1]).toBe('open ');
    const [, events, publicKey] = /^closed (\d+) (.*)$/.exec(lines[2]) ?? [];
    expect([...JournalReader.open(folder).events()]).toHaveLength(Number(events));
    expect(verifyJournal(folder, { publicKey })).toMatchObject({ whole: true, signedEvents: Number(events) });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
