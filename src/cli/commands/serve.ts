/** A server's life, as a command: until SIGINT, SIGTERM or SIGHUP; a second signal ends it at once. */
import { isAppError, messageOf } from '../../base/errors.ts';
import type { Context } from '../context.ts';

export interface Running {
  /** Graceful. */
  stop(): Promise<void>;
  /** Called right before the process ends without waiting. */
  abandon(): void;
}

const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;
type StopSignal = keyof typeof SIGNALS;
/** One Ctrl-C can arrive twice: from the terminal, and from npm, which passes it on. */
const SAME_SIGNAL_MS = 500;

/** Runs a server until a signal. Its failure to start is exit code 1, whatever the kind. */
export async function runServer(context: Context, start: () => Promise<Running>): Promise<void> {
  try {
    await serveUntilSignal(start, (line) => context.io.note(line));
  } catch (error) {
    if (!isAppError(error)) throw error;
    context.io.note(`dbwitness: ${messageOf(error)}`);
    context.exitCode = 1;
  }
}

/**
 * Starts, waits for a signal and stops. A signal during the start stops it as soon as it is up. Resolves when everything
 * is closed; rejects as `start` does.
 */
async function serveUntilSignal(start: () => Promise<Running>, note: (line: string) => void): Promise<void> {
  let running: Running | null = null;
  let firstAt: number | null = null;
  let asked: () => void = () => undefined;
  const stopAsked = new Promise<void>((resolve) => {
    asked = resolve;
  });
  const onSignal = (signal: StopSignal): void => {
    if (firstAt === null) {
      firstAt = performance.now();
      note('stopping: running statements may finish; once more to stop at once');
      asked();
      return;
    }
    if (performance.now() - firstAt < SAME_SIGNAL_MS) return;
    running?.abandon();
    process.exit(128 + SIGNALS[signal]);
  };
  for (const signal of Object.keys(SIGNALS) as StopSignal[]) process.on(signal, onSignal);
  try {
    running = await start();
    await stopAsked;
    await running.stop();
  } finally {
    for (const signal of Object.keys(SIGNALS) as StopSignal[]) process.off(signal, onSignal);
  }
}
