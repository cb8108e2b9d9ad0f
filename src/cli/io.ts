/** What a command sees of the process it runs in. Passed in, so that a command can be run without one. */
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import type { Clock } from '../base/clock.ts';
import { systemClock } from '../base/clock.ts';
import { AppError } from '../base/errors.ts';

export interface Io {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  /** Columns of the terminal; `null` when the output is no terminal: nothing is cut then. */
  readonly width: number | null;
  /** The result, to standard output. */
  write(text: string): void;
  /** Everything else that people should know, to standard error, one line. */
  note(line: string): void;
  /** One line of standard input, without echo on a terminal. Rejects with `invalid` when there is none. */
  readSecret(prompt: string): Promise<string>;
}

/** A password has 1,024 bytes at most; more is not read. */
const MAX_SECRET_BYTES = 4096;

export function processIo(): Io {
  // `dbwitness statement ls | head` closes our output early: that is the reader's good right.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  return {
    env: process.env,
    clock: systemClock,
    width: process.stdout.isTTY ? process.stdout.columns : null,
    write: (text) => void process.stdout.write(text),
    note: (line) => void process.stderr.write(`${line}\n`),
    readSecret,
  };
}

async function readSecret(prompt: string): Promise<string> {
  const terminal = process.stdin.isTTY;
  const line = terminal ? await typed(prompt) : await piped();
  if (line === '') throw new AppError('invalid', 'CLI_NO_SECRET', 'standard input holds no password');
  return line;
}

async function typed(prompt: string): Promise<string> {
  process.stderr.write(prompt);
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: nowhere, terminal: true });
  try {
    return await new Promise((resolve, reject) => {
      lines.once('line', resolve);
      lines.once('SIGINT', () => reject(new AppError('invalid', 'CLI_INTERRUPTED', 'interrupted')));
      lines.once('close', () => resolve(''));
    });
  } finally {
    lines.close();
    process.stderr.write('\n');
  }
}

async function piped(): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (chunk.includes(0x0a) || bytes > MAX_SECRET_BYTES) break;
  }
  process.stdin.destroy();
  return Buffer.concat(chunks).toString('utf8').split(/\r?\n/, 1)[0] ?? '';
}
